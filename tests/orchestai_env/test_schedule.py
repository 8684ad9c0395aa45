"""The recorder against hand-made episodes, and against the tables of random ones."""

from __future__ import annotations

import dataclasses
import itertools

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given

from orchestai_env.env import OrchestAIEnv
from orchestai_env.schedule import CallRecord, Schedule, ScheduleRecorder, SubtaskRecord
from tests.orchestai_env.recording import brief, crowded, diamond, recorded, secret_twins
from tests.orchestai_env.strategies import Case, cases
from tests.orchestai_env.toy import (
    DIAMOND,
    DIAMOND_BEST,
    DIAMOND_RETURN,
    DIAMOND_RULES,
    ONE_SECOND,
    Instance,
    chain,
    lose,
    toy_env,
    win,
)


def test_recorder_keeps_every_call_of_the_diamond() -> None:
    schedule = diamond(*DIAMOND_BEST)

    assert [brief(call) for call in schedule.calls] == [
        (0, 1, 0, 0.0, 250.0, "failed"),
        (0, 1, 1, 250.0, 500.0, "succeeded"),
        (1, 0, 0, 500.0, 2500.0, "succeeded"),
        (2, 1, 0, 500.0, 2500.0, "succeeded"),
        (3, 1, 0, 2500.0, 3500.0, "succeeded"),
    ]


def test_recorder_sums_what_the_episode_did() -> None:
    schedule = diamond(*DIAMOND_BEST)

    assert (schedule.progress, schedule.clock_ms, schedule.cost_usd) == ("succeeded", 3500.0, 2.5)
    assert schedule.episode_return == pytest.approx(DIAMOND_RETURN)
    assert (schedule.current, schedule.num_succeeded) == (None, 4)


def test_recorder_describes_workflow_and_workers() -> None:
    schedule = diamond()

    assert (schedule.dataset, schedule.workflow, schedule.progress) == ("toy", 0, "ongoing")
    assert (schedule.current, schedule.calls, schedule.critical_path) == (0, (), ())
    assert schedule.workers == ("worker-0", "worker-1")
    assert [subtask.parents for subtask in schedule.subtasks] == [(), (0,), (0,), (1, 2)]
    assert [subtask.status for subtask in schedule.subtasks] == ["ready", *["pending"] * 3]
    assert {subtask.task_type for subtask in schedule.subtasks} == {"type-0"}


def test_recorder_leaves_the_end_of_a_running_call_open() -> None:
    schedule = diamond(1, 1, 0)

    assert schedule.clock_ms == 500.0
    assert brief(schedule.calls[-1]) == (1, 0, 0, 500.0, None, "running")
    assert schedule.until_ms(schedule.calls[-1]) == 500.0


def test_recorder_shows_a_call_that_waits_for_a_slot_and_then_its_start() -> None:
    instance = Instance(calls=((ONE_SECOND,), (win(500, 0.5),), (ONE_SECOND,)), links=((0, 2),))
    before, after = recorded(toy_env(instance, concurrency=(1,)), 0, 0, 0)[2:]

    assert [brief(call) for call in before.calls] == [
        (0, 0, 0, 0.0, 1000.0, "succeeded"),
        (1, 0, 0, 1000.0, None, "running"),
    ]
    assert [brief(call) for call in after.calls[1:]] == [
        (1, 0, 0, 1000.0, 1500.0, "succeeded"),
        (2, 0, 0, 1500.0, 2500.0, "succeeded"),
    ]
    waiting = recorded(toy_env(Instance(calls=((ONE_SECOND,),) * 3), concurrency=(1,)), 0, 0)[-1]
    assert brief(waiting.calls[1]) == (1, 0, 0, None, None, "waiting")


def test_recorder_at_a_truncation_drops_what_waits_and_keeps_open_what_runs() -> None:
    instance = Instance(calls=((ONE_SECOND,),) * 3)
    schedule = recorded(toy_env(instance, concurrency=(1,), max_steps=2), 0, 0)[-1]

    assert schedule.progress == "truncated"
    assert schedule.cost_usd == 0.125  # the running call is charged in full
    assert [brief(call) for call in schedule.calls] == [
        (0, 0, 0, 0.0, None, "running"),
        (1, 0, 0, None, None, "dropped"),
    ]


def test_recorder_shows_a_failed_workflow() -> None:
    schedule = recorded(toy_env(chain((lose(1000, 0.5),)), max_attempts=2), 0, 0)[-1]

    assert schedule.progress == "failed"
    assert [brief(call) for call in schedule.calls] == [
        (0, 0, 0, 0.0, 1000.0, "failed"),
        (0, 0, 1, 1000.0, 2000.0, "failed"),
    ]


