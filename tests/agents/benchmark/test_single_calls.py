"""Routing of single calls: agents that know all, nothing, or the opposite of the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from agents.agent import Obs, State
from agents.baselines.predictive import PredictThenOptimiseAgent
from agents.baselines.simple import RandomAgent
from agents.benchmark.single_calls import is_single_call, routing_quality, two_workers
from tests.agents.policies import make_policy
from tests.agents.problems import toy_setting
from tests.orchestai_env.toy import Instance, lose, win

CHEAP, DEAR = 0.1, 1.0
EASY = Instance(calls=((win(1, CHEAP), win(1, DEAR)),))
HARD = Instance(calls=((lose(1, CHEAP), win(1, DEAR)),))
SETTING = toy_setting([EASY, HARD, EASY, EASY])


class Teller:
    """Scores workers by a table of its own, a row per query."""

    def __init__(self, gain: list[float]) -> None:
        self._gain = np.array(gain)

    def scores(self, observation: Obs) -> npt.NDArray[Any]:
        return np.stack([np.zeros_like(self._gain), self._gain], axis=1)

    def predict(
        self,
        observation: Obs,
        state: State = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[npt.NDArray[np.int64], State]:
        return np.zeros(len(observation["workers"]), np.int64), state


@pytest.mark.parametrize(
    ("gain", "recovered"),
    [
        # The one hard query first: the whole gap is closed after a quarter of the queries.
        ([0.0, 1.0, 0.0, 0.0], 1 / 8 + 3 / 4),
        ([0.0, 0.0, 0.0, 0.0], 1 / 2),
        ([1.0, 0.0, 1.0, 1.0], 1 / 8),
    ],
)
def test_order_of_queries_decides(gain: list[float], recovered: float) -> None:
    found = routing_quality([Teller(gain)], SETTING, seed=0)

    assert found["apgr"] == pytest.approx(recovered)
    assert (found["weak"], found["strong"]) == ("worker-0", "worker-1")


def test_agents_of_all_seeds_count() -> None:
    tellers = [Teller([0.0, 1.0, 0.0, 0.0]), Teller([1.0, 0.0, 1.0, 1.0])]

    found = routing_quality(tellers, SETTING, seed=0)

    assert found["apgr"] == pytest.approx(1 / 2)


def test_policies_and_predictors_give_scores_and_others_none() -> None:
    for agent in (make_policy(SETTING), PredictThenOptimiseAgent(SETTING)):
        # One task type and no text: nothing tells the queries apart.
        assert routing_quality([agent], SETTING, seed=0)["apgr"] == pytest.approx(1 / 2)
    assert routing_quality([RandomAgent(0)], SETTING, seed=0) == {}


def test_without_a_gap_there_is_nothing_to_recover() -> None:
    setting = toy_setting([EASY, EASY])

    assert routing_quality([Teller([0.0, 1.0])], setting, seed=0) == {}


def test_without_costs_the_weak_worker_is_the_middle_one() -> None:
    calls = (lose(1, 0.0), win(1, 0.0), win(1, 0.0))
    others = (lose(1, 0.0), lose(1, 0.0), win(1, 0.0))
    setting = toy_setting([Instance(calls=(calls,)), Instance(calls=(others,))])

    assert two_workers(setting.dataset) == (1, 2)


def test_longer_workflows_are_no_single_calls() -> None:
    twice = Instance(calls=(EASY.calls[0], EASY.calls[0]))

    assert is_single_call(SETTING.dataset)
    assert not is_single_call(toy_setting([EASY, twice]).dataset)
