"""One helper plays any environment to the end and checks every step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from orchestai_env.env import Obs, OrchestAIEnv
from orchestai_env.execution_result import ExecutionResult
from orchestai_env.reward import REWARD_TERMS, RewardWeights, compute_reward
from orchestai_env.state import CURRENT, NONE, REPLACED

MAX_STEPS = 10_000


@dataclasses.dataclass(frozen=True)
class Played:
    """A played episode."""

    actions: list[int]
    rewards: list[float]
    observations: list[Obs]
    infos: list[dict[str, Any]]
    terminated: bool

    @property
    def episode_return(self) -> float:
        """Sum of the rewards."""
        return sum(self.rewards)

    @property
    def result(self) -> ExecutionResult:
        """The result in the last info."""
        result = self.infos[-1]["episode_result"]
        assert isinstance(result, ExecutionResult)
        return result


def play(
    env: gym.Env[Any, Any],
    action_fn: Callable[[Obs], int],
    *,
    seed: int | None = None,
    workflow: int | None = None,
) -> Played:
    """Plays one episode, wrapped or not, and validates every step and the end."""
    plain = env.unwrapped
    assert isinstance(plain, OrchestAIEnv)
    options = None if workflow is None else {"workflow": workflow}
    obs, info = env.reset(seed=seed, options=options)
    _check_obs(plain, obs, info)
    played = Played([], [], [obs], [info], True)
    for _ in range(MAX_STEPS):
        action = action_fn(obs)
        mask, current, replaced = plain.action_masks(), plain.current_subtask, _replaced(plain)
        obs, reward, terminated, truncated, info = env.step(action)
        _check_obs(plain, obs, info)
        terms = info["reward_terms"]
        assert tuple(terms) == REWARD_TERMS
        assert reward == pytest.approx(sum(terms.values()), rel=1e-12, abs=1e-12)
        if current is not None:  # the mask is true exactly for workers that are not replaced
            assert _replaced(plain) - replaced == int(not mask[action])
        played.actions.append(action)
        played.rewards.append(float(reward))
        played.observations.append(obs)
        played.infos.append(info)
        if terminated or truncated:
            assert not (terminated and truncated)
            _check_end(plain, played)
            return dataclasses.replace(played, terminated=bool(terminated))
        assert plain.current_subtask is not None
        assert not {"is_success", "episode_result"} & set(info)
    raise AssertionError(f"the episode took more than {MAX_STEPS} steps")


def random_actions(num_workers: int, seed: int) -> Callable[[Obs], int]:
    """Returns a policy that ignores the mask."""
    rng = np.random.default_rng(seed)
    return lambda obs: int(rng.integers(num_workers))


def in_order(actions: Iterable[int]) -> Callable[[Obs], int]:
    """Returns a policy that takes these actions one by one."""
    rest = iter(actions)
    return lambda obs: next(rest)


def finish(env: gym.Env[Any, Any], *actions: int) -> ExecutionResult:
    """Plays these actions and returns the result."""
    return play(env, in_order(actions)).result


def statuses(result: ExecutionResult) -> list[str]:
    """Returns the status of every subtask at the end."""
    return [subtask.status for subtask in result.subtasks]


def assert_same_obs(first: Obs, second: Obs) -> None:
    """Asserts that two observations are equal bit for bit."""
    assert list(first) == list(second)
    for key, values in first.items():
        assert values.dtype == second[key].dtype
        np.testing.assert_array_equal(values, second[key], err_msg=key)


def _replaced(env: OrchestAIEnv) -> int:
    return int(env._episodes.state.episode[0, REPLACED])


def _check_obs(env: OrchestAIEnv, obs: Obs, info: dict[str, Any]) -> None:
    assert env.observation_space.contains(obs)
    for key, values in obs.items():
        assert np.isfinite(values).all(), key
    np.testing.assert_array_equal(info["action_mask"], env.action_masks())
    assert info["action_mask"].dtype == np.int8
    if "action_mask" in obs:
        np.testing.assert_array_equal(obs["action_mask"], info["action_mask"])
    assert info["action_mask"].any()


def _check_end(env: OrchestAIEnv, played: Played) -> None:
    info, result = played.infos[-1], played.result
    assert info["is_success"] is result.success
    assert info["action_mask"].all()
    assert env.current_subtask is None
    own = env._episodes.state.weights[0].tolist()  # preference_spread draws them anew
    names = ("success_weight", "cost_weight", "latency_weight", "shaping_weight")
    weights = RewardWeights(**dict(zip(names, own, strict=True)))
    assert played.episode_return == pytest.approx(
        compute_reward(result, weights), rel=1e-6, abs=1e-9
    )
    assert result.total_cost == pytest.approx(sum(s.cost for s in result.subtasks))
    assert result.success == all(s.success for s in result.subtasks)
    for subtask in result.subtasks:
        assert subtask.success == (subtask.status == "succeeded")
        assert subtask.attempts <= env.rules.max_attempts
        if subtask.start_ms is not None and subtask.end_ms is not None:
            assert 0 <= subtask.start_ms <= subtask.end_ms <= result.total_latency_ms
    assert env._episodes.state.episode[0, CURRENT] == NONE