def test_recorder_shows_a_workflow_that_fails_without_a_decision() -> None:
    schedule = recorded(toy_env(chain(((),))), 0)[-1]

    assert (schedule.progress, schedule.calls, schedule.clock_ms) == ("failed", (), 0.0)


@pytest.mark.parametrize("seed", range(5))
def test_recorder_names_the_workers_of_the_episode_in_the_order_of_the_pool(seed: int) -> None:
    instance = Instance(calls=((ONE_SECOND,) * 5,) * 4)
    env = toy_env(instance, min_workers=1, shuffle_workers=True)
    recorder = ScheduleRecorder()
    env.reset(seed=seed)
    recorder.begin(env._episodes)
    called = []
    while env.current_subtask is not None:
        action = int(np.flatnonzero(env.action_masks())[-1])
        called.append(env.worker_names[action])
        env.step(action)
        recorder.update(env._episodes)

    schedule = recorder.schedule
    assert schedule.workers == tuple(sorted(name for name in env.worker_names if name))
    assert [schedule.workers[call.worker] for call in schedule.calls] == called


def test_recorder_begins_anew() -> None:
    env, recorder = toy_env(DIAMOND, **DIAMOND_RULES), ScheduleRecorder()
    env.reset(seed=0)
    recorder.begin(env._episodes)
    first = recorder.schedule
    env.step(1)
    recorder.update(env._episodes)
    assert recorder.schedule != first

    env.reset()
    recorder.begin(env._episodes)

    assert recorder.schedule == first


def test_recorder_without_an_episode_says_so() -> None:
    with pytest.raises(gym.error.ResetNeeded, match=r"call reset\(\) before render\(\)"):
        _ = ScheduleRecorder().schedule


def test_schedule_does_not_depend_on_what_a_running_call_will_do() -> None:
    first, second = secret_twins()

    assert first == second
    assert [call.outcome for call in first.calls] == ["running", "succeeded"]
    assert first.clock_ms == 2000.0


def test_schedule_knows_the_secret_once_the_call_has_ended() -> None:
    ends = []
    for trial in (win(4000, 0.25), lose(4000, 0.25)):
        instance = Instance(calls=((trial,),))
        ends.append(recorded(toy_env(instance, max_attempts=1), 0)[-1].calls[0].outcome)

    assert ends == ["succeeded", "failed"]


# 0 and 1 are free; 2 needs 0 and 1; 3 needs 1; 4 needs 2 and 3.
_PARENTS = ((), (), (0, 1), (1,), (2, 3))


def _schedule(clock_ms: float, *calls: tuple[int, float | None, float | None]) -> Schedule:
    """Returns a schedule of calls (subtask, start, end) on one worker."""
    records = [
        CallRecord(
            subtask=i,
            worker=0,
            attempt=0,
            start_ms=start,
            end_ms=end,
            outcome="waiting" if start is None else "running" if end is None else "succeeded",
        )
        for i, start, end in calls
    ]
    empty = crowded(1, 5)
    subtasks = [
        SubtaskRecord(name=str(i), task_type="t", status="pending", parents=parents)
        for i, parents in enumerate(_PARENTS)
    ]
    return dataclasses.replace(
        empty, clock_ms=clock_ms, subtasks=tuple(subtasks), calls=tuple(records)
    )


@pytest.mark.parametrize(
    ("clock_ms", "calls", "path"),
    [
        (0.0, [(0, None, None)], ()),
        (5.0, [(0, 0.0, 5.0), (1, 0.0, None)], (0,)),
        (5.0, [(0, 1.0, 5.0), (1, 0.0, None)], (1,)),
        (5.0, [(0, 0.0, 5.0), (1, 0.0, 3.0)], (0,)),
        (9.0, [(0, 0.0, 5.0), (1, 0.0, 3.0), (2, 5.0, None), (3, 3.0, 8.0)], (0, 2)),
        (9.0, [(0, 0.0, 5.0), (1, 0.0, 3.0), (2, 5.0, 6.0), (3, 3.0, 9.0)], (1, 3)),
        (
            12.0,
            [(0, 0.0, 5.0), (1, 0.0, 3.0), (2, 5.0, 6.0), (3, 3.0, 9.0), (4, 9.0, 12.0)],
            (1, 3, 4),
        ),
        (9.0, [(0, 0.0, 2.0), (0, 6.0, 8.0), (1, 0.0, 7.0)], (0,)),
        (9.0, [(0, 0.0, 5.0), (1, 0.0, 5.0), (2, 7.0, 9.0)], (0, 2)),
    ],
    ids=[
        "nothing-started",
        "equal-ends-and-starts",
        "equal-ends",
        "last-end",
        "running",
        "other-parent",
        "whole",
        "retry",
        "equal-parents",
    ],
)
def test_critical_path_walks_back_over_the_parents_that_ended_last(
    clock_ms: float, calls: list[tuple[int, float | None, float | None]], path: tuple[int, ...]
) -> None:
    assert _schedule(clock_ms, *calls).critical_path == path


