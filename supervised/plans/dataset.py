"""WorkflowDataset: workflows that a planner learns from, and the batches that it reads them in."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils.data import Dataset

from orchestai_env.errors import DataError, UnknownWorkerError, WorkflowError, unknown_name
from orchestai_env.workflow import Subtask, Workflow, topological_order

IGNORED = -1
"""Label of padding and of what was not recorded; pass it to torch as `ignore_index`."""

MAX_SUBTASKS = 20
"""Most subtasks of a workflow by default, as in the environment."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanVocabulary:
    """The words that labels are indexes into."""

    task_types: tuple[str, ...]
    workers: tuple[str, ...]
    """Worker names; empty where no choice of a worker is known."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanTarget:
    """A workflow as a planner's target: what is to be planned, and who did it well."""

    workflow: Workflow
    workers: tuple[str | None, ...]
    """Worker to choose for each subtask; None where no good choice was recorded."""
    source: str = ""
    """Data set that it came from; empty if unknown."""

    def checked(self, vocabulary: PlanVocabulary | None, max_subtasks: int) -> PlanTarget:
        """Returns the same plan with its subtasks in topological order (stable: lowest first).

        Args:
            vocabulary: task types and workers that are known; None accepts all.
            max_subtasks: most subtasks allowed.
        Raises:
            WorkflowError: the instruction is blank, there is no subtask or there are too many, a
                link leaves the range, a task type is unknown, or workers and subtasks differ in
                number.
            CyclicWorkflowError: the links form a cycle.
            UnknownWorkerError: a worker is not in the vocabulary.
        """
        workflow, n = self.workflow.validate(), len(self.workflow.subtasks)
        if not workflow.instruction.strip():
            raise WorkflowError(f"workflow {workflow.id!r}: expected an instruction, got blanks")
        if n > max_subtasks:
            raise WorkflowError(
                f"workflow {workflow.id!r}: expected at most {max_subtasks} subtasks, got {n}; "
                "leave it out or raise max_subtasks"
            )
        if len(self.workers) != n:
            raise WorkflowError(
                f"workflow {workflow.id!r}: expected a model selection for each of the {n} "
                f"subtasks (null where unknown), got {len(self.workers)}"
            )
        if vocabulary is not None:
            _check_words(self, vocabulary)
        order = topological_order(n, workflow.links, name=workflow.id)
        return dataclasses.replace(
            self,
            workflow=workflow.topologically_sorted(),
            workers=tuple(self.workers[i] for i in order),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanExample:
    """One workflow of n subtasks, in topological order, as labels."""

    row: int
    """Its row in the data set."""
    instruction: str
    texts: tuple[str, ...]
    """What each subtask is to do."""
    task_types: Tensor
    """int64 (n,); index into the vocabulary's task types."""
    model_selections: Tensor
    """int64 (n,); index into the vocabulary's workers, IGNORED where not recorded."""
    adjacency: Tensor
    """float32 (n, n); [i, j] = 1 when j depends on i."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanBatch:
    """B workflows, padded to N subtasks."""

    instructions: list[str]
    """B texts."""
    rows: Tensor
    """int64 (B,); row of each workflow in its data set."""
    task_types: Tensor
    """int64 (B, N); IGNORED in padding."""
    model_selections: Tensor
    """int64 (B, N); IGNORED in padding and where not recorded."""
    adjacency: Tensor
    """float32 (B, N, N); [b, i, j] = 1 when j depends on i, and then i < j; 0 in padding."""
    subtask_mask: Tensor
    """bool (B, N); True where a subtask exists."""
    num_subtasks: Tensor
    """int64 (B,); 1..N."""
    texts: list[list[str]]
    """Texts of the subtasks, without padding."""

    def to(self, device: torch.device | str) -> Self:
        """Returns the same with its tensors on another device."""
        moved: dict[str, Any] = {
            name: value.to(device)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return dataclasses.replace(self, **moved)


class WorkflowDataset(Dataset[PlanExample]):
    """Workflows with the worker choices that are known to have been good, checked and indexed.

    Every workflow is stored in topological order (stable: lowest free index first), with its
    texts, task types and worker choices permuted alike, so that links only ever point forward.
    """

    def __init__(
        self,
        instructions: Sequence[str],
        subtask_sequences: Sequence[Sequence[str]],
        task_types: Sequence[Sequence[str]],
        dependencies: Sequence[Sequence[tuple[int, int]]],
        model_selections: Sequence[Sequence[str | None]] | None = None,
        *,
        vocabulary: PlanVocabulary | None = None,
        max_subtasks: int = MAX_SUBTASKS,
    ) -> None:
        """Checks R workflows and turns their words into labels.

        Args:
            instructions: R texts.
            subtask_sequences: texts of the subtasks of each workflow.
            task_types: word of each subtask.
            dependencies: links (i, j) of each workflow: subtask j needs the result of subtask i.
            model_selections: worker of each subtask, None where unknown; None where all are.
            vocabulary: known words; None takes those that occur, sorted.
            max_subtasks: most subtasks of a workflow.
        Raises:
            DataError: there is no workflow, or the lists differ in length.
            WorkflowError: a workflow is malformed, see `PlanTarget.checked`; names its row.
            UnknownWorkerError: a worker is not in the vocabulary.
        """
        if model_selections is None:
            model_selections = [[None] * len(texts) for texts in subtask_sequences]
        _check_aligned(
            instructions=instructions,
            subtask_sequences=subtask_sequences,
            task_types=task_types,
            dependencies=dependencies,
            model_selections=model_selections,
        )
        workflows = [
            _workflow(f"row {row}", *parts)
            for row, parts in enumerate(
                zip(instructions, subtask_sequences, task_types, dependencies, strict=True)
            )
        ]
        plans = [
            PlanTarget(workflow=workflow, workers=tuple(workers))
            for workflow, workers in zip(workflows, model_selections, strict=True)
        ]
        self._store(plans, vocabulary, max_subtasks)

    @classmethod
    def from_plans(
        cls,
        plans: Sequence[PlanTarget],
        *,
        vocabulary: PlanVocabulary | None = None,
        max_subtasks: int = MAX_SUBTASKS,
    ) -> Self:
        """Builds a data set of plans; arguments and errors are those of the constructor."""
        dataset = cls.__new__(cls)
        dataset._store(plans, vocabulary, max_subtasks)
        return dataset

    @classmethod
    def from_workflows(
        cls,
        workflows: Sequence[Workflow],
        model_selections: Sequence[Sequence[str | None]] | None = None,
        *,
        vocabulary: PlanVocabulary | None = None,
        max_subtasks: int = MAX_SUBTASKS,
    ) -> Self:
        """Builds a data set of workflows; arguments and errors are those of the constructor."""
        if model_selections is None:
            model_selections = [[None] * len(workflow.subtasks) for workflow in workflows]
        _check_aligned(workflows=workflows, model_selections=model_selections)
        plans = [
            PlanTarget(workflow=workflow, workers=tuple(workers))
            for workflow, workers in zip(workflows, model_selections, strict=True)
        ]
        return cls.from_plans(plans, vocabulary=vocabulary, max_subtasks=max_subtasks)

    def _store(
        self, plans: Sequence[PlanTarget], vocabulary: PlanVocabulary | None, max_subtasks: int
    ) -> None:
        if not plans:
            raise DataError("expected at least one workflow to learn from, got an empty data set")
        self.plans = tuple(plan.checked(vocabulary, max_subtasks) for plan in plans)
        self.vocabulary = _words_of(self.plans) if vocabulary is None else vocabulary
        self.max_subtasks = max_subtasks
        types = {word: index for index, word in enumerate(self.vocabulary.task_types)}
        workers: dict[str | None, int] = {None: IGNORED}
        workers |= {word: index for index, word in enumerate(self.vocabulary.workers)}
        self._examples = [
            PlanExample(
                row=row,
                instruction=plan.workflow.instruction,
                texts=tuple(subtask.name for subtask in plan.workflow.subtasks),
                task_types=torch.tensor([types[s.type] for s in plan.workflow.subtasks]),
                model_selections=torch.tensor([workers[name] for name in plan.workers]),
                adjacency=_adjacency(plan.workflow),
            )
            for row, plan in enumerate(self.plans)
        ]

    def __len__(self) -> int:
        """Returns the number of workflows."""
        return len(self._examples)

    def __getitem__(self, row: int) -> PlanExample:
        """Returns one workflow as labels; its tensors are the stored ones, not to be written to."""
        return self._examples[row]

    @property
    def workflows(self) -> tuple[Workflow, ...]:
        """The workflows, each in topological order."""
        return tuple(plan.workflow for plan in self.plans)

    @property
    def sources(self) -> tuple[str, ...]:
        """Data set that each workflow came from; empty where unknown."""
        return tuple(plan.source for plan in self.plans)

    def take(self, rows: Iterable[int]) -> WorkflowDataset:
        """Returns a data set of the chosen rows, numbered anew, with the same vocabulary.

        Raises:
            DataError: no row is chosen.
        """
        return WorkflowDataset.from_plans(
            [self.plans[row] for row in rows],
            vocabulary=self.vocabulary,
            max_subtasks=self.max_subtasks,
        )


def collate(examples: Sequence[PlanExample], max_subtasks: int | None = None) -> PlanBatch:
    """Pads workflows to one size.

    Args:
        examples: B >= 1 workflows.
        max_subtasks: N; None takes the longest workflow's.
    Raises:
        DataError: there is no workflow, or one is longer than max_subtasks.
    """
    if not examples:
        raise DataError("expected at least one workflow in a batch, got none")
    lengths = [len(example.texts) for example in examples]
    size = max(lengths) if max_subtasks is None else max_subtasks
    if max(lengths) > size:
        raise DataError(f"expected at most {size} subtasks in a batch, got {max(lengths)}")
    num_subtasks = torch.tensor(lengths)
    task_types = torch.full((len(examples), size), IGNORED)
    model_selections = torch.full((len(examples), size), IGNORED)
    adjacency = torch.zeros(len(examples), size, size)
    for b, (example, n) in enumerate(zip(examples, lengths, strict=True)):
        task_types[b, :n] = example.task_types
        model_selections[b, :n] = example.model_selections
        adjacency[b, :n, :n] = example.adjacency
    return PlanBatch(
        instructions=[example.instruction for example in examples],
        rows=torch.tensor([example.row for example in examples]),
        task_types=task_types,
        model_selections=model_selections,
        adjacency=adjacency,
        subtask_mask=torch.arange(size) < num_subtasks[:, None],
        num_subtasks=num_subtasks,
        texts=[list(example.texts) for example in examples],
    )


def template_text(task_type: str, instruction: str) -> str:
    """Returns the text of a subtask of which only the type is known."""
    return f"{task_type.replace('_', ' ')}: {instruction}"


def _workflow(
    name: str,
    instruction: str,
    texts: Sequence[str],
    task_types: Sequence[str],
    links: Sequence[tuple[int, int]],
) -> Workflow:
    if len(texts) != len(task_types):
        raise WorkflowError(
            f"workflow {name!r}: expected a task type for each subtask, got {len(texts)} texts and "
            f"{len(task_types)} task types"
        )
    pairs = zip(texts, task_types, strict=True)
    return Workflow(
        id=name,
        instruction=instruction,
        subtasks=tuple(Subtask(name=text, type=task_type) for text, task_type in pairs),
        links=tuple((i, j) for i, j in links),
    )


def _check_aligned(**lists: Sequence[object]) -> None:
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(f"expected lists of one length, an item for each workflow, got {found}")


def _check_words(plan: PlanTarget, vocabulary: PlanVocabulary) -> None:
    for subtask in plan.workflow.subtasks:
        if subtask.type not in vocabulary.task_types:
            what = unknown_name("task type", subtask.type, vocabulary.task_types)
            raise WorkflowError(f"workflow {plan.workflow.id!r}: {what}")
    for worker in plan.workers:
        if worker is not None and worker not in vocabulary.workers:
            what = unknown_name("worker", worker, vocabulary.workers)
            raise UnknownWorkerError(f"workflow {plan.workflow.id!r}: {what}")


def _words_of(plans: Sequence[PlanTarget]) -> PlanVocabulary:
    workers = {worker for plan in plans for worker in plan.workers if worker is not None}
    return PlanVocabulary(
        task_types=tuple(sorted({s.type for plan in plans for s in plan.workflow.subtasks})),
        workers=tuple(sorted(workers)),
    )


def _adjacency(workflow: Workflow) -> Tensor:
    adjacency = torch.zeros(len(workflow.subtasks), len(workflow.subtasks))
    for i, j in workflow.links:
        adjacency[i, j] = 1.0
    return adjacency
