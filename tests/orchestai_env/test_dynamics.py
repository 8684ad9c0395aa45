"""The clock's rules, one by one: order, queues, retries, failure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from orchestai_env.env import OrchestAIEnv
from orchestai_env.execution_result import ExecutionResult
from orchestai_env.observation import WORKER_FEATURES, subtask_features
from tests.orchestai_env.play import finish, in_order, play, statuses
from tests.orchestai_env.toy import (
    ONE_SECOND,
    SECONDS,
    Instance,
    Trial,
    chain,
    lose,
    toy_env,
    win,
)


def times(result: ExecutionResult) -> list[tuple[float | None, float | None]]:
    return [(subtask.start_ms, subtask.end_ms) for subtask in result.subtasks]


def seen_status(env: OrchestAIEnv, obs: dict[str, Any], i: int) -> str:
    names = subtask_features(env.dataset.task_types)
    return next(
        name.removeprefix("status_")
        for name, value in zip(names, obs["subtasks"][i], strict=True)
        if name.startswith("status_") and value == 1.0
    )


def test_clock_subtask_waits_for_all_it_depends_on() -> None:
    calls = (win(1000, 0.0),), (win(3000, 0.0),), (win(500, 0.0),)
    result = finish(toy_env(Instance(calls=calls, links=((0, 2), (1, 2)))), 0, 0, 0)

    assert times(result) == [(0.0, 1000.0), (0.0, 3000.0), (3000.0, 3500.0)]
    assert result.total_latency_ms == 3500.0


def test_clock_decisions_go_to_the_lowest_ready_index() -> None:
    env = toy_env(Instance(calls=((ONE_SECOND,),) * 4, links=((0, 2), (1, 3))))
    env.reset(seed=0)
    order = [env.current_subtask]
    for _ in range(3):
        env.step(0)
        order.append(env.current_subtask)

    assert order == [0, 1, 2, 3]


def test_clock_stands_still_while_another_subtask_is_ready() -> None:
    env = toy_env(Instance(calls=((ONE_SECOND,),) * 2), reward_weights=SECONDS)
    env.reset(seed=0)
    _, first, *_ = env.step(0)
    _, second, terminated, _, _ = env.step(0)

    assert first == 0.0
    assert terminated
    assert second == pytest.approx(10 + 2 * 0.5 - 0.25 - 1.0)


def test_clock_cost_and_result_are_known_only_at_completion() -> None:
    env = toy_env(Instance(calls=((ONE_SECOND,), (ONE_SECOND,))))
    env.reset(seed=0)
    obs, _, _, _, info = env.step(0)

    assert seen_status(env, obs, 0) == "running"
    assert info["reward_terms"] == {"success": 0, "cost": 0, "latency": 0, "shaping": 0}
    context = env.observation_layout.feature_names["context"]
    assert obs["context"][context.index("spent")] == 0.0


def test_queue_is_first_come_first_served_per_worker() -> None:
    # Three calls for one slot in the order 0, 1, 2; the retry of 0 comes after both.
    flaky = (Trial(0.0, 1000, 0.0), Trial(1.0, 1000, 0.0))
    instance = Instance(calls=((flaky,), (win(2000, 0.0),), (win(3000, 0.0),)))
    result = finish(toy_env(instance, concurrency=(1,)), 0, 0, 0, 0)

    assert times(result) == [(0.0, 7000.0), (1000.0, 3000.0), (3000.0, 6000.0)]
    assert result.subtasks[0].latency_ms == 7000.0


def test_queue_waiting_call_counts_as_running_and_holds_no_slot() -> None:
    env = toy_env(Instance(calls=((ONE_SECOND,),) * 4), concurrency=(2,))
    env.reset(seed=0)
    free = WORKER_FEATURES.index("free_slots")
    shown = []
    for _ in range(3):
        obs, *_ = env.step(0)
        shown.append(float(obs["workers"][0, free]))

    assert shown == [0.5, 0.0, 0.0]
    assert [seen_status(env, obs, i) for i in range(4)] == ["running"] * 3 + ["ready"]
    context = env.observation_layout.feature_names["context"]
    running = obs["context"][context.index("running")]
    assert running == np.float32(2 / 5)  # of max_parallel_tasks; the third call waits


def test_queue_of_one_worker_does_not_hold_up_another() -> None:
    pair = (win(1000, 0.0), win(1000, 0.0))
    instance = Instance(calls=(pair, pair, pair))
    result = finish(toy_env(instance, concurrency=(1, 1)), 0, 0, 1)

    assert [start for start, _ in times(result)] == [0.0, 1000.0, 0.0]


@pytest.mark.parametrize(("limit", "makespan"), [(1, 4000.0), (2, 2000.0), (3, 2000.0), (4, 1000)])
def test_max_parallel_tasks_limits_calls_over_all_workers(limit: int, makespan: float) -> None:
    instance = Instance(calls=((ONE_SECOND, ONE_SECOND),) * 4)
    result = finish(toy_env(instance, max_parallel_tasks=limit), 0, 1, 0, 1)

    assert result.total_latency_ms == makespan


def test_max_parallel_tasks_is_five_by_default() -> None:
    result = finish(toy_env(Instance(calls=((ONE_SECOND,),) * 6)), *[0] * 6)

    assert [start for start, _ in times(result)] == [0.0] * 5 + [1000.0]


@pytest.mark.parametrize("max_attempts", [1, 2, 3, 5])
def test_retry_fails_the_subtask_after_max_attempts(max_attempts: int) -> None:
    env = toy_env(Instance(calls=((lose(100, 0.5),),)), max_attempts=max_attempts)
    result = finish(env, *[0] * max_attempts)

    assert statuses(result) == ["failed"]
    assert result.subtasks[0].attempts == max_attempts
    assert result.total_cost == 0.5 * max_attempts
    assert result.total_latency_ms == 100.0 * max_attempts


def test_retry_keeps_the_failed_worker_allowed_and_shows_it() -> None:
    env = toy_env(Instance(calls=((lose(100, 0.0), ONE_SECOND),)))
    env.reset(seed=0)
    obs, _, terminated, _, _ = env.step(0)

    assert not terminated
    assert env.action_masks().tolist() == [True, True]
    failed = WORKER_FEATURES.index("failed")
    assert obs["workers"][:, failed].tolist() == pytest.approx([1 / 3, 0.0])


def test_retry_reads_the_trial_of_the_subtasks_attempt() -> None:
    # Attempt k reads trial k modulo the recorded ones, whichever worker made the calls before.
    both = (Trial(0.0, 100, 0.0), Trial(1.0, 100, 0.0))
    instance = Instance(calls=((lose(100, 0.0), both),))

    assert statuses(finish(toy_env(instance), 0, 1)) == ["succeeded"]
    assert statuses(finish(toy_env(instance), 0, 0, 1)) == ["failed"]


def test_failure_abort_ends_at_once_and_charges_running_calls_in_full() -> None:
    calls = (lose(1000, 0.25),), (win(5000, 0.5),), (ONE_SECOND,)
    env = toy_env(Instance(calls=calls, links=((0, 2),)), max_attempts=1, reward_weights=SECONDS)
    played = play(env, in_order([0, 0]))

    assert played.terminated
    assert statuses(played.result) == ["failed", "running", "pending"]
    assert played.result.total_cost == 0.75
    assert played.result.total_latency_ms == 1000.0
    assert played.result.subtasks[1].end_ms is None
    assert played.result.subtasks[1].latency_ms == 1000.0
    assert played.episode_return == pytest.approx(-0.75 - 1.0)  # no shaping for subtask 1


def test_failure_abort_drops_waiting_calls() -> None:
    calls = (lose(1000, 0.25),), (win(5000, 0.5),)
    result = finish(toy_env(Instance(calls=calls), concurrency=(1,), max_attempts=1), 0, 0)

    assert statuses(result) == ["failed", "running"]
    assert result.total_cost == 0.25
    assert times(result)[1] == (None, None)


def test_failure_continue_finishes_what_does_not_depend_on_it() -> None:
    calls = (lose(1000, 0.25),), (ONE_SECOND,), (ONE_SECOND,), (ONE_SECOND,)
    instance = Instance(calls=calls, links=((0, 2), (1, 3)))
    env = toy_env(instance, max_attempts=1, on_failure="continue")
    result = finish(env, 0, 0, 0)

    assert statuses(result) == ["failed", "succeeded", "pending", "succeeded"]
    assert not result.success
    assert result.total_latency_ms == 2000.0


def test_failure_continue_ends_where_nothing_is_left() -> None:
    env = toy_env(chain((lose(1000, 0.25),), (ONE_SECOND,)), max_attempts=1, on_failure="continue")
    played = play(env, in_order([0]))

    assert played.terminated
    assert statuses(played.result) == ["failed", "pending"]


def test_completions_of_one_instant_are_processed_before_the_next_decision() -> None:
    flaky = (Trial(0.0, 1000, 0.0), Trial(1.0, 1000, 0.0))
    instance = Instance(calls=((ONE_SECOND,), (flaky,), (ONE_SECOND,)), links=((0, 2),))
    env = toy_env(instance, reward_weights=SECONDS)
    env.reset(seed=0)
    env.step(0)
    obs, reward, *_ = env.step(0)

    assert [seen_status(env, obs, i) for i in range(3)] == ["succeeded", "ready", "ready"]
    assert env.current_subtask == 1
    assert reward == pytest.approx(0.5 - 0.125 - 1.0)


def test_completions_of_the_instant_of_a_failure_still_count() -> None:
    calls = (lose(1000, 0.0),), (ONE_SECOND,)
    result = finish(toy_env(Instance(calls=calls), max_attempts=1), 0, 0)

    assert statuses(result) == ["failed", "succeeded"]


def test_zero_latency_calls_take_no_time() -> None:
    result = finish(toy_env(chain((win(0, 0.5),), (win(0, 0.5),))), 0, 0)

    assert result.success
    assert result.total_latency_ms == 0.0
    assert times(result) == [(0.0, 0.0), (0.0, 0.0)]
