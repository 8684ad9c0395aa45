"""OrchestAIVecEnv keeps the contract of Stable-Baselines3's VecEnv."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from agents.evaluate import KEYS
from agents.policy import WorkerScoringPolicy
from agents.vec_env import OrchestAIVecEnv
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.env import OrchestAIEnv
from orchestai_env.vector_env import OrchestAIVectorEnv
from tests.agents.problems import WEIGHTS

POLICY: Any = WorkerScoringPolicy
DATASET = builtin_dataset(num_workflows=20, max_subtasks=6)


def make(num_envs: int = 4, seed: int = 0, reward_scale: float = 1.0, **rules: Any) -> Any:
    venv = OrchestAIVectorEnv(num_envs, DATASET, reward_weights=WEIGHTS, observation=KEYS, **rules)
    return OrchestAIVecEnv(venv, seed=seed, reward_scale=reward_scale)


def random_actions(env: Any, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    return rng.integers(env.action_space.n, size=env.num_envs)


def test_rows_equal_single_environments() -> None:
    """Row i is an OrchestAIEnv seeded with seed + i, restarted at the end of each episode."""
    env, rng = make(num_envs=3, seed=11), np.random.default_rng(0)
    singles = [OrchestAIEnv(DATASET, reward_weights=WEIGHTS, observation=KEYS) for _ in range(3)]
    observation = env.reset()
    expected = [single.reset(seed=11 + i)[0] for i, single in enumerate(singles)]
    num_ended = 0
    for _ in range(40):
        for i in range(3):
            for key in KEYS:
                np.testing.assert_array_equal(observation[key][i], expected[i][key])
        actions = random_actions(env, rng)
        observation, rewards, dones, infos = env.step(actions)
        for i, single in enumerate(singles):
            obs, reward, terminated, truncated, info = single.step(actions[i])
            assert rewards[i] == np.float32(reward)
            assert dones[i] == (terminated or truncated)
            if dones[i]:
                num_ended += 1
                for key in KEYS:
                    np.testing.assert_array_equal(infos[i]["terminal_observation"][key], obs[key])
                assert infos[i]["is_success"] == info["is_success"]
                assert infos[i]["total_cost"] == info["episode_result"].total_cost
                assert infos[i]["total_latency_ms"] == info["episode_result"].total_latency_ms
                obs = single.reset()[0]
            expected[i] = obs
    assert num_ended > 5


@pytest.mark.parametrize(("max_steps", "truncated"), [(1, True), (None, False)])
def test_info_tells_truncation(max_steps: int | None, truncated: bool) -> None:
    env, rng = make(max_steps=max_steps), np.random.default_rng(0)
    env.reset()

    told = []
    for _ in range(20):
        _, _, dones, infos = env.step(random_actions(env, rng))
        told += [infos[r]["TimeLimit.truncated"] for r in np.flatnonzero(dones)]

    assert told and set(told) == {truncated}


def test_info_has_unscaled_returns_while_rewards_are_scaled() -> None:
    plain, scaled = make(), make(reward_scale=0.125)
    plain.reset()
    scaled.reset()
    rng = np.random.default_rng(0)
    returns = np.zeros(4)
    ended = 0
    for _ in range(30):
        actions = random_actions(plain, rng)
        _, rewards, dones, _ = plain.step(actions)
        _, scaled_rewards, _, infos = scaled.step(actions)
        np.testing.assert_allclose(scaled_rewards, rewards * 0.125, rtol=1e-6)
        returns += rewards
        for r in np.flatnonzero(dones):
            assert infos[r]["episode"]["r"] == pytest.approx(returns[r], rel=1e-5)
            assert infos[r]["episode"]["l"] > 0
            returns[r] = 0.0
            ended += 1
    assert ended > 5


def test_returned_arrays_are_not_overwritten_by_later_steps() -> None:
    env, rng = make(num_envs=8), np.random.default_rng(0)
    kept: list[Any] = []
    copies: list[Any] = []
    for _ in range(15):
        returned = env.step(random_actions(env, rng)) if kept else env.reset()
        kept.append(returned)
        copies.append(copy.deepcopy(returned))

    for returned, expected in zip(kept, copies, strict=True):
        np.testing.assert_equal(returned, expected)


def test_types_are_those_of_sb3() -> None:
    env = make()
    observation = env.reset()
    assert {key: values.dtype for key, values in observation.items()} == {
        key: space.dtype for key, space in env.observation_space.spaces.items()
    }

    _, rewards, dones, infos = env.step(np.zeros(4, np.int64))

    assert rewards.dtype == np.float32 and rewards.shape == (4,)
    assert dones.dtype == bool and len(infos) == 4


def test_seed_restarts_the_rows() -> None:
    env = make(seed=1)
    first = env.reset()
    second = env.reset()
    assert env.seed(1) == [1, 2, 3, 4]

    again = env.reset()

    np.testing.assert_equal(again, first)
    assert any((second[key] != first[key]).any() for key in KEYS)


def test_methods_and_attributes_are_given_per_row() -> None:
    env = make()
    env.reset()

    masks = env.env_method("action_masks")
    assert np.array_equal(np.stack(masks), env.action_masks())
    assert np.array_equal(env.env_method("action_masks", indices=[2])[0], masks[2])
    assert env.get_attr("num_envs", indices=[0, 1]) == [4, 4]
    env.set_attr("label", "x")
    assert env.get_attr("label") == ["x"] * 4
    assert env.env_is_wrapped(Monitor) == [False] * 4
    env.close()


def test_vec_normalize_leaves_the_mask_alone() -> None:
    env = VecNormalize(make(), norm_obs_keys=["subtasks", "workers", "context"])
    rng = np.random.default_rng(0)
    env.reset()
    ended = []
    for _ in range(15):
        observation, _, dones, infos = env.step(random_actions(env, rng))
        assert isinstance(observation, dict)
        assert np.isin(observation["action_mask"], (0, 1)).all()
        ended += [infos[r]["terminal_observation"] for r in np.flatnonzero(dones)]
    assert ended and all(np.isin(final["action_mask"], (0, 1)).all() for final in ended)
    assert max(np.abs(final["context"]).max() for final in ended) > 1.0  # the rest is normalised


def test_evaluate_policy_and_eval_callback_accept_it(tmp_path: Path) -> None:
    env = VecMonitor(make())
    model = PPO(
        POLICY, env, n_steps=8, batch_size=16, n_epochs=1, device="cpu", policy_kwargs={"hidden": 8}
    )
    callback = EvalCallback(
        VecMonitor(make(seed=9)),
        n_eval_episodes=6,
        eval_freq=8,
        log_path=str(tmp_path),
        verbose=0,
    )

    model.learn(64, callback=callback)

    assert callback.evaluations_timesteps == [32, 64]
    assert np.isfinite(callback.last_mean_reward)
    mean, spread = evaluate_policy(model, VecMonitor(make(seed=9)), n_eval_episodes=6)
    assert np.isfinite([mean, spread]).all()
