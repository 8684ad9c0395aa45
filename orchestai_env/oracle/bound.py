"""An upper bound on the reward that an episode can still earn, for somebody who knows all outcomes.

It weighs two ends. The workflow succeeds: every open subtask pays for its cheapest way to success,
and those on one path pay for their time too; the path that hurts most counts. Or it does not: a
subtask fails for good and pays for that, the others earn their shaping where it covers their cost.
A call that runs is charged either way.
"""

from __future__ import annotations

import numpy as np

from orchestai_env.compiled import inlined
from orchestai_env.oracle.limits import BEGIN, BOTH, EXTRA, MONEY, TIME, Limits, weigh
from orchestai_env.state import (
    ATTEMPTS,
    CALL_COST,
    CLOCK,
    CONTINUE,
    DEADLINE,
    END,
    FAILED,
    MAX_ATTEMPTS,
    MAX_STEPS,
    NONE,
    PENDING,
    R_COST,
    R_LATENCY,
    R_SHAPING,
    R_SUCCESS,
    RUNNING,
    START,
    STATUS,
    STEPS,
    SUCCEEDED,
    WINS,
    WORKER,
    WORKFLOW,
    EpisodeState,
    Problem,
)


@inlined
def reward_bound(problem: Problem, state: EpisodeState, r: int, limits: Limits) -> float:
    """Returns what row r earns at most from here on.

    Args:
        problem: the problem of the episode.
        state: row r has not ended, and can be reached from what `limits` were written for.
        r: row.
        limits: filled by `write_limits` for that episode; its last three arrays are overwritten.
    """
    n = problem.num_subtasks[state.episode[r, WORKFLOW]]
    running = 0.0
    for i in range(n):
        running += _write_left(problem, state, r, i, limits)
    _write_paths(problem, state, r, limits)
    failure = _failure_bound(problem, state, r, limits)
    return max(_success_bound(problem, state, r, limits), failure) - running


@inlined
def _write_left(problem: Problem, state: EpisodeState, r: int, i: int, limits: Limits) -> float:
    """Writes what subtask i still pays at least; returns the weighted cost of its running call."""
    subtask = state.subtask[r, i]
    win, lose = limits.left_win[i], limits.left_lose[i]
    status, a = subtask[STATUS], subtask[ATTEMPTS]
    if status == SUCCEEDED or status == FAILED:
        for column in range(3):
            win[column] = 0.0 if status == SUCCEEDED else np.inf
            lose[column] = np.inf
        return 0.0
    if status != RUNNING:
        for column in range(3):
            win[column] = limits.win[i, a, column]
            lose[column] = limits.lose[i, a, column]
        return 0.0
    w = subtask[WORKER]
    running = 0.0
    if subtask[START] == NONE:
        cost, latency_us = limits.cost[i, w, a], limits.latency_us[i, w, a]
        can_win, can_fail = limits.can_win[i, w, a] == 1, limits.can_fail[i, w, a] == 1
    else:
        running = state.weights[r, R_COST] * state.value[r, i, CALL_COST]
        cost, latency_us = 0.0, float(subtask[END] - state.episode[r, CLOCK])
        can_win, can_fail = subtask[WINS] == 1, subtask[WINS] == 0
    per_us = state.weights[r, R_LATENCY] / 1000.0
    for column in range(3):
        paid = weigh(cost, latency_us, per_us, column)
        win[column] = paid + (0.0 if can_win else limits.win[i, a + 1, column])
        lose[column] = paid + limits.lose[i, a + 1, column] if can_fail else np.inf
    return running


