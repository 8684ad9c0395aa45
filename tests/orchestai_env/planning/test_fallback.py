"""FallbackPlanner takes the first planner's plan, or the other's, and says why."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestai_env.errors import ConfigError, PlanningError
from orchestai_env.planning import FallbackPlanner, Plan
from tests.orchestai_env.planning.planners import TASK_TYPES, ChainPlanner, WrittenPlanner, chain

SURE, UNSURE, UNKNOWN = "sure", "unsure", "unknown"


def first() -> WrittenPlanner:
    """Returns a planner that is sure of one instruction, unsure of another, and knows no third."""
    plans = {
        text: Plan(workflow=chain(text, 3), planner="written", confidence=confidence)
        for text, confidence in ((SURE, 0.5), (UNSURE, 0.31))
    }
    return WrittenPlanner(plans)


def test_unsure_plans_come_from_the_fallback_which_is_asked_once() -> None:
    asked = WrittenPlanner(
        {UNSURE: Plan(workflow=chain(UNSURE), planner="nearest", confidence=0.1)}, name="nearest"
    )
    plans = FallbackPlanner(first(), asked, 0.5).plan([UNSURE, SURE, UNSURE])

    assert [plan.planner for plan in plans] == ["nearest", "written", "nearest"]
    assert plans[0].fallback_reason == "confidence 0.31 below 0.5"
    assert plans[0].confidence == 0.1
    assert plans[1] == first().plans[SURE]
    assert asked.asked == [[UNSURE, UNSURE]]


def test_what_the_first_refuses_goes_to_the_fallback_with_its_line() -> None:
    planner = first()
    plans = FallbackPlanner(planner, ChainPlanner(), 0.2).plan([SURE, UNKNOWN, UNSURE])

    assert [plan.planner for plan in plans] == ["written", "chain", "written"]
    assert plans[1].fallback_reason == "planner 'written': no plan of 'unknown'"
    assert planner.asked == [[SURE, UNKNOWN, UNSURE], [SURE], [UNKNOWN], [UNSURE]]


def test_single_instruction_is_not_asked_twice() -> None:
    planner = first()
    FallbackPlanner(planner, ChainPlanner(), 0.0).plan([UNKNOWN])

    assert planner.asked == [[UNKNOWN]]


def test_refusal_of_the_fallback_has_both_reasons() -> None:
    planner = FallbackPlanner(first(), WrittenPlanner({}, name="empty"), 0.5)
    with pytest.raises(PlanningError) as caught:
        planner.plan([SURE, UNSURE])

    assert str(caught.value) == (
        "planner 'empty': no plan of 'unsure'; it was asked since planner 'written' left 1 of 2 "
        "instructions, the first for: confidence 0.31 below 0.5"
    )


def test_fallbacks_nest_and_all_reasons_are_told() -> None:
    inner = FallbackPlanner(WrittenPlanner({}, name="second"), ChainPlanner(), 0.0)
    (plan,) = FallbackPlanner(first(), inner, 1.0).plan([SURE])

    assert plan.planner == "chain"
    assert plan.fallback_reason == "confidence 0.5 below 1; planner 'second': no plan of 'sure'"


def test_answer_of_another_length_counts_as_a_refusal() -> None:
    class Short(ChainPlanner):
        def plan(self, instructions: object) -> list[Plan]:
            return []

    (plan,) = FallbackPlanner(Short(name="short"), ChainPlanner(), 0.0).plan(["x"])
    assert plan.fallback_reason == "planner 'short': expected a list of 1 Plan records, got 0"


def test_bug_of_a_planner_is_not_hidden() -> None:
    class Buggy(ChainPlanner):
        def plan(self, instructions: object) -> list[Plan]:
            raise KeyError("bug")

    with pytest.raises(KeyError):
        FallbackPlanner(Buggy(), ChainPlanner(), 0.0).plan(["x"])


def test_name_and_vocabulary_are_those_of_both() -> None:
    planner = FallbackPlanner(
        ChainPlanner(name="a", task_types=TASK_TYPES[:2]),
        ChainPlanner(name="b", task_types=TASK_TYPES[1:3]),
        0.5,
    )
    assert planner.name == "a, else b"
    assert planner.task_types == TASK_TYPES[:3]


@pytest.mark.parametrize("confidence", [-0.1, 1.1, float("nan")])
def test_threshold_out_of_range_is_named(confidence: float) -> None:
    with pytest.raises(ConfigError, match=r"^min_confidence: expected 0\.\.1, got "):
        FallbackPlanner(ChainPlanner(), ChainPlanner(), confidence)


@given(confidences=st.lists(st.none() | st.floats(0.0, 1.0), max_size=6), least=st.floats(0.0, 1.0))
def test_each_plan_is_the_fallbacks_exactly_where_the_first_is_not_sure(
    confidences: list[float | None], least: float
) -> None:
    texts = [f"instruction {k}" for k in range(len(confidences))]
    plans = {
        text: dataclasses.replace(ChainPlanner("first").plan([text])[0], confidence=confidence)
        for text, confidence in zip(texts, confidences, strict=True)
        if confidence is not None
    }
    made = FallbackPlanner(WrittenPlanner(plans), ChainPlanner("other"), least).plan(texts)

    assert [plan.workflow.instruction for plan in made] == texts
    for plan, confidence in zip(made, confidences, strict=True):
        is_sure = confidence is not None and confidence >= least
        assert plan.planner == ("first" if is_sure else "other")
        assert (plan.fallback_reason is None) == is_sure
