"""Writing observations: from the state of an episode into a row of the buffers, compiled.

A buffer remembers which workflow and which texts it holds, so that only what has changed is
written; see `Observation.held`.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from orchestai_env.compiled import compiled, inlined
from orchestai_env.features import Features
from orchestai_env.observation import (
    HELD_INSTRUCTION,
    HELD_QUERY,
    HELD_WORKFLOW,
    KEPT,
    NEW_INSTRUCTION,
    NEW_QUERY,
    WORKER_FEATURES,
    Observation,
)
from orchestai_env.state import (
    ATTEMPTS,
    CLOCK,
    CURRENT,
    DEADLINE,
    MAX_PARALLEL,
    NONE,
    PENDING,
    QUALITY,
    R_COST,
    R_LATENCY,
    R_SHAPING,
    R_SUCCESS,
    RUNNING,
    RUNS,
    START,
    STATUS,
    STATUS_NAMES,
    SUCCEEDED,
    SUCCESSES,
    VARIES,
    WORKER,
    WORKFLOW,
    EpisodeState,
    Problem,
)
from orchestai_env.variation import slowed
from orchestai_env.workers import KINDS

_NUM_KINDS, _NUM_STATUSES, _WORKER_WIDTH = len(KINDS), len(STATUS_NAMES), len(WORKER_FEATURES)


@inlined
def write_observation(
    problem: Problem, features: Features, state: EpisodeState, out: Observation, r: int
) -> None:
    """Writes the observation of episode row r into row r of the buffers."""
    write_features(problem, features, state, out, r)
    copy_embeddings(features, out, r, 0, 1)


@inlined
def write_features(
    problem: Problem, features: Features, state: EpisodeState, out: Observation, r: int
) -> None:
    """Writes all keys but the embeddings, and notes which embeddings are to be copied."""
    k, i = state.episode[r, WORKFLOW], state.episode[r, CURRENT]
    if out.action_mask.shape[1] > 0:
        for a in range(out.action_mask.shape[1]):
            out.action_mask[r, a] = state.mask[r, a]
    if out.held[r, HELD_WORKFLOW] != k:
        _write_workflow(problem, features, out, r, k)
    if out.subtasks.shape[1] > 0 or out.context.shape[1] > 0:
        _write_plan(problem, features, state, out, r)
    if out.workers.shape[1] > 0:
        _write_workers(problem, features, state, out.workers[r], r)
    query = NONE if i == NONE else problem.query[k, i]
    _note_embedding(out.held[r], HELD_INSTRUCTION, NEW_INSTRUCTION, problem.instruction[k])
    _note_embedding(out.held[r], HELD_QUERY, NEW_QUERY, query)


@inlined
def _note_embedding(held: npt.NDArray[np.int64], old: int, new: int, row: int) -> None:
    held[new] = KEPT if held[old] == row else row
    held[old] = row


@inlined
def copy_embeddings(features: Features, out: Observation, r: int, lane: int, lanes: int) -> None:
    """Copies the noted embeddings; lane l of L copies every L-th number from the l-th."""
    if out.instruction.shape[1] > 0:
        new = out.held[r, NEW_INSTRUCTION]
        _copy_row(features.instructions, new, out.instruction[r], lane, lanes)
    if out.subtask.shape[1] > 0:
        _copy_row(features.queries, out.held[r, NEW_QUERY], out.subtask[r], lane, lanes)


@inlined
def _copy_row(
    table: npt.NDArray[np.float32], row: int, out: npt.NDArray[np.float32], lane: int, lanes: int
) -> None:
    if row == NONE:
        for d in range(lane, len(out), lanes):
            out[d] = 0.0
    elif row != KEPT:
        source = table[row]
        for d in range(lane, len(out), lanes):
            out[d] = source[d]


@inlined
def forget(out: Observation, r: int) -> None:
    """Clears row r and what is noted of it, so that all of it is written anew."""
    for i in range(out.subtasks.shape[1]):
        for column in range(out.subtasks.shape[2]):
            out.subtasks[r, i, column] = 0.0
    for i in range(out.adjacency.shape[1]):
        for j in range(out.adjacency.shape[2]):
            out.adjacency[r, i, j] = 0.0
    out.held[r, HELD_WORKFLOW] = NONE
    out.held[r, HELD_INSTRUCTION] = KEPT
    out.held[r, HELD_QUERY] = KEPT


@inlined
def _write_workflow(problem: Problem, features: Features, out: Observation, r: int, k: int) -> None:
    """Writes what depends on the workflow alone, and clears what the last one leaves."""
    old = out.held[r, HELD_WORKFLOW]
    used = 0 if old == NONE else problem.num_subtasks[old]
    out.held[r, HELD_WORKFLOW] = k
    n = problem.num_subtasks[k]
    if out.subtasks.shape[1] > 0:
        for i in range(max(used, n)):
            _write_fixed(problem, features, out.subtasks[r, i], k, i)
    if out.adjacency.shape[1] > 0:
        adjacency = out.adjacency[r]
        for i in range(max(used, n)):
            for j in range(used):
                adjacency[i, j] = 0.0
            if i < n:
                for c in range(problem.num_children[k, i]):
                    adjacency[i, problem.children[k, i, c]] = 1.0


@inlined
def _write_fixed(
    problem: Problem, features: Features, out: npt.NDArray[np.float32], k: int, i: int
) -> None:
    for column in range(len(out)):
        out[column] = 0.0
    if i >= problem.num_subtasks[k]:
        return
    t, q = problem.task_type[k, i], problem.query[k, i]
    skills = features.predicted[q] if features.has_predictions[0] == 1 else features.success[t]
    total = 0.0
    for w in range(len(skills)):
        total += float(skills[w])
    out[0] = 1.0
    out[1 + t] = 1.0
    out[1 + len(features.typical_us)] = 1.0 - total / float(len(skills))


@inlined
def _write_workers(
    problem: Problem,
    features: Features,
    state: EpisodeState,
    workers: npt.NDArray[np.float32],
    r: int,
) -> None:
    k, i = state.episode[r, WORKFLOW], state.episode[r, CURRENT]
    if i == NONE:
        for a in range(len(workers)):
            for column in range(_WORKER_WIDTH):
                workers[a, column] = 0.0
        return
    t, q = problem.task_type[k, i], problem.query[k, i]
    is_known = features.has_predictions[0] == 0 and problem.whole[VARIES] == 0
    for a in range(len(workers)):
        w, out = state.roster[r, a], workers[a]
        if w == NONE:
            for column in range(_WORKER_WIDTH):
                out[column] = 0.0
            continue
        if is_known:
            known = features.workers[t, w]
            for column in range(_WORKER_WIDTH):
                out[column] = known[column]
        else:
            predicted = features.has_predictions[0] == 1
            success = features.predicted[q, w] if predicted else features.success[t, w]
            cost_usd = features.cost_usd[t, w] * state.price[r, w]
            latency_us = slowed(features.expected_us[t, w], state.slowness[r, w])
            _write_known(features, state.weights[r], success, cost_usd, latency_us, w, out)
        free = max(0, problem.concurrency[w] - state.busy[r, w])
        out[4] = float(free) * features.slot_share[w]
        out[5] = float(state.failures[r, i, w]) * problem.attempt_share[0]


@compiled
def fill_known_workers(features: Features, weights: npt.NDArray[np.float64]) -> None:
    """Fills `features.workers` for weights, prices and latencies that do not vary."""
    for t in range(features.workers.shape[0]):
        for w in range(features.workers.shape[1]):
            success, cost_usd = features.success[t, w], features.cost_usd[t, w]
            latency_us, out = features.expected_us[t, w], features.workers[t, w]
            _write_known(features, weights, success, cost_usd, latency_us, w, out)


@inlined
def _write_known(
    features: Features,
    weights: npt.NDArray[np.float64],
    success: float,
    cost_usd: float,
    latency_us: int,
    w: int,
    out: npt.NDArray[np.float32],
) -> None:
    """Writes what is known of a worker before the episode; free slots and failures stay 0."""
    out[0] = cost_usd / (cost_usd + features.scale[0])
    out[1] = float(latency_us) / (float(latency_us) + features.scale[1])
    out[2] = success
    out[3] = _expected_value(weights, success, cost_usd, float(latency_us) / 1000.0)
    out[4] = 0.0
    out[5] = 0.0
    for kind in range(_NUM_KINDS):
        out[6 + kind] = features.kind[w, kind]


@inlined
def _expected_value(
    weights: npt.NDArray[np.float64], success: float, cost_usd: float, latency_ms: float
) -> float:
    """Returns what a call is expected to earn, as if success paid at once; 0..1, 0.5 = nothing.

    In units of the success weight, cut at -1. It tells the policy what prices and latencies mean
    under the weights in force, which the squashed features do not.
    """
    paid = max(weights[R_SUCCESS] + weights[R_SHAPING], 1e-9)
    charge = weights[R_COST] * cost_usd + weights[R_LATENCY] * latency_ms
    return float(0.5 + 0.5 * max(-1.0, success - charge / paid))


@inlined
def _write_plan(
    problem: Problem, features: Features, state: EpisodeState, out: Observation, r: int
) -> None:
    """Writes what changes of subtasks and context; both need the expected schedule."""
    n = problem.num_subtasks[state.episode[r, WORKFLOW]]
    finish, latest = state.plan[r, 0], state.plan[r, 1]
    horizon = _expected_schedule(problem, features, state, r, finish, latest)
    if out.subtasks.shape[1] > 0:
        for i in range(n):
            slack = float(latest[i] - finish[i])
            _write_subtask(problem, features, state, out.subtasks[r, i], r, i, slack)
    if out.context.shape[1] > 0:
        left = float(horizon - state.episode[r, CLOCK])
        _write_context(problem, features, state, out.context[r], r, left)


@inlined
def _expected_schedule(
    problem: Problem,
    features: Features,
    state: EpisodeState,
    r: int,
    finish: npt.NDArray[np.int64],
    latest: npt.NDArray[np.int64],
) -> int:
    """Fills earliest and latest expected end [us] of every subtask; returns the expected makespan.

    An open call is expected to take its worker's mean latency, what has not begun the mean over
    workers; queues are left out. latest - finish is the slack to the critical path.
    """
    k, now = state.episode[r, WORKFLOW], state.episode[r, CLOCK]
    n = problem.num_subtasks[k]
    horizon = now
    for i in range(n):
        t = problem.task_type[k, i]
        subtask = state.subtask[r, i]
        finish[i] = now
        if subtask[STATUS] == RUNNING:
            w = subtask[WORKER]
            begun = now if subtask[START] == NONE else subtask[START]
            finish[i] = max(now, begun + slowed(features.expected_us[t, w], state.slowness[r, w]))
        elif subtask[STATUS] <= RUNNING:  # PENDING or READY
            for p in range(problem.num_parents[k, i]):
                finish[i] = max(finish[i], finish[problem.parents[k, i, p]])
            finish[i] += features.typical_us[t]
        horizon = max(horizon, finish[i])
    for back in range(n):
        i = n - 1 - back
        latest[i] = horizon
        for c in range(problem.num_children[k, i]):
            child = problem.children[k, i, c]
            if state.subtask[r, child, STATUS] == PENDING:
                begin = latest[child] - features.typical_us[problem.task_type[k, child]]
                latest[i] = min(latest[i], begin)
    return int(horizon)


@inlined
def _write_subtask(
    problem: Problem,
    features: Features,
    state: EpisodeState,
    out: npt.NDArray[np.float32],
    r: int,
    i: int,
    slack_us: float,
) -> None:
    subtask = state.subtask[r, i]
    status = subtask[STATUS]
    first = 2 + len(features.typical_us)
    for column in range(_NUM_STATUSES):
        out[first + column] = 1.0 if column == status else 0.0
    out[first + 5] = float(subtask[ATTEMPTS]) * problem.attempt_share[0]
    out[first + 6] = state.value[r, i, QUALITY] if status == SUCCEEDED else 0.0
    out[first + 7] = slack_us / (slack_us + features.scale[1]) if status < SUCCEEDED else 0.0
    out[first + 8] = 1.0 if i == state.episode[r, CURRENT] else 0.0


@inlined
def _write_context(
    problem: Problem,
    features: Features,
    state: EpisodeState,
    out: npt.NDArray[np.float32],
    r: int,
    left_us: float,
) -> None:
    clock = float(state.episode[r, CLOCK])
    spent, budget = state.spent[r], problem.budget_usd[0]
    deadline = problem.whole[DEADLINE]
    cost_scale, time_scale = features.scale
    n = problem.num_subtasks[state.episode[r, WORKFLOW]]
    # A workflow takes a few calls, so its sums reach 0.5 at 10 mean calls.
    out[0] = clock / (clock + 10.0 * time_scale)
    out[1] = spent / (spent + 10.0 * cost_scale)
    out[2] = 1.0 if math.isinf(budget) else max(0.0, budget - spent) / budget
    out[3] = 1.0 if deadline == NONE else max(0.0, float(deadline) - clock) / float(deadline)
    weights = state.weights[r]
    out[4] = weights[R_SUCCESS] / (weights[R_SUCCESS] + 10.0)
    out[5] = weights[R_COST] / (weights[R_COST] + 100.0)
    out[6] = weights[R_LATENCY] / (weights[R_LATENCY] + 1e-3)
    out[7] = weights[R_SHAPING] / (weights[R_SHAPING] + 1.0)
    out[8] = float(state.episode[r, SUCCESSES]) / float(n)
    out[9] = float(state.episode[r, RUNS]) / float(problem.whole[MAX_PARALLEL])
    out[10] = left_us / (left_us + 10.0 * time_scale)