@inlined
def _write_paths(problem: Problem, state: EpisodeState, r: int, limits: Limits) -> None:
    """Writes when each subtask can begin at the earliest; what never can neither wins nor loses."""
    k = state.episode[r, WORKFLOW]
    for i in range(problem.num_subtasks[k]):
        extra, begin = 0.0, float(state.episode[r, CLOCK])
        for p in range(problem.num_parents[k, i]):
            parent = problem.parents[k, i, p]
            win = limits.left_win[parent]
            if np.isinf(win[MONEY]):
                extra, begin = np.inf, np.inf
            else:
                extra = max(extra, limits.path[parent, EXTRA] + win[BOTH] - win[MONEY])
                begin = max(begin, limits.path[parent, BEGIN] + win[TIME])
        limits.path[i, EXTRA] = extra
        limits.path[i, BEGIN] = begin
        if np.isinf(extra):
            for column in range(3):
                limits.left_win[i, column] = np.inf
                limits.left_lose[i, column] = np.inf


@inlined
def _success_bound(problem: Problem, state: EpisodeState, r: int, limits: Limits) -> float:
    """Returns the most that a workflow which succeeds can earn, running calls not charged."""
    weights = state.weights[r]
    total, longest = weights[R_SUCCESS], 0.0
    deadline, decisions = problem.whole[DEADLINE], 0
    for i in range(problem.num_subtasks[state.episode[r, WORKFLOW]]):
        status = state.subtask[r, i, STATUS]
        win = limits.left_win[i]
        if np.isinf(win[MONEY]):
            return -np.inf
        if status == SUCCEEDED:
            continue
        if deadline != NONE and limits.path[i, BEGIN] + win[TIME] > float(deadline):
            return -np.inf
        if status != RUNNING:
            decisions += 1
        total += weights[R_SHAPING] - win[MONEY]
        longest = max(longest, limits.path[i, EXTRA] + win[BOTH] - win[MONEY])
    if decisions > problem.whole[MAX_STEPS] - state.episode[r, STEPS]:
        return -np.inf
    return float(total - longest)


@inlined
def _failure_bound(problem: Problem, state: EpisodeState, r: int, limits: Limits) -> float:
    """Returns the most that a workflow which does not succeed can earn, likewise."""
    shaping = state.weights[r, R_SHAPING]
    gains, most, decisions = 0.0, -np.inf, 0
    for i in range(problem.num_subtasks[state.episode[r, WORKFLOW]]):
        status = state.subtask[r, i, STATUS]
        if status == SUCCEEDED or status == FAILED:
            continue
        gain = max(0.0, shaping - limits.left_win[i, MONEY])
        gains += gain
        most = max(most, -gain - limits.path[i, EXTRA] - limits.left_lose[i, BOTH])
        decisions += problem.whole[MAX_ATTEMPTS] - state.subtask[r, i, ATTEMPTS]
        if status == RUNNING:
            decisions -= 1
    if problem.whole[CONTINUE] == 1:
        bound = _exhausted_bound(problem, state, r, limits)
    else:
        bound = gains + most
    deadline = problem.whole[DEADLINE]
    if deadline != NONE:
        left_us = float(deadline - state.episode[r, CLOCK])
        bound = max(bound, gains - state.weights[r, R_LATENCY] / 1000.0 * left_us)
    if decisions > problem.whole[MAX_STEPS] - state.episode[r, STEPS]:
        bound = max(bound, gains)
    return bound


@inlined
def _exhausted_bound(problem: Problem, state: EpisodeState, r: int, limits: Limits) -> float:
    """Returns the most where the episode goes on until nothing is left that can run.

    So every subtask that is READY or RUNNING succeeds or fails for good, and the one whose time
    hurts most pays for it.
    """
    shaping = state.weights[r, R_SHAPING]
    total, longest = 0.0, 0.0
    for i in range(problem.num_subtasks[state.episode[r, WORKFLOW]]):
        status = state.subtask[r, i, STATUS]
        if status == SUCCEEDED or status == FAILED:
            continue
        win, lose = limits.left_win[i], limits.left_lose[i]
        if status == PENDING:
            total += max(0.0, shaping - win[MONEY])
        else:
            free = max(shaping - win[MONEY], -lose[MONEY])
            total += free
            longest = max(longest, free - max(shaping - win[BOTH], -lose[BOTH]))
    return total - longest
