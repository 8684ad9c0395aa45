"""PlannerNetwork: the parts of the planner's network, and what each step of planning asks of it.

A transformer decoder writes a plan subtask by subtask. It reads the tokens of the instruction, its
spans, and the subtasks of the most similar training plans. At every place it scores candidate
texts, those of training subtasks and the spans, by the inner product of a query with their sentence
embeddings, and whether the plan has ended. A second, bidirectional layer then reads the whole plan
and gives task types, workers and links.

Source of the parts: A. Vaswani et al., "Attention is all you need" (2017); retrieval as memory: U.
    Khandelwal et al., "Generalization through memorization" (2020), which mixes predictions where
    this model attends to the neighbours.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from supervised.planner.inputs import (
    MAX_PLACES,
    PlannerInputs,
    Request,
    RequestReader,
)
from supervised.planner.layers import DecoderLayer, PlanEncoder
from supervised.plans.dataset import PlanVocabulary
from supervised.texts.encoder import TextEncoder

Outputs = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannerShape:
    """Sizes of the network; kept in its checkpoints."""

    hidden: int = 128
    """H, a multiple of num_heads."""
    num_layers: int = 2
    num_heads: int = 4
    dropout: float = 0.2
    max_subtasks: int = 20
    """N; plans are cut there."""


class PlannerNetwork(nn.Module):
    """Reads instructions and scores what is written, place by place; see the module for how."""

    def __init__(
        self,
        reader: RequestReader,
        vocabulary: PlanVocabulary,
        shape: PlannerShape,
        *,
        fine_tune: bool = False,
    ) -> None:
        """Makes new weights.

        Args:
            reader: encodes instructions and looks up similar plans; not trained.
            vocabulary: of the outputs.
            shape: sizes.
            fine_tune: the tokens of an instruction come from an encoder of its own that is trained
                along; texts, spans and similarity stay those of the reader.
        """
        super().__init__()
        self.reader, self.vocabulary, self.shape = reader, vocabulary, shape
        size, hidden = reader.library.text_embeddings.shape[1], shape.hidden
        encoder = reader.encoder
        self.encoder = (
            TextEncoder.load(encoder.name, max_tokens=encoder.max_tokens) if fine_tune else None
        )
        self.first = nn.Parameter(0.1 * torch.randn(hidden))
        self.previous = nn.Linear(size, hidden)
        self.place = nn.Embedding(shape.max_subtasks + 1, hidden)
        self.memory = _Memory(size, hidden)
        self.dropout = nn.Dropout(shape.dropout)
        self.layers = nn.ModuleList(
            DecoderLayer(hidden, shape.num_heads, shape.dropout) for _ in range(shape.num_layers)
        )
        self.norm = nn.LayerNorm(hidden)
        self.query = nn.Linear(hidden, size)
        self.scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.kind = nn.Linear(hidden, 2)
        self.stop = nn.Linear(hidden, 1)
        self.plan_encoder = PlanEncoder(size, hidden, shape.num_heads, shape.dropout)
        self.task_type = nn.Linear(hidden, len(vocabulary.task_types))
        self.worker = nn.Linear(hidden, len(vocabulary.workers)) if vocabulary.workers else None
        self.edge_source, self.edge_target = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)
        self.edge_bias = nn.Parameter(torch.tensor(-2.0))
        self.edge_distance = nn.Parameter(torch.zeros(2 * shape.max_subtasks + 1))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.first.device

    @functools.cached_property
    def library_embeddings(self) -> Tensor:
        """float32 (T, D); embeddings of the library's texts, where the weights are."""
        return self.reader.library.text_embeddings.to(self.device)

    def read(self, inputs: PlannerInputs, requests: Sequence[Request]) -> Memory:
        """Returns what the decoder attends to, for a batch."""
        tokens = inputs.tokens
        if self.encoder is not None:
            # The reader has said already what is cut.
            texts = [request.instruction for request in requests]
            batch = self.encoder.tokenize(texts, warn=False)
            tokens = self.encoder(batch)
            inputs = dataclasses.replace(inputs, token_mask=batch.attention_mask.bool())
        states, mask = self.memory(inputs, tokens)
        states = self.dropout(states)
        layers: Any = self.layers  # a ModuleList does not say of what
        keys = [layer.memory_keys(states) for layer in layers]
        return Memory(inputs=inputs, keys=keys, mask=mask)

    def write(self, memory: Memory, texts: Tensor) -> Tensor:
        """Returns the decoder's states before each place.

        Args:
            memory: of B instructions.
            texts: float32 (B, S, T, D); embeddings of the texts at the first T places of S plans
                of each instruction.
        Returns:
            float32 (B, S, T + 1, H).
        """
        first = self.first.expand(*texts.shape[:2], 1, -1)
        x = torch.cat([first, self.previous(texts)], dim=2)
        about = self.memory.instruction(memory.inputs.instruction)[:, None, None]
        x = self.dropout(x + self.place.weight[: x.shape[2]] + about)
        for layer, keys in zip(self.layers, memory.keys, strict=True):
            x = layer(x, keys, memory.mask)
        states: Tensor = self.norm(x)
        return states

    def text_logits(self, states: Tensor, memory: Memory, texts: Tensor) -> Tensor:
        """Scores candidate texts.

        Args:
            states: (B, ..., H) of `write`.
            memory: of the same instructions.
            texts: float32 (T, D), embeddings of candidates of the library.
        Returns:
            (B, ..., T + C): first those candidates, then the spans of the instruction; the lowest
            number of the dtype where there is no span.
        """
        query, kind = self.scale.exp() * self.query(states), self.kind(states)
        of_library = query @ texts.T + kind[..., :1]
        shape = (len(query), *(1,) * (query.dim() - 3))
        spans = memory.inputs.spans.reshape(*shape, *memory.inputs.spans.shape[1:])
        of_spans = query @ spans.transpose(-1, -2) + kind[..., 1:]
        absent = ~memory.inputs.span_mask.reshape(*shape, 1, -1)
        of_spans = of_spans.masked_fill(absent, torch.finfo(of_spans.dtype).min)
        return torch.cat([of_library, of_spans], dim=-1)

    def heads(self, states: Tensor, texts: Tensor, num_subtasks: Tensor) -> Outputs:
        """Returns the documented outputs of plans whose texts are given.

        Args:
            states: (B, T + 1, H), of `write`.
            texts: float32 (B, T, D), T <= max_subtasks.
            num_subtasks: int64 (B,).
        """
        n, size = self.shape.max_subtasks, texts.shape[1]
        is_there = torch.arange(n, device=texts.device) < num_subtasks[:, None]
        plan = self.plan_encoder(states[:, :size], texts, is_there[:, :size])
        # Behind its end a plan must not show how long the others of the batch are.
        plan = torch.where(is_there[:, :size, None], plan, 0.0)
        plan = nn.functional.pad(plan, (0, 0, 0, n - size))
        edges = self._edge_logits(plan)
        pairs = is_there[:, :, None] & is_there[:, None]
        stop = self.stop(states)[..., 0][:, :n]
        stop = nn.functional.pad(stop, (0, n - stop.shape[1]))
        is_asked = torch.arange(n, device=texts.device) <= num_subtasks[:, None]
        worker = plan.new_zeros(*plan.shape[:2], 0) if self.worker is None else self.worker(plan)
        return {
            "subtask_embeddings": plan,
            "task_types": self.task_type(plan),
            "model_selections": worker,
            "workflow_graph": {"edge_logits": edges, "adjacency": edges.sigmoid() * pairs},
            "stop_logits": torch.where(is_asked, stop, 0.0),
        }

    def _edge_logits(self, plan: Tensor) -> Tensor:
        """Returns (B, N, N); [i, j] = logit that j depends on i."""
        products = self.edge_source(plan) @ self.edge_target(plan).transpose(1, 2)
        places = torch.arange(plan.shape[1], device=plan.device)
        distance = self.edge_distance[places - places[:, None] + self.shape.max_subtasks]
        logits: Tensor = products / math.sqrt(self.shape.hidden) + distance + self.edge_bias
        return logits


