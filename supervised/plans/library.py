"""PlanLibrary: the training plans that a planner looks things up in."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from supervised.plans.dataset import WorkflowDataset

Links = tuple[tuple[int, int], ...]


class Embedder(Protocol):
    """What turns texts into sentence embeddings."""

    def embed(self, texts: list[str]) -> npt.NDArray[np.float32]:
        """Returns float32 (n, D), rows of length 1."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredPlan:
    """One training plan, in topological order."""

    texts: tuple[int, ...]
    """Row of each subtask's text in the library."""
    task_types: tuple[int, ...]
    """Index into the vocabulary."""
    links: Links


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanLibrary:
    """R training plans, their T different subtask texts, and embeddings of both."""

    texts: tuple[str, ...]
    """T different texts."""
    text_embeddings: Tensor
    """float32 (T, D), rows of length 1."""
    plans: tuple[StoredPlan, ...]
    """R plans; row r is workflow r of the training data."""
    instruction_embeddings: Tensor
    """float32 (R, D), rows of length 1."""

    @classmethod
    def of(cls, dataset: WorkflowDataset, encoder: Embedder) -> Self:
        """Embeds and stores the plans of a data set."""
        texts = sorted({subtask.name for flow in dataset.workflows for subtask in flow.subtasks})
        row_of = {text: row for row, text in enumerate(texts)}
        plans = tuple(
            StoredPlan(
                texts=tuple(row_of[subtask.name] for subtask in flow.subtasks),
                task_types=tuple(dataset[row].task_types.tolist()),
                links=tuple(flow.links),
            )
            for row, flow in enumerate(dataset.workflows)
        )
        instructions = [flow.instruction for flow in dataset.workflows]
        return cls(
            texts=tuple(texts),
            text_embeddings=_stored(torch.from_numpy(encoder.embed(texts))),
            plans=plans,
            instruction_embeddings=_stored(torch.from_numpy(encoder.embed(instructions))),
        )

    def nearest(
        self, embeddings: Tensor, count: int, own_rows: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Finds the plans whose instructions are most similar.

        Args:
            embeddings: float32 (B, D), rows of length 1.
            count: most neighbours of each.
            own_rows: int64 (B,); plan that is the asking workflow itself and is left out.
        Returns:
            int64 (B, k) rows of plans and float32 (B, k) cosines, the most similar first; k is
            count, or fewer where the library is smaller.
        """
        similarity = embeddings @ self.instruction_embeddings.T
        available = len(self.plans)
        if own_rows is not None:
            similarity[torch.arange(len(own_rows)), own_rows] = -torch.inf
            available -= 1
        cosines, rows = similarity.topk(min(count, available), dim=1)
        return rows, cosines

    def state_dict(self) -> dict[str, Any]:
        """Returns the library as plain values and tensors, for a checkpoint."""
        return {
            "texts": list(self.texts),
            "text_embeddings": self.text_embeddings.half(),
            "plans": [dataclasses.asdict(plan) for plan in self.plans],
            "instruction_embeddings": self.instruction_embeddings.half(),
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Self:
        """Reads what `state_dict` returned."""
        return cls(
            texts=tuple(state["texts"]),
            text_embeddings=state["text_embeddings"].float(),
            plans=tuple(StoredPlan(**plan) for plan in state["plans"]),
            instruction_embeddings=state["instruction_embeddings"].float(),
        )


def _stored(embeddings: Tensor) -> Tensor:
    """Rounds as a checkpoint does, so that a loaded library is the very same."""
    return embeddings.half().float()
