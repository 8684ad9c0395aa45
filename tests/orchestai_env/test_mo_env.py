"""OrchestAI-MO-v0: the scalar environment with its reward taken apart, and nothing else changed."""

from __future__ import annotations

import functools
from typing import Any

import gymnasium as gym
import mo_gymnasium as mo_gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st
from mo_gymnasium.wrappers import LinearReward
from mo_gymnasium.wrappers.vector import MOSyncVectorEnv

from orchestai_env.dataset import Dataset
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.env import OrchestAIEnv
from orchestai_env.errors import ConfigError
from orchestai_env.mo_env import OrchestAIMOEnv, OrchestAIMOVectorEnv
from orchestai_env.reward import RewardWeights
from orchestai_env.vector_env import OrchestAIVectorEnv
from tests.orchestai_env.checkers import assert_passes_gymnasium, assert_passes_sb3
from tests.orchestai_env.play import assert_same_obs
from tests.orchestai_env.strategies import Case, cases
from tests.orchestai_env.toy import DIAMOND, DIAMOND_BEST, DIAMOND_RULES, SECONDS, toy_env

WEIGHTS = RewardWeights(cost_weight=200.0, latency_weight=0.1, latency_unit="s")


@functools.cache
def builtin() -> Dataset:
    """Not a fixture: hypothesis would write all of it beside a failing example."""
    return builtin_dataset("validation", num_workflows=40)


def linear(dataset: Dataset, weights: RewardWeights, **rules: Any) -> LinearReward:
    env = OrchestAIMOEnv(dataset, reward_weights=weights, **rules)
    return LinearReward(env, weight=weights.as_array())


def assert_same_step(scalar: tuple[Any, ...], weighted: tuple[Any, ...]) -> None:
    obs, reward, *ends, info = scalar
    mo_obs, mo_reward, *mo_ends, mo_info = weighted
    assert_same_obs(obs, mo_obs)
    assert mo_reward == pytest.approx(reward, rel=1e-9, abs=1e-12)
    assert ends == mo_ends
    added = {"vector_reward", "reward_weights"}  # by LinearReward
    assert str(info) == str({key: mo_info[key] for key in mo_info if key not in added})


def assert_same_episodes(scalar: OrchestAIEnv, weighted: LinearReward, seed: int) -> None:
    rng = np.random.default_rng(seed)
    space = weighted.unwrapped.reward_space  # type: ignore[attr-defined]
    for episode_seed in (seed, None, None):
        assert_same_obs(scalar.reset(seed=episode_seed)[0], weighted.reset(seed=episode_seed)[0])
        done = False
        while not done:
            action = int(rng.integers(scalar.action_space.n))
            step: Any = weighted.step(action)
            assert_same_step(scalar.step(action), step)
            assert space.contains(step[4]["vector_reward"]), step[4]["vector_reward"]
            done = step[2] or step[3]


def test_make_of_mo_gymnasium_gives_a_vector_reward() -> None:
    env = mo_gym.make("orchestai_env:OrchestAI-MO-v0", max_attempts=2)
    env.reset(seed=0)
    _, reward, *_ = env.step(0)

    assert isinstance(env.unwrapped, OrchestAIMOEnv)
    assert env.unwrapped.rules.max_attempts == 2
    assert env.unwrapped.reward_space.shape == (4,)
    assert isinstance(reward, np.ndarray)
    assert (reward.dtype, reward.shape) == (np.float64, (4,))


def test_optimum_of_the_diamond_earns_its_amounts() -> None:
    scalar = toy_env(DIAMOND, **DIAMOND_RULES)
    rules = {key: value for key, value in DIAMOND_RULES.items() if key != "concurrency"}
    env = OrchestAIMOEnv(scalar.dataset, **rules)
    env.reset(seed=0)
    rewards = [env.step(action)[1] for action in DIAMOND_BEST]

    # 0.125 USD twice, then swift beside frugal for 1.75 USD in 2 s, then 0.5 USD and 1 s.
    assert np.sum(rewards, axis=0).tolist() == [1.0, -2.5, -3500.0, 4.0]
    assert sum(rewards) @ SECONDS.as_array() == pytest.approx(6.0)


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**31),
    rules=st.fixed_dictionaries(
        {
            "on_failure": st.sampled_from(["abort", "continue"]),
            "cost_budget_usd": st.none() | st.floats(0.001, 0.05),
            "deadline_ms": st.none() | st.floats(1.0e-3, 60_000.0),
            "max_steps": st.none() | st.integers(1, 12),
            "price_spread": st.sampled_from([1.0, 3.0]),
            "latency_spread": st.sampled_from([1.0, 3.0]),
            "shuffle_workers": st.booleans(),
        }
    ),
)
def test_linear_reward_gives_the_scalar_environment(seed: int, rules: dict[str, Any]) -> None:
    scalar = OrchestAIEnv(builtin(), reward_weights=WEIGHTS, **rules)
    assert_same_episodes(scalar, linear(builtin(), WEIGHTS, **rules), seed)


@settings(max_examples=15)
@given(case=cases())
def test_linear_reward_gives_the_scalar_environment_on_recorded_outcomes(case: Case) -> None:
    scalar = OrchestAIEnv(case.dataset(), **case.rules)
    assert_same_episodes(scalar, linear(case.dataset(), RewardWeights(), **case.rules), 0)


