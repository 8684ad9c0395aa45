"""Schedules to look at: recorded from toy episodes, or made by hand."""

from __future__ import annotations

import itertools
from typing import Any

from orchestai_env.env import OrchestAIEnv
from orchestai_env.schedule import CallRecord, Schedule, ScheduleRecorder, SubtaskRecord
from tests.orchestai_env.toy import DIAMOND, DIAMOND_RULES, Instance, Trial, toy_env, win


def recorded(env: OrchestAIEnv, *actions: int, workflow: int | None = None) -> list[Schedule]:
    """Plays these actions, or fewer if the episode ends, and returns the schedule before each.

    The last one shows what the last action did.
    """
    recorder = ScheduleRecorder()
    env.reset(seed=0, options=None if workflow is None else {"workflow": workflow})
    recorder.begin(env._episodes)
    schedules = [recorder.schedule]
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        recorder.update(env._episodes)
        schedules.append(recorder.schedule)
        if terminated or truncated:
            break
    return schedules


def diamond(*actions: int, **rules: Any) -> Schedule:
    """Returns the schedule of the diamond after these actions."""
    return recorded(toy_env(DIAMOND, **{**DIAMOND_RULES, **rules}), *actions)[-1]


def brief(call: CallRecord) -> tuple[object, ...]:
    """Returns a call as a row: subtask, worker, attempt, start and end [ms], outcome."""
    return (call.subtask, call.worker, call.attempt, call.start_ms, call.end_ms, call.outcome)


def crowded(num_workers: int = 16, num_subtasks: int = 20, name: str = "worker") -> Schedule:
    """Returns a finished schedule with as many workers and subtasks as have to stay legible.

    Subtask i needs i - 3 and i - 4; worker i % W fails on it for 300 ms, and the next one succeeds.
    """
    subtasks = tuple(
        SubtaskRecord(
            name=f"subtask {i}",
            task_type=f"{name}_type_{i % 5}",
            status="succeeded",
            parents=tuple(p for p in (i - 4, i - 3) if p >= 0),
        )
        for i in range(num_subtasks)
    )
    calls = tuple(
        CallRecord(
            subtask=i,
            worker=(i + attempt) % num_workers,
            attempt=attempt,
            start_ms=1000.0 * (i // 3) + 300.0 * attempt,
            end_ms=1000.0 * (i // 3) + (1000.0 if attempt else 300.0),
            outcome="succeeded" if attempt else "failed",
        )
        for i, attempt in itertools.product(range(num_subtasks), range(2))
    )
    return Schedule(
        dataset="crowded",
        workflow=0,
        progress="succeeded",
        clock_ms=1000.0 * ((num_subtasks - 1) // 3 + 1),
        cost_usd=0.5,
        episode_return=1.0,
        current=None,
        workers=tuple(f"{name}-{w}" for w in range(num_workers)),
        subtasks=subtasks,
        calls=calls,
    )


def secret_twins() -> tuple[Schedule, Schedule]:
    """Returns two schedules that differ only in the end and result of a call that still runs.

    Worker 0 serves subtask 0 until 4 s or 9 s, with success or without; meanwhile worker 1 has
    ended subtask 1 at 2 s, and subtask 2 is to be decided.
    """
    twins = []
    for secret in (Trial(1.0, 4000, 0.25), Trial(0.0, 9000, 0.75)):
        calls = (((secret,), win(1, 1)), (win(1, 1), win(2000, 0.5)), (win(1, 1), win(1, 1)))
        instance = Instance(calls=calls, links=((1, 2),))
        twins.append(recorded(toy_env(instance), 0, 1)[-1])
    return twins[0], twins[1]
