"""RewardWeights and compute_reward: units, signs and the literal formula."""

from __future__ import annotations

import dataclasses

import pydantic
import pytest

from orchestai_env.execution_result import ExecutionResult, SubtaskResult
from orchestai_env.reward import REWARD_TERMS, RewardWeights, compute_reward, reward_terms


def subtask(success: bool) -> SubtaskResult:
    return SubtaskResult(
        name="subtask",
        type="math",
        status="succeeded" if success else "failed",
        worker="ace",
        attempts=1,
        success=success,
        cost=0.25,
        latency_ms=700.0,
        start_ms=0.0,
        end_ms=700.0,
    )


RESULT = ExecutionResult(
    success=True,
    outputs={},
    total_cost=0.5,
    total_latency_ms=1500.0,
    subtasks=(subtask(True), subtask(True), subtask(True)),
)


def test_compute_reward_is_the_literal_formula_by_default() -> None:
    assert compute_reward(RESULT) == pytest.approx(10 - 0.1 * 0.5 - 0.01 * 1500 + 0.1 * 3)
    assert compute_reward(RESULT) == compute_reward(RESULT, RewardWeights())


def test_compute_reward_without_success_keeps_cost_time_and_shaping() -> None:
    failed = dataclasses.replace(RESULT, success=False, subtasks=(subtask(True), subtask(False)))

    assert compute_reward(failed) == pytest.approx(-0.1 * 0.5 - 0.01 * 1500 + 0.1 * 1)


def test_compute_reward_sums_the_named_terms() -> None:
    weights = RewardWeights(success_weight=2, cost_weight=3, latency_weight=5, shaping_weight=7)
    terms = reward_terms(RESULT, weights)

    assert tuple(terms) == REWARD_TERMS
    assert terms == {"success": 2.0, "cost": -1.5, "latency": -7500.0, "shaping": 21.0}
    assert compute_reward(RESULT, weights) == sum(terms.values())


def test_latency_unit_seconds_divides_the_weight_by_a_thousand() -> None:
    per_ms = RewardWeights(latency_weight=0.0001)
    per_s = RewardWeights(latency_weight=0.1, latency_unit="s")

    assert per_s.as_array() == pytest.approx(per_ms.as_array())
    assert compute_reward(RESULT, per_s) == pytest.approx(compute_reward(RESULT, per_ms))


def test_weights_are_frozen() -> None:
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        RewardWeights().cost_weight = 1.0
