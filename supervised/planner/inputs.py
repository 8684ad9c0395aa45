"""What a planner knows of an instruction before it plans: tokens, spans and similar plans."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from supervised.planner.spans import request_spans
from supervised.plans.library import PlanLibrary
from supervised.texts.encoder import MemoEncoder, TextEncoder

MAX_PLACES = 32
"""Places in a neighbour's plan, spans and ranks from this one on share one embedding."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """One instruction, encoded."""

    instruction: str
    embedding: Tensor
    """float32 (D,), length 1."""
    tokens: Tensor
    """float16 (L, D); states of the encoder's last layer."""
    spans: tuple[str, ...]
    """C parts of the instruction; the last is all of it."""
    span_embeddings: Tensor
    """float16 (C, D), rows of length 1."""
    neighbours: Tensor
    """int64 (K,); rows of the library's most similar plans, the most similar first."""
    similarity: Tensor
    """float32 (K,); cosines of their instructions."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannerInputs:
    """B requests as padded tensors; a mask is True where there is something."""

    instruction: Tensor
    """float32 (B, D)."""
    tokens: Tensor
    """float32 (B, L, D)."""
    token_mask: Tensor
    """bool (B, L)."""
    spans: Tensor
    """float32 (B, C, D)."""
    span_mask: Tensor
    """bool (B, C)."""
    neighbours: Tensor
    """float32 (B, M, D); texts of the subtasks of all similar plans, one plan after the other."""
    neighbour_mask: Tensor
    """bool (B, M)."""
    places: Tensor
    """int64 (B, M, 3); rank of the plan, place in the plan, 1 at its last subtask."""
    similarity: Tensor
    """float32 (B, M); cosine of the plan's instruction."""

    def to(self, device: torch.device | str) -> Self:
        """Returns the same on another device."""
        moved = {
            field.name: getattr(self, field.name).to(device) for field in dataclasses.fields(self)
        }
        return dataclasses.replace(self, **moved)


class RequestReader:
    """Encodes instructions, and looks up similar plans."""

    def __init__(
        self,
        encoder: TextEncoder | MemoEncoder,
        library: PlanLibrary,
        *,
        num_neighbours: int,
        max_spans: int,
    ) -> None:
        """Takes the encoder, which stays as it is, and the training plans."""
        self.encoder, self.library = encoder, library
        self.num_neighbours, self.max_spans = num_neighbours, max_spans

    def read(self, instructions: Sequence[str], own_rows: Tensor | None = None) -> list[Request]:
        """Returns the requests of B instructions.

        Args:
            instructions: texts; longer ones than the encoder takes are cut, which is logged.
            own_rows: int64 (B,); rows of the library that are these workflows themselves, so that
                training sees no neighbour that a new instruction would not have.
        """
        tokens, embeddings = self.encoder.encode(list(instructions))
        embedded = torch.from_numpy(embeddings)
        spans = [request_spans(text, self.max_spans) for text in instructions]
        # The instruction itself is embedded already.
        inner = list(dict.fromkeys(span for parts in spans for span in parts[:-1]))
        row_of = {span: row for row, span in enumerate(inner)}
        inner_embeddings = torch.from_numpy(self.encoder.embed(inner)) if inner else embedded
        neighbours, similarity = self.library.nearest(embedded, self.num_neighbours, own_rows)
        return [
            Request(
                instruction=instruction,
                embedding=embedded[b],
                tokens=tokens[b],
                spans=spans[b],
                span_embeddings=torch.cat(
                    [inner_embeddings[[row_of[span] for span in spans[b][:-1]]], embedded[b, None]]
                ).half(),
                neighbours=neighbours[b],
                similarity=similarity[b],
            )
            for b, instruction in enumerate(instructions)
        ]


def collate_requests(requests: Sequence[Request], library: PlanLibrary) -> PlannerInputs:
    """Pads requests to one size."""
    tokens, token_mask = _padded([request.tokens.float() for request in requests])
    spans, span_mask = _padded([request.span_embeddings.float() for request in requests])
    rows, places, similarity = zip(*(_neighbour_rows(r, library) for r in requests), strict=True)
    neighbours, neighbour_mask = _padded([library.text_embeddings[row] for row in rows])
    return PlannerInputs(
        instruction=torch.stack([request.embedding for request in requests]),
        tokens=tokens,
        token_mask=token_mask,
        spans=spans,
        span_mask=span_mask,
        neighbours=neighbours,
        neighbour_mask=neighbour_mask,
        places=_padded(places)[0],
        similarity=_padded(similarity)[0],
    )


def _neighbour_rows(request: Request, library: PlanLibrary) -> tuple[Tensor, Tensor, Tensor]:
    """Returns text rows (M,), places (M, 3) and similarity (M,) of a request's similar plans."""
    rows: list[int] = []
    places: list[tuple[int, int, int]] = []
    cosines: list[float] = []
    pairs = zip(request.neighbours.tolist(), request.similarity.tolist(), strict=True)
    for rank, (plan_row, cosine) in enumerate(pairs):
        texts = library.plans[plan_row].texts
        rows += texts
        places += [
            (min(rank, MAX_PLACES - 1), min(place, MAX_PLACES - 1), int(place == len(texts) - 1))
            for place in range(len(texts))
        ]
        cosines += [cosine] * len(texts)
    return (
        torch.tensor(rows, dtype=torch.int64),
        torch.tensor(places, dtype=torch.int64).reshape(-1, 3),
        torch.tensor(cosines),
    )


def _padded(parts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(part) for part in parts])
    padded = pad_sequence(list(parts), batch_first=True)
    return padded, torch.arange(padded.shape[1]) < lengths[:, None]
