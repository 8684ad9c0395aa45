"""The policies of the command line."""

from __future__ import annotations

import numpy as np
import pytest

from orchestai_env.env import OrchestAIEnv
from orchestai_env.policies import POLICIES
from tests.orchestai_env.play import play
from tests.orchestai_env.toy import (
    DIAMOND,
    DIAMOND_RETURN,
    DIAMOND_RULES,
    Instance,
    toy_dataset,
    toy_env,
    win,
)

# Two task types; worker 2 is cheapest and fastest at both, but cannot serve subtask 0.
_CALLS = (
    (win(300, 0.1), win(100, 0.4), ()),
    (win(100, 0.5), win(200, 0.3), win(50, 0.1)),
    (win(100, 0.5), win(200, 0.3), win(50, 0.1)),
)
_INSTANCE = Instance(calls=_CALLS, links=((0, 1), (1, 2)), types=(0, 1, 1))


@pytest.mark.parametrize(
    ("name", "workers"), [("cheapest", [0, 2, 2]), ("fastest", [1, 2, 2])], ids=str
)
def test_policy_picks_the_lowest_mean_of_the_task_type(name: str, workers: list[int]) -> None:
    env = OrchestAIEnv(toy_dataset([_INSTANCE]))

    assert play(env, POLICIES[name](env, 0), seed=0).actions == workers


def test_random_policy_picks_allowed_workers_by_its_seed() -> None:
    env = OrchestAIEnv(toy_dataset([_INSTANCE]))
    drawn = {seed: play(env, POLICIES["random"](env, seed), seed=0).actions for seed in range(30)}

    assert {actions[0] for actions in drawn.values()} == {0, 1}
    assert {actions[1] for actions in drawn.values()} == {0, 1, 2}
    for seed in range(3):
        assert play(env, POLICIES["random"](env, seed), seed=0).actions == drawn[seed]


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_policy_ends_an_episode_of_the_builtin_data_without_masked_actions(name: str) -> None:
    env = OrchestAIEnv(split="validation")
    played = play(env, POLICIES[name](env, 0), seed=0)

    assert played.infos[-1]["masked_actions"] == 0
    assert np.isfinite(played.episode_return)


def test_optimum_policy_earns_the_proven_optimum_of_the_diamond() -> None:
    env = toy_env(DIAMOND, **DIAMOND_RULES)

    assert play(env, POLICIES["optimum"](env, 0), seed=0).episode_return == DIAMOND_RETURN
