"""The compiled transition against the plain reference, over random instances and rules."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from orchestai_env.env import OrchestAIEnv
from orchestai_env.execution_result import ExecutionResult
from orchestai_env.reward import RewardWeights
from tests.orchestai_env.reference import ReferenceEpisode
from tests.orchestai_env.strategies import Case, cases

WEIGHTS = RewardWeights(
    success_weight=7.0, cost_weight=3.0, latency_weight=0.25, shaping_weight=0.5
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(case=cases())
def test_random_episode_equals_the_reference(case: Case) -> None:
    env = OrchestAIEnv(case.dataset(), reward_weights=WEIGHTS, **case.rules)
    reference = ReferenceEpisode(
        case.instance, case.concurrency, case.cost_upper, env.rules, case.max_subtasks
    )
    _, info = env.reset(seed=0)
    for action in case.actions:
        assert env.current_subtask == reference.decision
        if reference.end is None:
            assert info["action_mask"].tolist() == reference.mask
        terms = reference.act(action).weighted(WEIGHTS)
        _, reward, terminated, truncated, info = env.step(action)

        assert list(info["reward_terms"].values()) == pytest.approx(terms, abs=1e-9)
        assert reward == pytest.approx(sum(terms), abs=1e-9)
        assert info["action_mask"].tolist() == reference.mask
        assert info["masked_actions"] == reference.replaced
        assert terminated == (reference.end == "terminated")
        assert truncated == (reference.end == "truncated")
        if reference.end is not None:
            break
    assert reference.end is not None
    assert_same_result(info["episode_result"], reference)


def assert_same_result(result: ExecutionResult, reference: ReferenceEpisode) -> None:
    assert result.total_cost == pytest.approx(reference.spent, abs=1e-12)
    assert result.total_latency_ms == reference.now / 1000
    assert result.success == all(job.state == "succeeded" for job in reference.jobs)
    for got, job in zip(result.subtasks, reference.jobs, strict=True):
        last = reference.now if job.is_cut else job.last_end
        ran_us = 0 if job.first_start is None or last is None else last - job.first_start
        assert got.status == job.state
        assert got.attempts == job.failed_calls + int(job.state == "succeeded")
        assert got.worker == (None if job.worker is None else f"worker-{job.worker}")
        assert got.cost == pytest.approx(job.cost, abs=1e-12)
        assert got.start_ms == milliseconds(job.first_start)
        assert got.end_ms == (None if job.is_cut else milliseconds(job.last_end))
        assert got.latency_ms == ran_us / 1000


def milliseconds(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / 1000
