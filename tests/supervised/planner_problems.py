"""Plans, an encoder and a trained planner that cost nothing, for tests of how plans are judged."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from orchestai_env.planning import Plan
from orchestai_env.workflow import Subtask, Workflow, write_workflows
from supervised.planner_comparison.seeds import History, Parts, PlannerRecipe
from supervised.plans.dataset import PlanTarget, WorkflowDataset

DIM = 1024
_PLACES: dict[str, int] = {}
"""Word -> its number in the embeddings, as they are met."""

EPOCHS: History = [
    {
        side: {"total": 2.0 / epoch + shift, "dag": 0.1 / epoch, "edge": 1.0 / epoch, "stop": 0.5}
        for side, shift in (("train", 0.0), ("val", 0.1))
    }
    for epoch in (1, 2, 3)
]


class WordEncoder:
    """Embeds a text by the words in it: texts without a common word are orthogonal."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Returns float32 (n, DIM), rows of length 1."""
        self.asked += texts
        result = np.zeros((len(texts), DIM), np.float32)
        for row, text in enumerate(texts):
            for word in text.split():
                result[row, _PLACES.setdefault(word, len(_PLACES))] += 1.0
        return result / np.linalg.norm(result, axis=1, keepdims=True)


def flow(
    instruction: str,
    names: Sequence[str],
    links: Sequence[tuple[int, int]] = (),
    *,
    name: str = "w",
    kind: str = "write",
) -> Workflow:
    """Returns a workflow of one task type."""
    return Workflow(
        id=name,
        instruction=instruction,
        subtasks=tuple(Subtask(name=text, type=kind) for text in names),
        links=tuple(links),
    )


def dataset(*flows: Workflow, source: str = "") -> WorkflowDataset:
    """Returns a data set of workflows."""
    return WorkflowDataset.from_plans(
        [PlanTarget(workflow=w, workers=(None,) * len(w.subtasks), source=source) for w in flows]
    )


@dataclasses.dataclass
class KnowingPlanner:
    """Knows the true workflows, but leaves out the last subtask of all but `num_right` of them."""

    truth: dict[str, Workflow]
    num_right: int
    name: str = "learned"
    task_types: tuple[str, ...] = ("write",)

    def plan(self, instructions: Sequence[str]) -> list[Plan]:
        """Returns one plan per instruction; it is sure of the right ones."""
        plans = []
        for row, text in enumerate(instructions):
            workflow, right = self.truth[text], row < self.num_right
            if not right and len(workflow.subtasks) > 1:
                last = len(workflow.subtasks) - 1
                links = tuple(link for link in workflow.links if last not in link)
                workflow = dataclasses.replace(
                    workflow, subtasks=workflow.subtasks[:last], links=links
                )
            plans.append(Plan(workflow=workflow, planner=self.name, confidence=0.5 + 0.5 * right))
        return plans

    def link_probabilities(self, instruction: str, texts: Sequence[str]) -> np.ndarray:
        """Returns 0.9 for the true links, by the subtasks' texts, else 0.1."""
        workflow = self.truth[instruction]
        linked = {(workflow.subtasks[i].name, workflow.subtasks[j].name) for i, j in workflow.links}
        return np.array([[0.9 if (a, b) in linked else 0.1 for b in texts] for a in texts])


def recipe(trained: list[int] | None = None, *, num_right: int = 10_000) -> PlannerRecipe:
    """Returns a recipe whose checkpoints hold the workflows of all parts.

    Args:
        trained: gets the seeds that were trained.
        num_right: instructions, the first ones, that are planned without a fault.
    """

    def train(parts: Parts, seed: int, path: Path) -> History:
        if trained is not None:
            trained.append(seed)
        flows = [workflow.to_dict() for part in parts.values() for workflow in part.workflows]
        path.write_text(json.dumps(flows))
        return EPOCHS

    def load(path: Path) -> KnowingPlanner:
        flows = [Workflow.from_dict(data) for data in json.loads(path.read_text())]
        return KnowingPlanner({w.instruction: w for w in flows}, num_right)

    return PlannerRecipe(settings={"epochs": 3}, train_fn=train, load_fn=load)


NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()


def write_source(path: Path, *, source: str, num_workflows: int = 60) -> Path:
    """Writes chains, forks and, every fourth, workflows without links."""
    flows = []
    for k in range(num_workflows):
        word = f"{source}{NUMBERS[k // 20]}x{NUMBERS[k % 20]}"
        names = [f"get {word}", f"sort {word}", f"send {word}"]
        links = [((0, 1), (1, 2)), ((0, 1), (0, 2)), ((0, 1), (1, 2)), ()][k % 4]
        kind = "odd" if k % 2 else "even"
        flows.append(flow(f"{word} please {word}", names, links, name=f"{source}/{kind}_{k}"))
    write_workflows(path, flows)
    return path
