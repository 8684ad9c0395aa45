"""PlannerLearner: trains the planner's network on annotated workflows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from supervised.fit import DivergenceError, Losses
from supervised.planner.inputs import Request, collate_requests
from supervised.planner.loss import compute_supervised_loss
from supervised.planner.model import PlannerModel
from supervised.planner.network import Outputs
from supervised.plans.balanced_sampler import BalancedSampler
from supervised.plans.dataset import PlanBatch, WorkflowDataset, collate
from supervised.plans.metrics import MATCH_THRESHOLD

MISSED = "missed"
"""Metric by which planners are compared in training: the mean share of texts and links missed. The
loss over texts rises again long before the plans get worse, see docs/lab-notes.md."""

_POOL_BATCHES = 16
"""Batches that are cut from one pool of workflows."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannerLearnerSettings:
    """How the planner is trained."""

    batch_size: int = 32
    learning_rate: float = 1.0e-4
    encoder_learning_rate: float = 2.0e-5
    """Of the encoder, where it is trained along."""
    weight_decay: float = 0.01
    lambda_dag: float = 0.3
    max_grad_norm: float = 1.0
    text_temperature: float = 0.15
    """Targets over candidate texts are softmax(cosine to the right text / this) over those above
    the threshold of matching."""
    num_candidates: int = 2048
    """Most texts of the library that a training step scores: the right ones and a random rest."""
    balance: bool = False
    """Draw every task type alike often."""
    seed: int = 0
    """Of the order of the data and the candidates."""


class PlannerLearner:
    """Minimises `compute_supervised_loss`, teaching the decoder with the right texts.

    Its losses and metrics: the parts of the loss; `type_accuracy`; `edge_f1`, of links above 0.5
    between the right subtasks; `text_match`, the share of places whose likeliest text matches the
    right one; `missed`, 1 less the mean of these two.
    """

    def __init__(
        self,
        model: PlannerModel,
        train: WorkflowDataset,
        held_out: WorkflowDataset,
        settings: PlannerLearnerSettings,
    ) -> None:
        """Reads all instructions once; the training data are the model's library, row by row."""
        self.module, self._settings = model, settings
        self._train = _Part(train, model, is_library=True)
        self._held_out = _Part(held_out, model, is_library=False)
        self._sampler = BalancedSampler(train, seed=settings.seed) if settings.balance else None
        encoder = [] if model.encoder is None else list(model.encoder.parameters())
        own = [p for name, p in model.named_parameters() if not name.startswith("encoder.")]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": own, "lr": settings.learning_rate},
                *([{"params": encoder, "lr": settings.encoder_learning_rate}] if encoder else []),
            ],
            weight_decay=settings.weight_decay,
        )

    def train_epoch(self, epoch: int) -> Losses:
        """Goes once through the training part, in an order that seed and epoch alone decide.

        Raises:
            DivergenceError: the loss is not finite; the message names the batch.
        """
        rng = np.random.default_rng([self._settings.seed, epoch])
        self.module.train()
        sums = _Sums()
        for index, rows in enumerate(self._shuffled(rng, epoch)):
            candidates = self._candidates(rows, rng)
            outputs, batch = self._run(self._train, rows, candidates)
            losses = compute_supervised_loss(outputs, batch, self._settings.lambda_dag)
            loss = losses["total_loss"]
            if not torch.isfinite(loss):
                raise DivergenceError(
                    f"the planner's loss is not finite in epoch {epoch}, batch {index} (workflow "
                    f"{self._train.name(rows[0])!r} and {len(rows) - 1} others); lower the "
                    "learning_rate, or look for such numbers in the data"
                )
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), self._settings.max_grad_norm)
            self.optimizer.step()
            sums.add(losses, outputs, batch)
        return sums.means()

    def measure(self) -> Losses:
        """Measures the held-out part, over all candidates."""
        self.module.eval()
        sums = _Sums()
        every = torch.arange(len(self.module.reader.library.texts))
        with torch.no_grad():
            for rows in self._batches(np.arange(len(self._held_out.requests))):
                outputs, batch = self._run(self._held_out, rows, every)
                losses = compute_supervised_loss(outputs, batch, self._settings.lambda_dag)
                sums.add(losses, outputs, batch)
        return sums.means()

    def _shuffled(self, rng: np.random.Generator, epoch: int) -> list[list[int]]:
        """Returns the batches of an epoch in random order, each of instructions alike in length.

        Batches are cut from random pools of workflows that are sorted by length, so that little is
        padded; who meets whom differs from epoch to epoch.
        """
        if self._sampler is None:
            order = rng.permutation(len(self._train.requests))
        else:
            self._sampler.set_epoch(epoch)
            order = np.array(list(self._sampler))
        lengths = np.array([len(request.tokens) for request in self._train.requests])
        pool = _POOL_BATCHES * self._settings.batch_size
        batches: list[list[int]] = []
        for start in range(0, len(order), pool):
            rows = order[start : start + pool]
            batches += self._batches(rows[np.argsort(lengths[rows], kind="stable")])
        return [batches[k] for k in rng.permutation(len(batches))]

    def _batches(self, order: np.ndarray) -> list[list[int]]:
        size = self._settings.batch_size
        return [order[start : start + size].tolist() for start in range(0, len(order), size)]

    def _candidates(self, rows: Sequence[int], rng: np.random.Generator) -> Tensor:
        """Returns the right texts of a batch and random others, as rows of the library."""
        library = self.module.reader.library
        right = {text for row in rows for text in library.plans[row].texts}
        size = min(len(library.texts), self._settings.num_candidates)
        others = rng.permutation(len(library.texts))[:size].tolist()
        return torch.tensor(sorted(right | set(others)))

    def _run(
        self, part: _Part, rows: Sequence[int], candidates: Tensor
    ) -> tuple[Outputs, PlanBatch]:
        model, device = self.module, self.module.device
        requests = [part.requests[row] for row in rows]
        batch = collate([part.dataset[row] for row in rows]).to(device)
        inputs = collate_requests(requests, model.reader.library).to(device)
        texts = torch.nn.utils.rnn.pad_sequence(
            [part.texts[row] for row in rows], batch_first=True
        ).to(device)
        embeddings = model.library_embeddings[candidates.to(device)]
        # bfloat16 has float32's range, so the gradients need no scaling.
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            memory = model.read(inputs, requests)
            states = model.write(memory, texts[:, None])[:, 0]
            outputs = model.heads(states, texts, batch.num_subtasks)
            logits = model.text_logits(states[:, :-1], memory, embeddings)
        cosine = torch.cat([texts @ embeddings.T, texts @ inputs.spans.transpose(1, 2)], dim=-1)
        outputs = _in_float32(outputs)
        outputs["text_log_probs"] = logits.float().log_softmax(dim=-1)
        outputs["text_weights"] = text_targets(
            cosine, batch.subtask_mask, self._settings.text_temperature
        )
        return outputs, batch


