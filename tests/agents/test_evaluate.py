"""Evaluation: every workflow once, with returns that are the rewards of its results."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from agents.agent import Setting
from agents.baselines.simple import LowestFeatureAgent, RandomAgent
from agents.baselines.tables import TableAgent
from agents.evaluate import _obeys_precedence, evaluate
from orchestai_env.reward import RewardWeights, compute_reward
from orchestai_env.state import FIRST_START, WORKFLOW
from tests.agents.problems import Recorder, builtin_setting, toy_setting
from tests.orchestai_env.toy import ONE_SECOND, chain, lose, win


def taken(setting: Setting, rows: list[int]) -> Setting:
    workflows = setting.dataset.workflows.take(np.array(rows))
    return dataclasses.replace(setting, dataset=setting.dataset.with_workflows(workflows))


def test_every_workflow_is_run_once_to_its_end() -> None:
    setting = builtin_setting(25)
    recorder = Recorder(RandomAgent(0))

    found = evaluate(recorder, setting, seed=0)

    assert recorder.episodes is not None
    assert recorder.episodes.state.episode[:, WORKFLOW].tolist() == list(range(25))
    assert [len(calls) for calls in recorder.calls] == found.num_calls.tolist()
    assert (found.num_calls > 0).all()


@pytest.mark.parametrize(
    "weights",
    [RewardWeights(), RewardWeights(cost_weight=1000.0, latency_weight=0.2, latency_unit="s")],
)
def test_return_is_the_reward_of_the_result(weights: RewardWeights) -> None:
    setting = dataclasses.replace(builtin_setting(25), weights=weights)
    recorder = Recorder(RandomAgent(0))

    found = evaluate(recorder, setting, seed=0)

    assert recorder.episodes is not None
    for r in range(25):
        result = recorder.episodes.result(r)
        assert found.episode_return[r] == pytest.approx(compute_reward(result, weights), rel=1e-6)
        assert found.success[r] == result.success
        assert found.cost_usd[r] == pytest.approx(result.total_cost)
        assert found.latency_ms[r] == result.total_latency_ms


def test_summary_has_the_means_in_the_units_of_the_report() -> None:
    instances = [
        chain((win(1000, 0.25),), (win(3000, 0.5),)),
        chain((lose(2000, 0.125),), (win(1000, 0.5),)),
    ]
    setting = toy_setting(instances, max_attempts=2)

    summary = evaluate(RandomAgent(0), setting, seed=0).summary()

    # The first succeeds: 10 + 2 * 0.5 - 0.75 - 4. The second fails twice: -0.25 - 4.
    assert summary == {
        "return_mean": (6.25 - 4.25) / 2,
        "success_rate": 0.5,
        "cost_usd": 0.5,
        "latency_s": 4.0,
        "validity": 1.0,
        "calls": 2.0,
    }


def test_schedules_are_valid_and_a_broken_one_is_noticed() -> None:
    setting = toy_setting([chain((ONE_SECOND,), (ONE_SECOND,)), chain((ONE_SECOND,))])
    recorder = Recorder(RandomAgent(0))
    assert evaluate(recorder, setting, seed=0).valid.all()
    assert recorder.episodes is not None

    recorder.episodes.state.subtask[0, 1, FIRST_START] = 999_999  # us, before the end

    assert _obeys_precedence(recorder.episodes).tolist() == [False, True]


def test_random_play_on_wide_dags_is_valid() -> None:
    setting = builtin_setting(60, on_failure="continue", max_parallel_tasks=2)

    assert evaluate(RandomAgent(1), setting, seed=0).valid.all()


def test_same_seed_gives_the_same_and_another_does_not() -> None:
    setting = builtin_setting(25)

    def returns(seed: int) -> list[float]:
        return evaluate(
            LowestFeatureAgent(setting, "price"), setting, seed=seed
        ).episode_return.tolist()

    assert returns(5) == returns(5) != returns(6)


def test_simulated_result_does_not_depend_on_later_workflows() -> None:
    setting = builtin_setting(30)
    table = np.full((10, 3), 2)

    alone = evaluate(TableAgent(setting, table), taken(setting, list(range(12))), seed=0)
    beside = evaluate(TableAgent(setting, table), setting, seed=0)

    for name in vars(alone):
        assert getattr(alone, name).tolist() == getattr(beside, name)[:12].tolist(), name


def test_recorded_result_does_not_depend_on_its_neighbours() -> None:
    instances = [
        chain((win(100 * k, 0.25), lose(50, 0.125 * k)), (ONE_SECOND,) * 2) for k in range(6)
    ]
    setting = toy_setting(instances)
    agent = LowestFeatureAgent(setting, "price")

    everyone = evaluate(agent, setting, seed=0).episode_return

    few = evaluate(agent, taken(setting, [4, 1, 4]), seed=3).episode_return
    assert few.tolist() == everyone[[4, 1, 4]].tolist()
