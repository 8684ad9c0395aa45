"""A plan that breaks its promise is refused in one line that names planner and instruction."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestai_env.errors import PlanningError
from orchestai_env.planning import Plan, Planner
from orchestai_env.planning.planner import checked_plans, summaries
from orchestai_env.workflow import Subtask, Workflow
from tests.orchestai_env.planning.planners import (
    TASK_TYPES,
    ChainPlanner,
    WrittenPlanner,
    chain,
    numbers,
)

TEXT = "Write the report."
GOOD = Plan(workflow=chain(TEXT, 3), planner="chain", confidence=0.5)


def plan_of(*, links: Any = ((0, 1),), types: Any = TASK_TYPES[:2], **fields: Any) -> Plan:
    """Returns a plan of two subtasks with something of one's own."""
    subtasks = tuple(Subtask(name="x", type=kind) for kind in types)
    workflow = Workflow(id="w", instruction=TEXT, subtasks=subtasks, links=links)
    return dataclasses.replace(GOOD, workflow=workflow, **fields)


WRONG: dict[str, tuple[Plan, str]] = {
    "cycle": (plan_of(links=((0, 1), (1, 0))), "the links form a cycle"),
    "self-loop": (plan_of(links=((1, 1),)), "the links form a cycle"),
    "out of range": (plan_of(links=((0, 2),)), "link [0, 2] leaves the subtasks 0..1"),
    "backward": (plan_of(links=((1, 0),)), "a link points backward; return workflow.topolog"),
    "empty": (plan_of(types=(), links=()), "expected at least one subtask, got none"),
    "too long": (
        plan_of(types=TASK_TYPES[:1] * 4),
        "expected at most max_subtasks = 3 subtasks, got 4",
    ),
    "type": (plan_of(types=("sumarization",), links=()), "unknown task type 'sumarization'"),
    "instruction": (
        dataclasses.replace(GOOD, workflow=chain("Another.")),
        "got a plan of another instruction, 'Another.'",
    ),
    "confidence": (plan_of(confidence=1.01), "expected a confidence in 0..1, got 1.01"),
    "nan": (plan_of(confidence=float("nan")), "expected a confidence in 0..1, got nan"),
    "no confidence": (plan_of(confidence=None), "expected a confidence in 0..1, got None"),
    "embedding": (
        plan_of(instruction_embedding=numbers(1, 3)),
        "instruction_embedding: expected finite float32 (D,), got float32 (1, 3)",
    ),
    "dtype": (
        plan_of(instruction_embedding=np.zeros(3)),
        "instruction_embedding: expected finite float32 (D,), got float64 (3,)",
    ),
    "infinite": (
        plan_of(instruction_embedding=np.full(3, np.inf, np.float32)),
        "instruction_embedding: expected finite float32 (D,)",
    ),
    "rows": (
        plan_of(subtask_embeddings=numbers(3, 4)),
        "subtask_embeddings: expected finite float32 (2, D), got float32 (3, 4)",
    ),
}


@pytest.mark.parametrize(("plan", "message"), WRONG.values(), ids=WRONG)
def test_wrong_plan_is_refused(plan: Plan, message: str) -> None:
    planner = WrittenPlanner({TEXT: plan, "Good.": plan_of()}, name="mine")
    with pytest.raises(PlanningError) as caught:
        checked_plans(planner, [TEXT], task_types=TASK_TYPES, max_subtasks=3)

    line = str(caught.value)
    assert line.startswith(f"planner 'mine', instruction '{TEXT}': ")
    assert message in line and "\n" not in line


@pytest.mark.parametrize("answer", [None, "plan", [], [GOOD, GOOD], [None], [chain(TEXT)]])
def test_answer_that_is_no_list_of_plans_is_refused(answer: Any) -> None:
    class Broken:
        name, task_types = "broken", TASK_TYPES

        def plan(self, instructions: object) -> Any:
            return answer

    with pytest.raises(
        PlanningError, match=r"^planner 'broken': expected a list of 1 Plan records"
    ):
        checked_plans(Broken(), [TEXT], task_types=TASK_TYPES, max_subtasks=3)


@given(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=5), confidence=st.floats(0.0, 1.0))
def test_good_plans_come_back_as_they_are(sizes: list[int], confidence: float) -> None:
    texts = [f"instruction {k}" for k in range(len(sizes))]
    plans = {
        text: Plan(
            workflow=chain(text, size),
            planner="written",
            confidence=confidence,
            instruction_embedding=numbers(4),
            subtask_embeddings=numbers(size, 4),
        )
        for text, size in zip(texts, sizes, strict=True)
    }
    checked = checked_plans(WrittenPlanner(plans), texts, task_types=TASK_TYPES, max_subtasks=6)

    assert checked == tuple(plans.values())
    assert summaries(checked)[0] == {
        "planner": "written",
        "confidence": confidence,
        "fallback_reason": None,
    }


def test_planner_is_anything_with_name_task_types_and_plan() -> None:
    assert isinstance(ChainPlanner(), Planner)
    assert not isinstance(GOOD, Planner)


def test_confidence_of_numpy_is_a_plain_number_in_the_summary() -> None:
    (summary,) = summaries([dataclasses.replace(GOOD, confidence=np.float32(0.25))])  # type: ignore[arg-type]
    assert type(summary["confidence"]) is float