def test_weights_of_an_episodes_own_are_in_the_reward_terms() -> None:
    rules: dict[str, Any] = {"preference_spread": 10.0, "reward_weights": WEIGHTS}
    scalar, env = OrchestAIEnv(builtin(), **rules), OrchestAIMOEnv(builtin(), **rules)
    expected, total, done = 0.0, np.zeros(4), False
    scalar.reset(seed=3)
    env.reset(seed=3)
    while not done:
        step = env.step(1)
        reward = scalar.step(1)[1]
        assert sum(step[4]["reward_terms"].values()) == pytest.approx(reward, rel=1e-12)
        expected, total, done = expected + reward, total + step[1], step[2]

    assert total @ WEIGHTS.as_array() != pytest.approx(expected, rel=1e-3)


def test_rewards_of_an_episode_sum_to_its_result() -> None:
    env = OrchestAIMOEnv(builtin())
    for seed in range(20):
        env.reset(seed=seed)
        total, done = np.zeros(4), False
        info: dict[str, Any] = {}
        while not done:
            _, reward, terminated, truncated, info = env.step(seed % 8)
            total, done = total + reward, terminated or truncated
        result = info["episode_result"]
        succeeded = sum(subtask.success for subtask in result.subtasks)
        expected = [float(result.success), -result.total_cost, -result.total_latency_ms, succeeded]
        assert total.tolist() == pytest.approx(expected, rel=1e-9)


def test_reward_space_has_the_documented_bounds() -> None:
    endless = OrchestAIMOEnv(builtin()).reward_space
    limited = OrchestAIMOVectorEnv(2, builtin(), deadline_ms=500.0).reward_space

    assert endless.dtype == np.float64
    assert endless.low.tolist() == [0.0, -np.inf, -np.inf, 0.0]
    assert endless.high.tolist() == [1.0, 0.0, 0.0, 20.0]
    assert limited.low.tolist() == [0.0, -np.inf, -500.0, 0.0]
    assert not limited.contains(np.array([0.0, 0.0, -500.5, 0.0]))


class OwnWeights(LinearReward):
    """LinearReward puts one array of weights into every info, which Gymnasium's checker forbids."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        step: tuple[Any, float, bool, bool, dict[str, Any]] = super().step(action)
        step[4]["reward_weights"] = step[4]["reward_weights"].copy()
        return step


@pytest.mark.usefixtures("windows")
def test_linear_reward_passes_both_checkers() -> None:
    env = mo_gym.make("OrchestAI-MO-v0")
    assert isinstance(env.unwrapped, OrchestAIMOEnv)
    scalar = OwnWeights(env, weight=env.unwrapped.reward_weights.as_array())

    assert_passes_gymnasium(scalar)
    assert_passes_sb3(scalar)


@settings(max_examples=6)
@given(
    num_envs=st.integers(1, 5),
    seed=st.integers(0, 2**31),
    rules=st.sampled_from(
        [
            {},
            {"max_steps": 3},
            {"deadline_ms": 5_000.0, "cost_budget_usd": 0.01},
            {"min_workers": 1, "shuffle_workers": True, "price_spread": 4.0},
        ]
    ),
)
def test_rows_equal_single_environments(num_envs: int, seed: int, rules: dict[str, Any]) -> None:
    venv = OrchestAIMOVectorEnv(num_envs, builtin(), **rules)
    scalar = OrchestAIVectorEnv(num_envs, builtin(), **rules)
    envs = [OrchestAIMOEnv(builtin(), **rules) for _ in range(num_envs)]
    venv.reset(seed=seed)
    scalar.reset(seed=seed)
    for r, env in enumerate(envs):
        env.reset(seed=seed + r)
    rng = np.random.default_rng(seed)
    ended = 0
    for _ in range(60):
        actions = rng.integers(8, size=num_envs)
        obs, rewards, terminated, truncated, info = venv.step(actions)
        expected_obs, _, *expected_ends, expected_info = scalar.step(actions)
        assert_same_obs(obs, expected_obs)
        np.testing.assert_array_equal([terminated, truncated], expected_ends)
        assert str(info) == str(expected_info)
        assert rewards.dtype == np.float64
        assert rewards.shape == (num_envs, 4)
        for r, env in enumerate(envs):
            _, reward, *ends, _ = env.step(actions[r])
            assert reward.tobytes() == rewards[r].tobytes()
            if any(ends):
                ended += 1
                env.reset()
    assert ended >= num_envs


def test_make_vec_gives_the_batched_environment() -> None:
    venv = gym.make_vec(
        "OrchestAI-MO-v0", 3, vectorization_mode="vector_entry_point", dataset=builtin()
    )
    venv.reset(seed=0)
    rewards = venv.step(np.zeros(3, np.int64))[1]

    assert isinstance(venv, OrchestAIMOVectorEnv)
    assert venv.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert rewards.shape == (3, 4)


def test_vectorisation_of_mo_gymnasium_understands_the_environment() -> None:
    theirs = MOSyncVectorEnv(iter([lambda: OrchestAIMOEnv(builtin())] * 2))
    ours = OrchestAIMOVectorEnv(2, builtin())
    assert_same_obs(theirs.reset(seed=5)[0], ours.reset(seed=5)[0])
    actions = np.array([0, 1])
    expected = ours.step(actions)[1].astype(np.float32)

    np.testing.assert_array_equal(theirs.step(actions)[1], expected)


@pytest.mark.parametrize("kind", [OrchestAIMOEnv, OrchestAIMOVectorEnv])
def test_wrong_argument_is_named(kind: Any) -> None:
    with pytest.raises(ConfigError, match=r"unknown argument 'max_atempts'\. Did you mean"):
        kind(dataset=builtin(), max_atempts=1)
