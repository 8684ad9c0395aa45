"""Planners for tests: one that has the plans written down, and what makes them fail."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from orchestai_env.dataset import Dataset
from orchestai_env.datasets.builtin import builtin_dataset, builtin_pool, builtin_workflows
from orchestai_env.errors import PlanningError
from orchestai_env.planning import Plan
from orchestai_env.workflow import Subtask, Workflow

NUM_WORKFLOWS = 12
TASK_TYPES = builtin_pool()[1]


def annotated() -> list[Workflow]:
    """Returns the workflows of `builtin`."""
    return builtin_workflows(NUM_WORKFLOWS, 0, TASK_TYPES, split="validation")


def builtin() -> Dataset:
    """Returns a small simulated data set with embeddings."""
    return builtin_dataset("validation", num_workflows=NUM_WORKFLOWS)


def chain(instruction: str, size: int = 2, kind: str = TASK_TYPES[0]) -> Workflow:
    """Returns a workflow whose subtasks follow each other."""
    return Workflow(
        id="chain",
        instruction=instruction,
        subtasks=tuple(Subtask(name=f"step {i}", type=kind) for i in range(size)),
        links=tuple((i, i + 1) for i in range(size - 1)),
    )


@dataclasses.dataclass
class WrittenPlanner:
    """Knows the plans of some instructions, and notes what it was asked."""

    plans: Mapping[str, Plan]
    name: str = "written"
    task_types: tuple[str, ...] = TASK_TYPES
    asked: list[list[str]] = dataclasses.field(default_factory=list)

    def plan(self, instructions: Sequence[str]) -> list[Plan]:
        """Returns the plans that are known."""
        self.asked.append(list(instructions))
        for text in instructions:
            if text not in self.plans:
                raise PlanningError(f"planner {self.name!r}: no plan of {text!r}")
        return [self.plans[text] for text in instructions]


@dataclasses.dataclass
class ChainPlanner:
    """Plans anything as a chain of one task type."""

    name: str = "chain"
    size: int = 2
    task_types: tuple[str, ...] = TASK_TYPES
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Fields of the plans that differ."""

    def plan(self, instructions: Sequence[str]) -> list[Plan]:
        """Returns one chain per instruction."""
        plain = [
            Plan(workflow=chain(text, self.size), planner=self.name, confidence=1.0)
            for text in instructions
        ]
        return [dataclasses.replace(plan, **self.changes) for plan in plain]


def written(workflows: Sequence[Workflow], **fields: Any) -> WrittenPlanner:
    """Returns a planner that knows these workflows."""
    plans = {
        workflow.instruction: Plan(
            workflow=workflow, planner="written", confidence=fields.get("confidence", 1.0)
        )
        for workflow in workflows
    }
    return WrittenPlanner(plans)


def with_embeddings(planner: WrittenPlanner, dataset: Dataset) -> WrittenPlanner:
    """Returns the planner whose plans have the embeddings of the data set's workflows."""
    table, plans = dataset.workflows, {}
    assert table.instruction_texts is not None
    assert dataset.instruction_embeddings is not None and dataset.query_embeddings is not None
    for k, text in enumerate(table.instruction_texts):
        rows = table.query[k, : table.num_subtasks[k]]
        plans[text] = dataclasses.replace(
            planner.plans[text],
            instruction_embedding=dataset.instruction_embeddings[table.instruction[k]],
            subtask_embeddings=dataset.query_embeddings[rows],
        )
    return WrittenPlanner(plans)


def numbers(*shape: int) -> np.ndarray:
    """Returns float32 numbers below 1, each another one."""
    return np.linspace(0.0, 0.9, int(np.prod(shape)), dtype=np.float32).reshape(shape)