def text_targets(cosine: Tensor, mask: Tensor, temperature: float) -> Tensor:
    """Returns how right each candidate text is.

    Args:
        cosine: float32 (B, N, C); of the right texts to the candidates, 0 where there is none.
        mask: bool (B, N); True where a subtask exists.
        temperature: > 0, as a cosine.
    Returns:
        float32 (B, N, C): softmax(cosine / temperature) over the candidates that match, rows sum to
        1; all 0 where none matches or there is no subtask.
    """
    matches = (cosine >= MATCH_THRESHOLD) & mask[..., None]
    weights = torch.where(matches, ((cosine - 1.0) / temperature).exp(), 0.0)
    total = weights.sum(dim=-1, keepdim=True)
    return weights / total.clamp(min=torch.finfo(total.dtype).tiny)


class _Part:
    """Workflows with their requests and the embeddings of their right texts."""

    def __init__(self, dataset: WorkflowDataset, model: PlannerModel, *, is_library: bool) -> None:
        self.dataset = dataset
        reader = model.reader
        instructions = [workflow.instruction for workflow in dataset.workflows]
        own_rows = torch.arange(len(dataset)) if is_library else None
        self.requests: list[Request] = reader.read(instructions, own_rows)
        texts = [[subtask.name for subtask in flow.subtasks] for flow in dataset.workflows]
        names = sorted({name for flow in texts for name in flow})
        row_of = {name: row for row, name in enumerate(names)}
        if is_library:
            embeddings = reader.library.text_embeddings  # its texts are these, sorted alike
        else:
            embeddings = torch.from_numpy(reader.encoder.embed(names))
        self.texts = [embeddings[[row_of[name] for name in flow]] for flow in texts]

    def name(self, row: int) -> str:
        """Returns the id of a workflow."""
        return self.dataset.workflows[row].id


class _Sums:
    """Means of losses and metrics over batches, weighted by their workflows."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._workflows = 0

    def add(self, losses: dict[str, Tensor], outputs: Outputs, batch: PlanBatch) -> None:
        """Adds a batch."""
        count = len(batch.rows)
        values = {name.removesuffix("_loss"): value.detach() for name, value in losses.items()}
        with torch.no_grad():
            values |= _metrics(outputs, batch)
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, torch.zeros(())) + count * value.float().cpu()
        self._workflows += count

    def means(self) -> Losses:
        """Returns the means as plain numbers."""
        means = {name: float(value) / self._workflows for name, value in self._sums.items()}
        return means | {MISSED: 1.0 - (means["text_match"] + means["edge_f1"]) / 2}


def _metrics(outputs: Outputs, batch: PlanBatch) -> dict[str, Tensor]:
    mask, n = batch.subtask_mask, batch.subtask_mask.shape[1]
    types = outputs["task_types"][:, :n].argmax(dim=-1)
    linked = outputs["workflow_graph"]["edge_logits"][:, :n, :n] > 0
    linked = linked & mask[:, :, None] & mask[:, None]
    right = batch.adjacency > 0
    found = (linked & right).sum()
    best = outputs["text_log_probs"].argmax(dim=-1, keepdim=True)
    matches = outputs["text_weights"].gather(-1, best)[..., 0] > 0
    return {
        "type_accuracy": (types == batch.task_types)[mask].float().mean(),
        "edge_f1": 2 * found / (linked.sum() + right.sum()).clamp(min=1),
        "text_match": matches[mask].float().mean(),
    }


def _in_float32(outputs: Outputs) -> Outputs:
    return {
        name: _in_float32(value) if isinstance(value, dict) else value.float()
        for name, value in outputs.items()
    }