def test_lanes_are_as_many_as_calls_overlap() -> None:
    schedule = _schedule(
        9.0, (0, 0.0, 2.0), (1, 1.0, 4.0), (2, 2.0, 3.0), (3, 4.0, None), (4, None, None)
    )

    lanes = [[call.subtask for call in lane] for lane in schedule.lanes(0)]

    assert lanes == [[0, 2, 3], [1]]
    assert schedule.lanes(1) == ()


@given(cases())
def test_recorder_loses_no_call_of_a_random_episode(case: Case) -> None:
    env = OrchestAIEnv(case.dataset(), **case.rules)
    schedules = recorded(env, *case.actions)
    result = env._episodes.result(0)

    last = schedules[-1]
    assert [c.subtask for c in last.calls] == [
        s.current for s in schedules[:-1] if s.current is not None
    ]
    for i, subtask in enumerate(result.subtasks):
        calls = last.calls_of(i)
        assert sum(c.end_ms is not None for c in calls) == subtask.attempts
        assert [c.attempt for c in calls] == list(range(len(calls)))
        assert last.subtasks[i].status == subtask.status
    assert (last.clock_ms, last.cost_usd) == (result.total_latency_ms, result.total_cost)


@given(cases())
def test_recorded_calls_take_and_give_what_the_table_says(case: Case) -> None:
    for schedule in recorded(OrchestAIEnv(case.dataset(), **case.rules), *case.actions):
        busy_ms = 0.0
        for call in schedule.calls:
            trials = case.instance.calls[call.subtask][call.worker]
            trial = trials[call.attempt % len(trials)]
            if call.end_ms is None:
                assert call.outcome in ("running", "waiting", "dropped")
                assert (call.start_ms is None) == (call.outcome != "running")
                continue
            assert call.start_ms is not None
            assert call.end_ms - call.start_ms == trial.latency_ms
            assert call.outcome == ("succeeded" if trial.score >= 0.5 else "failed")
            busy_ms += call.end_ms - call.start_ms
        drawn_ms = sum(
            (call.end_ms or 0.0) - (call.start_ms or 0.0)
            for worker in range(len(schedule.workers))
            for lane in schedule.lanes(worker)
            for call in lane
            if call.end_ms is not None
        )
        assert drawn_ms == busy_ms


@given(cases())
def test_recorded_calls_respect_slots_and_parents(case: Case) -> None:
    for schedule in recorded(OrchestAIEnv(case.dataset(), **case.rules), *case.actions):
        for worker, slots in enumerate(case.concurrency):
            lanes = schedule.lanes(worker)
            assert len(lanes) <= min(slots, case.rules["max_parallel_tasks"])
            for first, second in itertools.chain(*map(itertools.pairwise, lanes)):
                assert first.end_ms is not None and second.start_ms is not None
                assert first.end_ms <= second.start_ms
        for call in schedule.calls:
            for parent in schedule.subtasks[call.subtask].parents:
                done = schedule.calls_of(parent)[-1]
                assert done.outcome == "succeeded" and done.end_ms is not None
                assert call.start_ms is None or call.start_ms >= done.end_ms


@given(cases())
def test_critical_path_follows_links_and_time(case: Case) -> None:
    for schedule in recorded(OrchestAIEnv(case.dataset(), **case.rules), *case.actions):
        path = schedule.critical_path
        started = {c.subtask for c in schedule.calls if c.start_ms is not None}
        assert bool(path) == bool(started)
        for parent, child in itertools.pairwise(path):
            assert parent in schedule.subtasks[child].parents
        if path:
            assert not schedule.subtasks[path[0]].parents
            ends = {i: max(map(schedule.until_ms, schedule.calls_of(i))) for i in started}
            assert ends[path[-1]] == max(ends.values())
