"""The oracle: what `peek` foresees is what the call then does."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.env import OrchestAIEnv
from orchestai_env.oracle import hindsight_utility, peek
from orchestai_env.outcomes.draw import Call, draw_outcome
from orchestai_env.outcomes.simulated import SimulationSettings
from orchestai_env.state import CURRENT, END, KEY, NONE, QUALITY, START
from orchestai_env.vector_env import OrchestAIVectorEnv
from tests.orchestai_env.play import in_order, play
from tests.orchestai_env.toy import (
    DIAMOND,
    DIAMOND_RETURN,
    DIAMOND_RULES,
    ONE_SECOND,
    SECONDS,
    Instance,
    toy_dataset,
    toy_env,
    win,
)

ROW = np.array([0])


def test_peek_reads_the_outcome_of_every_worker_at_this_attempt() -> None:
    env = toy_env(DIAMOND, **DIAMOND_RULES)
    env.reset(seed=0)
    first = peek(env._episodes, ROW)
    env.step(1)
    second = peek(env._episodes, ROW)

    assert first.success.tolist() == [[True, False]]
    assert first.cost_usd.tolist() == [[1.0, 0.125]]
    assert first.latency_ms.tolist() == [[1000.0, 250.0]]
    assert first.allowed.tolist() == [[True, True]]
    assert second.success.tolist() == [[True, True]]


def test_peek_leaves_masked_workers_and_ended_episodes_empty() -> None:
    dataset = toy_dataset([Instance(calls=(((), ONE_SECOND),)), Instance(calls=(((), ()),))])
    venv = OrchestAIVectorEnv(2, dataset)
    venv.reset(seed=0, options={"workflow": [0, 1]})
    seen = peek(venv.episodes, np.array([1, 0]))

    assert venv.episodes.state.episode[1, CURRENT] == NONE
    assert seen.success.tolist() == [[False, False], [False, True]]
    assert seen.cost_usd.tolist() == [[0.0, 0.0], [0.0, 0.125]]
    assert seen.allowed[1].tolist() == [False, True]


@pytest.mark.parametrize(
    "rules",
    [{}, {"shuffle_workers": True, "min_workers": 3, "price_spread": 5.0, "latency_spread": 5.0}],
    ids=["same workers", "workers, prices and latencies vary"],
)
def test_peek_changes_nothing_and_is_what_the_call_does(rules: dict[str, Any]) -> None:
    data = builtin_dataset("validation", num_workflows=20)
    env = OrchestAIEnv(data, max_parallel_tasks=1, **rules)
    rng = np.random.default_rng(0)
    for seed in range(20):
        env.reset(seed=seed)
        ended = False
        while not ended:
            before = copy.deepcopy(env._episodes.state)
            seen = peek(env._episodes, ROW)
            for old, new in zip(before, env._episodes.state, strict=True):
                np.testing.assert_array_equal(old, new)
            action = int(rng.choice(np.flatnonzero(env.action_masks())))
            i, spent = env.current_subtask, float(env._episodes.state.spent[0])
            *_, terminated, truncated, _ = env.step(action)
            ended = terminated or truncated
            result = env._episodes.result(0).subtasks[i or 0]
            # One call at a time, and it has ended where it is not waiting for others.
            if result.status != "running":
                assert seen.success[0, action] == result.success
                start, end = env._episodes.state.subtask[0, i or 0, START : END + 1]
                assert seen.latency_ms[0, action] == (end - start) / 1000
                charged = float(env._episodes.state.spent[0]) - spent
                assert charged >= seen.cost_usd[0, action] - 1e-12


def test_call_and_peek_depend_on_the_mean_quality_of_the_parents() -> None:
    simulation = SimulationSettings(quality_coupling=3.0)
    data = builtin_dataset("validation", num_workflows=60, simulation=simulation)
    k = int(np.argmax(data.workflows.num_parents.max(axis=1)))
    child = int(np.argmax(data.workflows.num_parents[k]))
    parents = data.workflows.parents[k, child, : data.workflows.num_parents[k, child]]
    assert len(parents) > 1
    env = OrchestAIEnv(data, max_attempts=1, on_failure="continue")
    state, compared = env._episodes.state, 0
    for seed in range(300):
        env.reset(seed=seed, options={"workflow": k})
        while env.current_subtask not in (None, child):
            seen = peek(env._episodes, ROW)
            env.step(int(np.argmax(seen.success[0] & seen.allowed[0])))
        if env.current_subtask is None:
            continue
        compared += 1
        worker = int(np.argmax(env.action_masks()))
        call = Call(
            key=int(state.episode[0, KEY]),
            episode=0,
            subtask=child,
            task_type=int(data.workflows.task_type[k, child]),
            query=-1,
            worker=worker,
            attempt=0,
            parent_quality=float(state.value[0, parents, QUALITY].mean()),
            running=int(state.busy[0, worker]),
        )
        expected = draw_outcome(data.outcomes, call)
        assert peek(env._episodes, ROW).success[0, worker] == expected[0]
        env.step(worker)
        assert state.value[0, child, QUALITY] == expected[1]
    assert compared > 10


def test_hindsight_utility_weighs_success_cost_and_time_and_refuses_masked() -> None:
    env = toy_env(Instance(calls=((win(2000, 0.25), (), (win(500, 1.0))),)))
    env.reset(seed=0)
    value = hindsight_utility(peek(env._episodes, ROW), SECONDS.as_array())

    assert value[0] == pytest.approx([10.5 - 0.25 - 2.0, -np.inf, 10.5 - 1.0 - 0.5])
    assert value.argmax(axis=1).tolist() == [2]


def test_hindsight_utility_takes_the_weights_of_each_row() -> None:
    dataset = toy_dataset([Instance(calls=((win(2000, 0.25), win(500, 1.0)),))])
    venv = OrchestAIVectorEnv(2, dataset)
    venv.reset(seed=0)
    seen = peek(venv.episodes, np.array([0, 1]))
    weights = np.array([[10.0, 1.0, 0.001, 0.5], [10.0, 8.0, 0.0, 0.0]])
    value = hindsight_utility(seen, weights)

    assert value == pytest.approx(np.array([[8.25, 9.0], [8.0, 2.0]]))
    for row in range(2):
        np.testing.assert_array_equal(value[row], hindsight_utility(seen, weights[row])[row])


def test_hindsight_per_call_falls_short_of_the_proven_optimum() -> None:
    # It neither fails on purpose nor sees the queue: swift on subtasks 0, 1 and 2.
    env = toy_env(DIAMOND, **DIAMOND_RULES)

    def best(obs: object) -> int:
        value = hindsight_utility(peek(env._episodes, ROW), SECONDS.as_array())
        return int(value.argmax())

    played = play(env, best)
    assert played.actions == [0, 0, 0, 1]
    assert played.episode_return == pytest.approx(DIAMOND_RETURN - 1.25 - 0.75)
    assert played.episode_return == play(env, in_order([0, 0, 0, 1])).episode_return
