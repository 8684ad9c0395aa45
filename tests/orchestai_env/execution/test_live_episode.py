"""LiveEpisode: the rules of the simulated environment, on the wall clock."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestai_env.dataset import Dataset
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.env import OrchestAIEnv
from orchestai_env.episodes import Episodes
from orchestai_env.execution.live_episode import CallEnd, LiveEpisode
from orchestai_env.execution_result import ExecutionResult
from orchestai_env.live_clock import OpenCall
from orchestai_env.observation import ObservationLayout
from orchestai_env.outcomes.draw import Call, draw_outcome
from orchestai_env.outcomes.live import live_dataset
from orchestai_env.reward import RewardWeights
from orchestai_env.rules import EpisodeRules
from orchestai_env.state import KEY, NUMBER, QUALITY, WORKFLOW
from tests.orchestai_env.execution import virtual_time

WEIGHTS = RewardWeights(success_weight=7.0, cost_weight=150.0, latency_weight=2.0e-4)
TICK_MS = 0.002  # what rounding to whole microseconds may add up to


@functools.cache
def simulated() -> Dataset:
    """Workflows whose outcomes both sides meet."""
    return builtin_dataset("validation", num_workflows=40)


def live_episode(
    call: Callable[[OpenCall], Awaitable[CallEnd]], dataset: Dataset | None = None, **rules: Any
) -> LiveEpisode:
    """Returns an episode over the simulated workflows whose calls happen elsewhere."""
    known = dataset or simulated()
    data = live_dataset(known, known.outcomes.capable > 0)
    episodes = Episodes(
        data,
        n=1,
        rules=EpisodeRules(**rules),
        weights=WEIGHTS,
        layout=ObservationLayout.of(data, None),
    )
    loop = asyncio.get_running_loop()
    return LiveEpisode(episodes, call, clock=loop.time)


class SimulatedCalls:
    """Calls that sleep as long as the simulated ones take, and end as they do."""

    def __init__(self, key: int, number: int) -> None:
        """Takes what the simulated row's random numbers hang on."""
        self._key, self._number = key, number
        self.live: LiveEpisode | None = None

    def __call__(self, opened: OpenCall) -> Awaitable[CallEnd]:
        """Draws the outcome, then lets the time pass."""
        assert self.live is not None
        state, problem = self.live.episodes.state, self.live.episodes.problem
        k, i = int(state.episode[0, WORKFLOW]), opened.subtask
        parents = problem.parents[k, i, : problem.num_parents[k, i]]
        quality = float(state.value[0, parents, QUALITY].mean()) if len(parents) else 1.0
        task_type = int(problem.task_type[k, i])
        call = Call(
            self._key, self._number, i, task_type, -1, opened.worker, opened.attempt, quality, 0
        )
        success, quality, cost_usd, latency_us = draw_outcome(simulated().outcomes, call)

        async def sleep() -> CallEnd:
            with contextlib.suppress(asyncio.CancelledError):  # simulated ones are charged in full
                await asyncio.sleep(latency_us / 1e6)
            return CallEnd(success=success, quality=quality, cost_usd=cost_usd)

        return sleep()


def play_simulated(seed: int, workflow: int, rules: dict[str, Any]) -> tuple[Any, Any, list[Any]]:
    """Plays random workers; returns the key of the random numbers, the result and the steps."""
    env = OrchestAIEnv(simulated(), reward_weights=WEIGHTS, **rules)
    env.reset(seed=seed, options={"workflow": workflow})
    key = env.episodes.state.episode[0, [KEY, NUMBER]].tolist()
    rng, steps, ended = np.random.default_rng(seed), [], False
    while not ended:
        action = int(rng.integers(len(simulated().pool)))
        obs, reward, terminated, truncated, info = env.step(action)
        steps.append((action, obs, reward))
        ended = terminated or truncated
    return key, info["episode_result"], steps


RULES = st.fixed_dictionaries(
    {
        "max_attempts": st.integers(1, 3),
        "max_parallel_tasks": st.integers(1, 5),
        "on_failure": st.sampled_from(["abort", "continue"]),
        "deadline_ms": st.none() | st.sampled_from([2_000.0, 20_000.0]),
        "cost_budget_usd": st.none() | st.sampled_from([0.002, 0.02]),
    }
)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), workflow=st.integers(0, 39), rules=RULES)
def test_simulated_workers_give_the_episode_of_the_simulated_environment(
    seed: int, workflow: int, rules: dict[str, Any]
) -> None:
    (key, number), expected, steps = play_simulated(seed, workflow, rules)
    calls = SimulatedCalls(key, number)

    async def play() -> tuple[ExecutionResult, list[Any]]:
        live = live_episode(calls, **rules)
        calls.live = live
        live.episodes.reset(workflows=np.array([workflow]))
        live.begin()
        met = []
        for action, *_ in steps:
            assert not live.has_ended
            await live.step(action, live.now_us())
            out = live.episodes.out
            obs = {key: getattr(out, key)[0].copy() for key in steps[0][1]}
            met.append((obs, float(live.episodes.reward[0])))
        assert live.has_ended
        return live.episodes.result(0), met

    result, met = virtual_time.run(play())

    assert result.success == expected.success
    assert result.total_latency_ms == pytest.approx(expected.total_latency_ms, abs=TICK_MS)
    was_unsent = False
    for found, given_ in zip(result.subtasks, expected.subtasks, strict=True):
        assert (found.status, found.worker, found.attempts) == (
            given_.status,
            given_.worker,
            given_.attempts,
        )
        if found.status == "running" and found.cost == 0.0:  # cut off before it was sent
            was_unsent = True
        else:
            assert found.cost == pytest.approx(given_.cost, rel=1e-12)
        assert found.start_ms == pytest.approx(given_.start_ms, abs=TICK_MS)
        assert found.end_ms == pytest.approx(given_.end_ms, abs=TICK_MS)
    for (obs, reward), (_, expected_obs, expected_reward) in list(zip(met, steps, strict=True))[
        : len(steps) - was_unsent
    ]:
        assert reward == pytest.approx(expected_reward, abs=1e-6)
        for key, values in expected_obs.items():
            np.testing.assert_allclose(obs[key], values, atol=1e-5, err_msg=key)
