"""Plans out of the two JSON records that hold what was executed, and how that went."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import pydantic

from orchestai_env.errors import WorkflowError
from orchestai_env.settings import StrictSettings, parse_settings
from orchestai_env.workflow import Subtask, Workflow
from supervised.plans.dataset import PlanTarget, template_text

_Link = Annotated[list[int], pydantic.Field(min_length=2, max_length=2)]
_Share = Annotated[float, pydantic.Field(ge=0, le=1)]
_UNNAMED = re.compile(r"subtask \d+")  # as ExecutionResult calls subtasks whose text it lacks


class _Record(StrictSettings):
    """A record of which only the keys below are read."""

    model_config = pydantic.ConfigDict(extra="ignore")


class _Targets(_Record):
    model_selections: list[str | None] | None
    task_types: list[str]
    dependencies: list[_Link]
    subtasks: list[str] | None = None


class _Rewards(_Record):
    success: bool | _Share


class _TrainingExample(_Record):
    instruction: str
    targets: _Targets
    rewards: _Rewards


class _Graph(_Record):
    adjacency: list[list[Annotated[float, pydantic.Field(ge=0, le=1, multiple_of=1)]]]


class _PlannerOutputs(_Record):
    model_selections: list[str | None] | None
    task_types: list[str]
    workflow_graph: _Graph
    subtasks: list[str] | None = None


class _SubtaskResult(_Record):
    name: str
    worker: str | None
    success: bool


class _ExecutionResult(_Record):
    success: bool
    subtasks: list[_SubtaskResult]


class _LogEntry(_Record):
    instruction: str
    planner_outputs: _PlannerOutputs
    execution_result: _ExecutionResult


def plan_of_example(data: Mapping[str, Any], *, name: str, source: str) -> PlanTarget:
    """Reads one example of the training data.

    Its worker choices are learned from only where rewards.success is above 0: a failed workflow
    does not say which of its choices were at fault, while its plan is as good as any. Without
    `targets.subtasks` the text of a subtask is `template_text`.

    Args:
        data: {instruction, targets {model_selections, task_types, dependencies, subtasks?},
            rewards {success, ...}}; other keys are left alone.
        name: id for the workflow.
        source: where it came from.
    Raises:
        ConfigError: a key is missing or of the wrong kind.
        WorkflowError: lists differ in length.
    """
    example = parse_settings(data, _TrainingExample, where="training example")
    targets = example.targets
    return PlanTarget(
        workflow=Workflow(
            id=name,
            instruction=example.instruction,
            subtasks=_subtasks(example.instruction, targets.task_types, targets.subtasks),
            links=tuple((i, j) for i, j in targets.dependencies),
        ),
        workers=_chosen(targets.model_selections if example.rewards.success else None, targets),
        source=source,
    )


def plan_of_log_entry(data: Mapping[str, Any], *, name: str, source: str) -> PlanTarget:
    """Reads one execution of a log.

    The worker to learn is the one whose call succeeded, though the workflow may have failed later;
    no worker is learned where none succeeded. Where the results list no subtasks, the planner's
    choices are learned if the workflow succeeded. The text of a subtask is that of
    `planner_outputs.subtasks`, else its name in the results, else `template_text`.

    Args:
        data: an entry as ExecutionLogger writes it; other keys are left alone.
        name: id for the workflow.
        source: where it came from.
    Raises:
        ConfigError: a key is missing or of the wrong kind.
        WorkflowError: lists differ in length, or the adjacency matrix is not square.
    """
    entry = parse_settings(data, _LogEntry, where="execution log")
    plan, result = entry.planner_outputs, entry.execution_result
    n = len(plan.task_types)
    rows = plan.workflow_graph.adjacency
    if len(rows) != n or any(len(row) != n for row in rows):
        raise WorkflowError(
            f"workflow_graph.adjacency: expected {n} rows of {n} numbers, one for each task type, "
            f"got {len(rows)} rows of {sorted({len(row) for row in rows})}"
        )
    chosen = _chosen(plan.model_selections if result.success else None, plan)
    texts: Sequence[str | None] | None = plan.subtasks
    if result.subtasks:
        _check_length("execution_result.subtasks", result.subtasks, n)
        chosen = tuple(s.worker if s.success else None for s in result.subtasks)
        named = [None if _UNNAMED.fullmatch(s.name) else s.name for s in result.subtasks]
        texts = named if texts is None else texts
    return PlanTarget(
        workflow=Workflow(
            id=name,
            instruction=entry.instruction,
            subtasks=_subtasks(entry.instruction, plan.task_types, texts),
            links=tuple((i, j) for i in range(n) for j in range(n) if rows[i][j]),
        ),
        workers=chosen,
        source=source,
    )


def _chosen(
    selections: Sequence[str | None] | None, plan: _Targets | _PlannerOutputs
) -> tuple[str | None, ...]:
    """Returns the workers to learn; checks their number even where none is to be learned."""
    if plan.model_selections is not None:
        _check_length("model_selections", plan.model_selections, len(plan.task_types))
    return (None,) * len(plan.task_types) if selections is None else tuple(selections)


def _subtasks(
    instruction: str, task_types: Sequence[str], texts: Sequence[str | None] | None
) -> tuple[Subtask, ...]:
    texts = [None] * len(task_types) if texts is None else texts
    _check_length("subtasks", texts, len(task_types))
    return tuple(
        Subtask(
            name=template_text(task_type, instruction) if text is None else text, type=task_type
        )
        for text, task_type in zip(texts, task_types, strict=True)
    )


def _check_length(key: str, values: Sequence[object], n: int) -> None:
    if len(values) != n:
        raise WorkflowError(f"{key}: expected {n}, one for each task type, got {len(values)}")
