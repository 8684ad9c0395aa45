"""Environments in other processes: what they play there is what they play here."""

from __future__ import annotations

import functools
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from tests.orchestai_env.play import assert_same_obs

ID = "orchestai_env:OrchestAI-v0"
"""With the package's name, since other processes have not imported it."""

ARGUMENTS: dict[str, Any] = {"split": "validation", "max_steps": 6, "price_spread": 2.0}
STEPS = 25


@pytest.mark.parametrize("context", ["spawn", "forkserver"])
def test_gymnasiums_processes_play_as_this_one(context: str) -> None:
    makers = [functools.partial(gym.make, ID, **ARGUMENTS)] * 2
    here = SyncVectorEnv(makers)
    assert_same_obs(here.reset(seed=3)[0], here.reset(seed=3)[0])
    there = AsyncVectorEnv(makers, context=context)
    try:
        assert_same_obs(here.reset(seed=3)[0], there.reset(seed=3)[0])
        rng = np.random.default_rng(0)
        num_ended = 0
        for _ in range(STEPS):
            actions = rng.integers(8, size=2)
            obs, reward, terminated, truncated, info = here.step(actions)
            step = there.step(actions)
            assert_same_obs(obs, step[0])
            np.testing.assert_array_equal([reward, terminated, truncated], step[1:4])
            np.testing.assert_array_equal(info["action_mask"], step[4]["action_mask"])
            num_ended += int((terminated | truncated).sum())
        assert num_ended >= 4
    finally:
        there.close()


def test_make_vec_plays_in_processes() -> None:
    venv = gym.make_vec(
        ID, 2, vectorization_mode="async", vector_kwargs={"context": "spawn"}, **ARGUMENTS
    )
    obs, _ = venv.reset(seed=1)
    single, _ = gym.make(ID, **ARGUMENTS).reset(seed=2)
    venv.close()

    assert_same_obs({key: rows[1] for key, rows in obs.items()}, single)


def test_sb3s_processes_play_as_this_one() -> None:
    def vec_env(kind: Any, **kwargs: Any) -> Any:
        return make_vec_env(
            ID, 2, seed=3, vec_env_cls=kind, vec_env_kwargs=kwargs, env_kwargs=ARGUMENTS
        )

    here = vec_env(DummyVecEnv)
    first = here.reset()
    there = vec_env(SubprocVecEnv, start_method="forkserver")
    try:
        assert_same_obs(first, there.reset())
        rng = np.random.default_rng(0)
        for _ in range(STEPS):
            actions = rng.integers(8, size=2)
            obs, rewards, dones, infos = here.step(actions)
            their_obs, their_rewards, their_dones, their_infos = there.step(actions)
            assert_same_obs(obs, their_obs)
            np.testing.assert_array_equal(rewards, their_rewards.astype(rewards.dtype))
            np.testing.assert_array_equal(dones, their_dones)
            results = [[info.get("episode_result") for info in one] for one in (infos, their_infos)]
            assert results[0] == results[1]
        masks = there.env_method("action_masks")
        np.testing.assert_array_equal(masks, here.env_method("action_masks"))
    finally:
        there.close()
