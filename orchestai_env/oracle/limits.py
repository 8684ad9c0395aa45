"""What every call of an episode can do at best, looked up by somebody who knows all outcomes.

Where an outcome depends on the way it is reached (the quality of the parents, the load of the
worker), the most favourable way counts: parents as good, or as bad, as any of their successes, and
an idle worker. So the limits hold in every state that the episode can still reach.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai_env.compiled import inlined
from orchestai_env.outcomes.draw import Call, is_available
from orchestai_env.outcomes.tables import SIMULATED
from orchestai_env.state import (
    ATTEMPTS,
    FAILED,
    KEY,
    MAX_ATTEMPTS,
    NONE,
    NUMBER,
    QUALITY,
    R_COST,
    R_LATENCY,
    STATUS,
    SUCCEEDED,
    WORKFLOW,
    EpisodeState,
    Problem,
)
from orchestai_env.variation import episode_outcome

MONEY, BOTH, TIME = range(3)
"""Columns of Limits.win and .lose: in money alone, in money and time, in time alone."""
EXTRA, BEGIN = range(2)
"""Columns of Limits.path."""

# Columns of Limits.quality.
_LOWEST, _HIGHEST = range(2)


class Limits(NamedTuple):
    """What the calls of one episode can do at best. N subtasks, W workers, A attempts."""

    can_win: npt.NDArray[np.uint8]
    """uint8 (N, W, A); 1 where the call may succeed."""
    can_fail: npt.NDArray[np.uint8]
    """uint8 (N, W, A); 1 where it may fail; 0 in both where there is no such call."""
    cost: npt.NDArray[np.float64]
    """float64 (N, W, A) [reward]; weighted cost of the call."""
    latency_us: npt.NDArray[np.float64]
    """float64 (N, W, A) [us]; its latency on an idle worker."""
    win: npt.NDArray[np.float64]
    """float64 (N, A + 1, 3); least to pay from attempt a on until the subtask SUCCEEDS: weighted
    cost, weighted cost and time, time alone [us]; inf = it cannot."""
    lose: npt.NDArray[np.float64]
    """float64 (N, A + 1, 3); likewise until it FAILS; 0 where it may fail without a call."""
    quality: npt.NDArray[np.float64]
    """float64 (N, 2), 0..1; lowest and highest quality of a success."""
    left_win: npt.NDArray[np.float64]
    """float64 (N, 3); as `win`, from the state that is judged; 0 where SUCCEEDED."""
    left_lose: npt.NDArray[np.float64]
    """float64 (N, 3); as `lose`, likewise."""
    path: npt.NDArray[np.float64]
    """float64 (N, 2): weighted time until the subtask can begin [reward], and when that is [us]."""


def new_limits(num_subtasks: int, num_workers: int, max_attempts: int) -> Limits:
    """Allocates the limits of one episode."""
    calls = (num_subtasks, num_workers, max_attempts)
    sums = (num_subtasks, max_attempts + 1, 3)
    return Limits(
        can_win=np.zeros(calls, np.uint8),
        can_fail=np.zeros(calls, np.uint8),
        cost=np.zeros(calls),
        latency_us=np.zeros(calls),
        win=np.zeros(sums),
        lose=np.zeros(sums),
        quality=np.zeros((num_subtasks, 2)),
        left_win=np.zeros((num_subtasks, 3)),
        left_lose=np.zeros((num_subtasks, 3)),
        path=np.zeros((num_subtasks, 2)),
    )


@inlined
def depend_on_quality(problem: Problem) -> bool:
    """Tells whether limits become tighter once the quality of a parent is known."""
    coupling = problem.outcomes.simulation[3]
    return bool(problem.outcomes.kind[0] == SIMULATED and coupling > 0.0)


@inlined
def write_limits(problem: Problem, state: EpisodeState, r: int, limits: Limits) -> None:
    """Looks up every call that row r can still make."""
    for i in range(problem.num_subtasks[state.episode[r, WORKFLOW]]):
        status = state.subtask[r, i, STATUS]
        if status == SUCCEEDED:
            limits.quality[i, _LOWEST] = state.value[r, i, QUALITY]
            limits.quality[i, _HIGHEST] = state.value[r, i, QUALITY]
        elif status != FAILED:
            _write_calls(problem, state, r, i, limits)
            _write_sums(problem, state, r, i, limits)


@inlined
def _write_calls(problem: Problem, state: EpisodeState, r: int, i: int, limits: Limits) -> None:
    k = state.episode[r, WORKFLOW]
    task_type, query = problem.task_type[k, i], problem.query[k, i]
    limits.quality[i, _LOWEST] = 1.0
    limits.quality[i, _HIGHEST] = 0.0
    is_last = False
    for attempt in range(state.subtask[r, i, ATTEMPTS], problem.whole[MAX_ATTEMPTS]):
        for w in range(limits.cost.shape[1]):
            limits.can_win[i, w, attempt] = 0
            limits.can_fail[i, w, attempt] = 0
        any_fails = False
        for a in range(state.roster.shape[1]):
            w = state.roster[r, a]
            if is_last or w == NONE or not is_available(problem.outcomes, task_type, query, w):
                continue
            _write_call(problem, state, r, i, w, attempt, limits)
            any_fails = any_fails or limits.can_fail[i, w, attempt] == 1
        is_last = not any_fails  # then no further attempt is ever made


@inlined
def _write_call(
    problem: Problem, state: EpisodeState, r: int, i: int, w: int, attempt: int, limits: Limits
) -> None:
    """Looks one call up behind the best parents, then behind the worst; better never hurts."""
    k = state.episode[r, WORKFLOW]
    low = _parent_quality(problem, limits, k, i, _LOWEST)
    high = _parent_quality(problem, limits, k, i, _HIGHEST)
    for side in range(1 if low == high else 2):
        call = Call(
            state.episode[r, KEY],
            state.episode[r, NUMBER],
            i,
            problem.task_type[k, i],
            problem.query[k, i],
            w,
            attempt,
            high if side == 0 else low,
            0,
        )
        wins, quality, cost, latency = episode_outcome(problem, state, r, call)
        if side == 0:
            limits.cost[i, w, attempt] = state.weights[r, R_COST] * cost
            limits.latency_us[i, w, attempt] = float(latency)
            limits.can_win[i, w, attempt] = 1 if wins else 0
            if wins:
                limits.quality[i, _HIGHEST] = max(limits.quality[i, _HIGHEST], quality)
        limits.can_fail[i, w, attempt] = 0 if wins else 1
        if limits.can_win[i, w, attempt] == 1:
            limits.quality[i, _LOWEST] = min(limits.quality[i, _LOWEST], quality)


@inlined
def _parent_quality(problem: Problem, limits: Limits, k: int, i: int, side: int) -> float:
    """Returns the lowest or highest mean quality of the parents; 1 without any."""
    count = problem.num_parents[k, i]
    if count == 0:
        return 1.0
    total = 0.0
    for p in range(count):
        total += limits.quality[problem.parents[k, i, p], side]
    return total / float(count)


@inlined
def _write_sums(problem: Problem, state: EpisodeState, r: int, i: int, limits: Limits) -> None:
    """Sums up calls, from the last attempt back: the least to pay until success or failure."""
    last = problem.whole[MAX_ATTEMPTS]
    per_us = state.weights[r, R_LATENCY] / 1000.0
    for column in range(3):
        limits.win[i, last, column] = np.inf
        limits.lose[i, last, column] = 0.0
    for back in range(last - state.subtask[r, i, ATTEMPTS]):
        a = last - 1 - back
        win, lose = limits.win[i, a], limits.lose[i, a]
        served = False
        for column in range(3):
            win[column] = np.inf
            lose[column] = np.inf
        for w in range(limits.cost.shape[1]):
            can_win, can_fail = limits.can_win[i, w, a] == 1, limits.can_fail[i, w, a] == 1
            if not (can_win or can_fail):
                continue
            served = True
            for column in range(3):
                paid = weigh(limits.cost[i, w, a], limits.latency_us[i, w, a], per_us, column)
                after = 0.0 if can_win else limits.win[i, a + 1, column]
                win[column] = min(win[column], paid + after)
                if can_fail:
                    lose[column] = min(lose[column], paid + limits.lose[i, a + 1, column])
        if not served or not np.isinf(problem.budget_usd[0]):  # it may find no allowed worker
            for column in range(3):
                lose[column] = 0.0


@inlined
def weigh(cost: float, latency_us: float, per_us: float, column: int) -> float:
    """Returns what a call pays by one of the columns MONEY, BOTH and TIME."""
    if column == MONEY:
        return cost
    if column == TIME:
        return latency_us
    return cost + per_us * latency_us