@dataclasses.dataclass(frozen=True, kw_only=True)
class Memory:
    """What the decoder attends to, in the form that its layers read."""

    inputs: PlannerInputs
    keys: list[tuple[Tensor, Tensor]]
    """Keys and values of each layer, (B, heads, M, H / heads)."""
    mask: Tensor
    """bool (B, M); True where there is something."""


class _Memory(nn.Module):
    """Brings everything that is known of an instruction to one size."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.instruction, self.token = nn.Linear(size, hidden), nn.Linear(size, hidden)
        self.span, self.neighbour = nn.Linear(size, hidden), nn.Linear(size, hidden)
        self.kind = nn.Embedding(4, hidden)
        self.span_place = nn.Embedding(MAX_PLACES, hidden)
        self.rank, self.place = nn.Embedding(MAX_PLACES, hidden), nn.Embedding(MAX_PLACES, hidden)
        self.is_last, self.similarity = nn.Embedding(2, hidden), nn.Linear(1, hidden)

    def forward(self, inputs: PlannerInputs, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (B, M, H) and the mask (B, M)."""
        kinds = self.kind.weight
        places = torch.arange(inputs.spans.shape[1], device=tokens.device).clamp(max=MAX_PLACES - 1)
        rank, place, is_last = inputs.places.unbind(-1)
        neighbours = (
            self.neighbour(inputs.neighbours)
            + self.rank(rank)
            + self.place(place)
            + self.is_last(is_last)
            + self.similarity(inputs.similarity[..., None])
        )
        parts = (
            (self.instruction(inputs.instruction)[:, None], inputs.token_mask[:, :1] | True),
            (self.token(tokens), inputs.token_mask),
            (self.span(inputs.spans) + self.span_place(places), inputs.span_mask),
            (neighbours, inputs.neighbour_mask),
        )
        states = [part + kinds[k] for k, (part, _) in enumerate(parts)]
        return torch.cat(states, dim=1), torch.cat([mask for _, mask in parts], dim=1)
