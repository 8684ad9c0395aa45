"""Planner: the protocol of what turns instructions into workflows, and Plan, its answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from orchestai_env.errors import PlanningError, WorkflowError, shown, unknown_name
from orchestai_env.workflow import Workflow


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A workflow that a planner made of an instruction; equal plans may differ in embeddings."""

    workflow: Workflow
    """A valid DAG whose links point forward; its instruction is the one that was given."""
    planner: str
    """Name of the planner that made it."""
    confidence: float
    """0..1; the planner's own estimate of how good the plan is, 1.0 where it cannot tell."""
    fallback_reason: str | None = None
    """Why it was not the first planner that made it; None where it was."""
    instruction_embedding: npt.NDArray[np.float32] | None = dataclasses.field(
        default=None, compare=False, repr=False
    )
    """float32 (D,); sentence embedding of the instruction, or None."""
    subtask_embeddings: npt.NDArray[np.float32] | None = dataclasses.field(
        default=None, compare=False, repr=False
    )
    """float32 (n, D); sentence embeddings of the n subtasks' names, or None."""


PlanSummaries = tuple[dict[str, Any], ...]
"""Of each plan what `info["plan"]` says: planner, confidence and fallback_reason."""


def summaries(plans: Sequence[Plan]) -> PlanSummaries:
    """Returns what `info["plan"]` says of each plan."""
    return tuple(
        {
            "planner": plan.planner,
            "confidence": float(plan.confidence),
            "fallback_reason": plan.fallback_reason,
        }
        for plan in plans
    )


@runtime_checkable
class Planner(Protocol):
    """Anything that turns instructions into workflows; plain attributes serve as properties."""

    @property
    def name(self) -> str:
        """Name, as plans and messages give it."""

    @property
    def task_types(self) -> tuple[str, ...]:
        """All task types that a plan of it may have."""

    def plan(self, instructions: Sequence[str]) -> list[Plan]:
        """Returns one plan per instruction, in their order.

        Raises:
            PlanningError: one of them cannot be planned; the message says which and why.
        """


def plans_of(planner: Planner, instructions: Sequence[str]) -> list[Plan]:
    """Returns one plan per instruction, in their order.

    Raises:
        PlanningError: the planner says so, or gives something else than that many plans.
    """
    plans: Any = planner.plan(instructions)
    expected = f"planner {planner.name!r}: expected a list of {len(instructions)} Plan records"
    if not isinstance(plans, (list, tuple)):
        raise PlanningError(f"{expected}, got {shown(plans)}")
    if len(plans) != len(instructions):
        raise PlanningError(f"{expected}, got {len(plans)}")
    for plan in plans:
        if not isinstance(plan, Plan) or not isinstance(plan.workflow, Workflow):
            raise PlanningError(f"{expected}, got {shown(plan)} among them")
    return list(plans)


def checked_plans(
    planner: Planner,
    instructions: Sequence[str],
    *,
    task_types: Sequence[str],
    max_subtasks: int,
) -> tuple[Plan, ...]:
    """Plans instructions, and checks that the plans keep what `Plan` promises.

    Args:
        planner: asked once, with all instructions.
        instructions: texts, not empty.
        task_types: vocabulary that the plans have to keep to.
        max_subtasks: largest size of a plan.
    Raises:
        PlanningError: the planner says so, or a plan of it breaks its promise; the message names
            planner and instruction.
    """
    plans = plans_of(planner, instructions)
    for plan, instruction in zip(plans, instructions, strict=True):
        fault = _fault(plan, instruction, task_types, max_subtasks)
        if fault is not None:
            place = f"planner {planner.name!r}, instruction {shown(instruction)}"
            raise PlanningError(f"{place}: {fault}")
    return tuple(plans)


def _fault(
    plan: Plan, instruction: str, task_types: Sequence[str], max_subtasks: int
) -> str | None:
    """Returns what is wrong with a plan; None where nothing is."""
    workflow = plan.workflow
    if workflow.instruction != instruction:
        return f"got a plan of another instruction, {shown(workflow.instruction)}"
    try:
        workflow.validate()
    except WorkflowError as error:
        return str(error)
    if any(i > j for i, j in workflow.links):
        return "a link points backward; return workflow.topologically_sorted()"
    size = len(workflow.subtasks)
    if size > max_subtasks:
        return f"expected at most max_subtasks = {max_subtasks} subtasks, got {size}"
    for subtask in workflow.subtasks:
        if subtask.type not in task_types:
            return unknown_name("task type", subtask.type, task_types)
    confidence: Any = plan.confidence
    if not isinstance(confidence, (float, int, np.floating)) or not 0 <= confidence <= 1:
        return f"expected a confidence in 0..1, got {shown(confidence)}"
    return _embedding_fault(plan.instruction_embedding, "instruction_embedding", ()) or (
        _embedding_fault(plan.subtask_embeddings, "subtask_embeddings", (size,))
    )


def _embedding_fault(embedding: Any, name: str, rows: tuple[int, ...]) -> str | None:
    """Returns what is wrong with an embedding, whose shape has to be (*rows, D)."""
    if embedding is None:
        return None
    array = np.asarray(embedding)
    fits = array.ndim == len(rows) + 1 and array.shape[: len(rows)] == rows
    if fits and array.dtype == np.float32 and np.isfinite(array).all():
        return None
    shape = "(D,)" if not rows else f"({rows[0]}, D)"
    return f"{name}: expected finite float32 {shape}, got {array.dtype} {array.shape}"
