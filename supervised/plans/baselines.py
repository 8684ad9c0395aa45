"""Planners that learn nothing: copy the most similar plan, chain it, repeat the most frequent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from orchestai_env.planning.planner import Plan
from orchestai_env.workflow import Subtask, Workflow
from supervised.plans.dataset import WorkflowDataset
from supervised.plans.library import Embedder, PlanLibrary, StoredPlan


class NearestPlanner:
    """Copies the plan of the training workflow whose instruction is most similar.

    Similarity is the cosine of the sentence embeddings; clipped to 0..1 it is the confidence.
    """

    name = "nearest"

    def __init__(
        self, library: PlanLibrary, encoder: Embedder, task_types: tuple[str, ...]
    ) -> None:
        """Takes the plans to copy from.

        Args:
            library: training plans.
            encoder: of the instructions; the one that embedded the library.
            task_types: vocabulary that the library's task types are indexes into.
        """
        self.library, self.encoder, self.task_types = library, encoder, task_types

    @classmethod
    def of(cls, dataset: WorkflowDataset, encoder: Embedder) -> Self:
        """Embeds the workflows of a data set and copies from them."""
        return cls(PlanLibrary.of(dataset, encoder), encoder, dataset.vocabulary.task_types)

    def plan(self, instructions: Sequence[str]) -> list[Plan]:
        """Returns one plan per instruction, in their order."""
        if not instructions:
            return []
        embeddings = self.encoder.embed(list(instructions))
        rows, cosines = self.library.nearest(torch.from_numpy(embeddings), 1)
        found = zip(instructions, embeddings, rows[:, 0], cosines[:, 0], strict=True)
        return [
            _written(
                self._chosen(int(row)),
                self.library,
                self.task_types,
                instruction=instruction,
                planner=self.name,
                confidence=min(max(float(cosine), 0.0), 1.0),
                instruction_embedding=embedding,
            )
            for instruction, embedding, row, cosine in found
        ]

    def _chosen(self, row: int) -> StoredPlan:
        """Returns the plan to write for a row of the library."""
        return self.library.plans[row]


class ChainPlanner(NearestPlanner):
    """Takes the subtasks of the nearest plan and links each to the next."""

    name = "chain"

    def _chosen(self, row: int) -> StoredPlan:
        plan = self.library.plans[row]
        return StoredPlan(
            texts=plan.texts, task_types=plan.task_types, links=chain_links(len(plan.texts))
        )


class MostFrequentPlanner:
    """Gives every instruction the most frequent training plan.

    That is the most frequent pair of task types and links and, at every place, the most frequent
    text of the plans that have them; of equally frequent ones the first met.
    """

    name = "most frequent"

    def __init__(self, library: PlanLibrary, task_types: tuple[str, ...]) -> None:
        """Counts the plans; arguments as those of `NearestPlanner`."""
        self.library, self.task_types = library, task_types
        shapes = Counter((plan.task_types, plan.links) for plan in library.plans)
        types, links = shapes.most_common(1)[0][0]
        alike = [
            plan.texts for plan in library.plans if (plan.task_types, plan.links) == (types, links)
        ]
        texts = tuple(
            Counter(at_place).most_common(1)[0][0] for at_place in zip(*alike, strict=True)
        )
        self._plan = StoredPlan(texts=texts, task_types=types, links=links)

    def plan(self, instructions: Sequence[str]) -> list[Plan]:
        """Returns the same plan for every instruction, with confidence 1.0: it cannot tell."""
        return [
            _written(
                self._plan,
                self.library,
                self.task_types,
                instruction=instruction,
                planner=self.name,
                confidence=1.0,
            )
            for instruction in instructions
        ]


def chain_links(num_subtasks: int) -> tuple[tuple[int, int], ...]:
    """Returns the links of a chain: each subtask needs the one before it."""
    return tuple((i, i + 1) for i in range(num_subtasks - 1))


def _written(
    plan: StoredPlan,
    library: PlanLibrary,
    task_types: tuple[str, ...],
    *,
    instruction: str,
    planner: str,
    confidence: float,
    instruction_embedding: npt.NDArray[np.float32] | None = None,
) -> Plan:
    """Returns a stored plan as that of an instruction."""
    subtasks = tuple(
        Subtask(name=library.texts[text], type=task_types[kind])
        for text, kind in zip(plan.texts, plan.task_types, strict=True)
    )
    return Plan(
        workflow=Workflow(
            id="planned", instruction=instruction, subtasks=subtasks, links=tuple(plan.links)
        ),
        planner=planner,
        confidence=confidence,
        instruction_embedding=instruction_embedding,
        subtask_embeddings=library.text_embeddings[list(plan.texts)].numpy(),
    )
