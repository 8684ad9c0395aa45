"""Bandits: they find the best worker by trying, and do not change afterwards."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from agents.agent import Setting
from agents.baselines.bandits import LinUCBAgent, ThompsonAgent, trained
from agents.baselines.simple import RandomAgent
from agents.evaluate import evaluate
from tests.agents.problems import builtin_setting, calls_of, random_observations, toy_setting
from tests.orchestai_env.toy import Instance, lose, win

BANDITS: list[Callable[[Setting], LinUCBAgent | ThompsonAgent]] = [LinUCBAgent, ThompsonAgent]
pytestmark = pytest.mark.parametrize("make", BANDITS, ids=["linucb", "thompson"])
Make = Callable[[Setting], "LinUCBAgent | ThompsonAgent"]


def types_with_their_own_best() -> Setting:
    """Returns workflows of one subtask: worker t alone serves type t, and worker 3 nothing."""
    instances = [
        Instance(calls=(tuple((win if w == t else lose)(1000, 0.5) for w in range(4)),), types=(t,))
        for t in (0, 1, 2) * 3
    ]
    return toy_setting(instances, max_attempts=2)


def test_bandit_finds_the_worker_of_each_type(make: Make) -> None:
    setting = types_with_their_own_best()

    agent = trained(make(setting), setting, seed=0, num_decisions=600)

    assert calls_of(agent, setting) == [[0], [1], [2]] * 3


def test_bandit_beats_random_on_workflows_that_it_has_not_seen(make: Make) -> None:
    """300 built-in test workflows: random earns 1.6, the best prediction 3.3; threshold 2.6."""
    train, test = builtin_setting(400), builtin_setting(300, "test")

    agent = trained(make(test), train, seed=0)

    earned = evaluate(agent, test, seed=0).episode_return.mean()
    assert evaluate(RandomAgent(0), test, seed=0).episode_return.mean() < 2.0
    assert earned > 2.6


def test_bandit_repeats_by_its_seed_and_is_frozen_afterwards(make: Make) -> None:
    setting = builtin_setting(40)
    observation = random_observations(setting, 200, seed=1)

    def picks(seed: int) -> list[int]:
        agent = trained(make(setting), setting, seed=seed, num_decisions=200)
        first = agent.predict(observation)[0].tolist()
        one_by_one = [
            int(agent.predict({key: rows[r : r + 1] for key, rows in observation.items()})[0][0])
            for r in range(200)
        ]
        assert first == one_by_one
        return [int(pick) for pick in first]

    assert picks(0) == picks(0) != picks(1)


def test_bandit_tries_allowed_workers_only(make: Make) -> None:
    setting = builtin_setting(40)
    observation = random_observations(setting, 300, seed=1)

    actions = make(setting).explore(observation, np.random.default_rng(0))

    assert (observation["action_mask"][np.arange(300), actions] == 1).all()
