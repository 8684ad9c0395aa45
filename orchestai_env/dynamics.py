"""The clock: dispatch, completion, retry and failure, for one episode (a row of arrays).

The transition is written once, here, as plain loops over the arrays of one row. Times are whole
microseconds since the episode began, money is USD. docs: class docstring of OrchestAIEnv.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai_env.compiled import compiled
from orchestai_env.counter_rng import below, philox
from orchestai_env.outcomes.draw import WORKFLOW_CHOICE, Call, draw_outcome, is_available
from orchestai_env.outcomes.tables import OutcomeTables

PENDING, READY, RUNNING, SUCCEEDED, FAILED = range(5)
"""Status of a subtask."""
STATUS_NAMES = ("pending", "ready", "running", "succeeded", "failed")

ONGOING, TERMINATED, TRUNCATED = range(3)
"""How an episode stands."""

# Columns of EpisodeState.episode.
CLOCK, KEY, NUMBER, WORKFLOW, STEPS, CURRENT, CALLS, RUNS, REPLACED, ENDED, SUCCESSES = range(11)
# Columns of EpisodeState.subtask.
STATUS, ATTEMPTS, WORKER, ORDER, START, END, WINS, FIRST_START, LAST_END = range(9)
# Columns of EpisodeState.value.
COST, CALL_COST, CALL_RESERVED, QUALITY = range(4)
# Columns of Rules.whole.
MAX_ATTEMPTS, MAX_PARALLEL, CONTINUE, MAX_STEPS, DEADLINE = range(5)
# Columns of EpisodeState.terms and .weights, as reward.REWARD_TERMS.
R_SUCCESS, R_COST, R_LATENCY, R_SHAPING = range(4)

NONE = -1
"""No subtask, worker, time or deadline."""


class EpisodeState(NamedTuple):
    """State of n episodes; row r of every array is episode r. N subtasks, W workers."""

    episode: npt.NDArray[np.int64]
    """int64 (n, 11): clock [us], key of the random numbers, episode number, workflow, steps,
    subtask to decide on, calls made, calls running, masked actions replaced, ended, succeeded."""
    spent: npt.NDArray[np.float64]
    """float64 (n,) [USD]; cost of all ended calls."""
    subtask: npt.NDArray[np.int64]
    """int64 (n, N, 9): status, ended calls, worker, order, start and end [us] of the last call,
    whether it will succeed, start of the first and end of the last ended call [us]; NONE = not."""
    value: npt.NDArray[np.float64]
    """float64 (n, N, 4): cost of all calls, cost and reservation of the open one, quality."""
    failures: npt.NDArray[np.int64]
    """int64 (n, N, W); failed calls of the worker on the subtask."""
    busy: npt.NDArray[np.int64]
    """int64 (n, W); calls that the worker runs."""
    mask: npt.NDArray[np.int8]
    """int8 (n, W); 1 where the worker may be chosen for the current subtask."""
    terms: npt.NDArray[np.float64]
    """float64 (n, 4); signed reward terms of the last step."""
    weights: npt.NDArray[np.float64]
    """float64 (n, 4); success, per USD, per ms, per subtask."""
    plan: npt.NDArray[np.int64]
    """int64 (n, 2, N) [us]; earliest and latest expected end, see observation.py."""


class Problem(NamedTuple):
    """What does not change while episodes run. K workflows, T task types."""

    num_subtasks: npt.NDArray[np.int32]
    task_type: npt.NDArray[np.int32]
    query: npt.NDArray[np.int32]
    num_parents: npt.NDArray[np.int32]
    parents: npt.NDArray[np.int32]
    num_children: npt.NDArray[np.int32]
    children: npt.NDArray[np.int32]
    concurrency: npt.NDArray[np.int64]
    """int64 (W,); calls that the worker runs at once."""
    cost_upper: npt.NDArray[np.float64]
    """float64 (T, W) [USD]; what the budget reserves for a call."""
    whole: npt.NDArray[np.int64]
    """int64 (5,): max_attempts, max_parallel_tasks, continue after a failure, max_steps,
    deadline [us] or NONE."""
    budget_usd: npt.NDArray[np.float64]
    """float64 (1,) [USD]; inf = none."""
    outcomes: OutcomeTables


def new_state(n: int, max_subtasks: int, num_workers: int) -> EpisodeState:
    """Allocates the state of n episodes; `reset_row` fills it."""
    return EpisodeState(
        episode=np.zeros((n, 11), np.int64),
        spent=np.zeros(n),
        subtask=np.zeros((n, max_subtasks, 9), np.int64),
        value=np.zeros((n, max_subtasks, 4)),
        failures=np.zeros((n, max_subtasks, num_workers), np.int64),
        busy=np.zeros((n, num_workers), np.int64),
        mask=np.ones((n, num_workers), np.int8),
        terms=np.zeros((n, 4)),
        weights=np.zeros((n, 4)),
        plan=np.zeros((n, 2, max_subtasks), np.int64),
    )


@compiled
def reset_row(problem: Problem, state: EpisodeState, r: int, workflow: int) -> None:
    """Starts episode NUMBER of row r; draws its workflow where none is given (NONE)."""
    episode = state.episode[r]
    if workflow == NONE:
        word = philox(episode[KEY], episode[NUMBER], 0, 0, WORKFLOW_CHOICE)[0]
        workflow = below(word, len(problem.num_subtasks))
    key, number = episode[KEY], episode[NUMBER]
    episode[:] = 0
    episode[KEY] = key
    episode[NUMBER] = number
    episode[WORKFLOW] = workflow
    episode[CURRENT] = NONE
    state.spent[r] = 0.0
    state.value[r] = 0.0
    state.failures[r] = 0
    state.busy[r] = 0
    state.terms[r] = 0.0
    subtask = state.subtask[r]
    subtask[:] = NONE
    subtask[:, ATTEMPTS] = 0
    for i in range(len(subtask)):
        no_parents = problem.num_parents[workflow, i] == 0
        subtask[i, STATUS] = READY if no_parents else PENDING
    _advance(problem, state, r)


@compiled
def step_row(problem: Problem, state: EpisodeState, r: int, action: int) -> None:
    """Calls worker `action` on the current subtask and moves to the next decision or the end."""
    episode = state.episode[r]
    state.terms[r] = 0.0
    if episode[CURRENT] == NONE:  # the episode ended without a decision
        return
    num_workers = state.mask.shape[1]
    worker = action
    while state.mask[r, worker] == 0:
        worker = (worker + 1) % num_workers
    if worker != action:
        episode[REPLACED] += 1
    _dispatch(problem, state, r, worker)
    episode[STEPS] += 1
    _advance(problem, state, r)
    if episode[ENDED] == ONGOING and episode[STEPS] >= problem.whole[MAX_STEPS]:
        _end(problem, state, r, TRUNCATED)


@compiled
def _dispatch(problem: Problem, state: EpisodeState, r: int, worker: int) -> None:
    """Queues a call of the worker on the current subtask and reserves its upper cost."""
    episode, i = state.episode[r], state.episode[r, CURRENT]
    task_type = problem.task_type[episode[WORKFLOW], i]
    state.value[r, i, CALL_RESERVED] = problem.cost_upper[task_type, worker]
    subtask = state.subtask[r, i]
    subtask[STATUS] = RUNNING
    subtask[WORKER] = worker
    subtask[ORDER] = episode[CALLS]
    subtask[START] = NONE
    episode[CALLS] += 1
    episode[CURRENT] = NONE


@compiled
def _advance(problem: Problem, state: EpisodeState, r: int) -> None:
    """Moves the clock to the next decision, or ends the episode."""
    episode = state.episode[r]
    abort = problem.whole[CONTINUE] == 0
    _start_calls(problem, state, r)
    while True:
        i = _next_ready(problem, state, r)
        if i != NONE:
            if _write_mask(problem, state, r, i):
                episode[CURRENT] = i
                return
            state.subtask[r, i, STATUS] = FAILED  # no worker is allowed
            if abort:
                _end(problem, state, r, TERMINATED)
                return
        elif episode[RUNS] == 0:
            _end(problem, state, r, TERMINATED)
            return
        else:
            instant = _next_completion(problem, state, r)
            deadline = problem.whole[DEADLINE]
            if deadline != NONE and instant > deadline:
                _move_clock(state, r, deadline)
                _end(problem, state, r, TERMINATED)
                return
            _move_clock(state, r, instant)
            if _complete_calls(problem, state, r) and abort:
                _end(problem, state, r, TERMINATED)
                return
            _start_calls(problem, state, r)


@compiled
def _next_ready(problem: Problem, state: EpisodeState, r: int) -> int:
    for i in range(problem.num_subtasks[state.episode[r, WORKFLOW]]):
        if state.subtask[r, i, STATUS] == READY:
            return i
    return NONE


@compiled
def _next_completion(problem: Problem, state: EpisodeState, r: int) -> int:
    instant = NONE
    for i in range(problem.num_subtasks[state.episode[r, WORKFLOW]]):
        subtask = state.subtask[r, i]
        is_open = subtask[STATUS] == RUNNING and subtask[START] != NONE
        if is_open and (instant == NONE or subtask[END] < instant):
            instant = subtask[END]
    return instant


@compiled
def _move_clock(state: EpisodeState, r: int, instant: int) -> None:
    elapsed_ms = float(instant - state.episode[r, CLOCK]) / 1000.0
    state.terms[r, R_LATENCY] -= state.weights[r, R_LATENCY] * elapsed_ms
    state.episode[r, CLOCK] = instant


@compiled
def _start_calls(problem: Problem, state: EpisodeState, r: int) -> None:
    """Starts waiting calls, first come first served, while slots are free."""
    episode = state.episode[r]
    n = problem.num_subtasks[episode[WORKFLOW]]
    while episode[RUNS] < problem.whole[MAX_PARALLEL]:
        first = NONE
        for i in range(n):
            subtask = state.subtask[r, i]
            if subtask[STATUS] != RUNNING or subtask[START] != NONE:
                continue
            worker = subtask[WORKER]
            if state.busy[r, worker] < problem.concurrency[worker] and (
                first == NONE or subtask[ORDER] < state.subtask[r, first, ORDER]
            ):
                first = i
        if first == NONE:
            return
        _start_call(problem, state, r, first)


@compiled
def _start_call(problem: Problem, state: EpisodeState, r: int, i: int) -> None:
    episode, subtask = state.episode[r], state.subtask[r, i]
    k, worker = episode[WORKFLOW], subtask[WORKER]
    call = Call(
        episode[KEY],
        episode[NUMBER],
        i,
        problem.task_type[k, i],
        problem.query[k, i],
        worker,
        subtask[ATTEMPTS],
        parent_quality(problem, state, r, i),
        state.busy[r, worker],
    )
    success, quality, cost, latency = draw_outcome(problem.outcomes, call)
    subtask[START] = episode[CLOCK]
    subtask[END] = episode[CLOCK] + latency
    subtask[WINS] = 1 if success else 0
    if subtask[FIRST_START] == NONE:
        subtask[FIRST_START] = episode[CLOCK]
    state.value[r, i, CALL_COST] = cost
    state.value[r, i, QUALITY] = quality
    state.busy[r, worker] += 1
    episode[RUNS] += 1


@compiled
def parent_quality(problem: Problem, state: EpisodeState, r: int, i: int) -> float:
    """Returns the mean quality of the subtasks that subtask i depends on; 1 without any."""
    k = state.episode[r, WORKFLOW]
    count = problem.num_parents[k, i]
    if count == 0:
        return 1.0
    total = 0.0
    for p in range(count):
        total += state.value[r, problem.parents[k, i, p], QUALITY]
    return total / float(count)


@compiled
def _complete_calls(problem: Problem, state: EpisodeState, r: int) -> bool:
    """Processes all completions of this instant, by index; tells whether a subtask FAILED."""
    episode = state.episode[r]
    any_failed = False
    for i in range(problem.num_subtasks[episode[WORKFLOW]]):
        subtask = state.subtask[r, i]
        if subtask[STATUS] != RUNNING or subtask[START] == NONE or subtask[END] > episode[CLOCK]:
            continue
        _close_call(state, r, i)
        subtask[LAST_END] = episode[CLOCK]
        subtask[ATTEMPTS] += 1
        if subtask[WINS] == 1:
            subtask[STATUS] = SUCCEEDED
            episode[SUCCESSES] += 1
            state.terms[r, R_SHAPING] += state.weights[r, R_SHAPING]
            _release_children(problem, state, r, i)
        else:
            state.failures[r, i, subtask[WORKER]] += 1
            exhausted = subtask[ATTEMPTS] >= problem.whole[MAX_ATTEMPTS]
            subtask[STATUS] = FAILED if exhausted else READY
            any_failed = any_failed or exhausted
    return any_failed


@compiled
def _close_call(state: EpisodeState, r: int, i: int) -> None:
    """Charges a started call and frees its slot; its reservation ends with its status."""
    worker, cost = state.subtask[r, i, WORKER], state.value[r, i, CALL_COST]
    state.value[r, i, COST] += cost
    state.spent[r] += cost
    state.terms[r, R_COST] -= state.weights[r, R_COST] * cost
    state.busy[r, worker] -= 1
    state.episode[r, RUNS] -= 1


@compiled
def _release_children(problem: Problem, state: EpisodeState, r: int, i: int) -> None:
    k = state.episode[r, WORKFLOW]
    for c in range(problem.num_children[k, i]):
        child = problem.children[k, i, c]
        ready = True
        for p in range(problem.num_parents[k, child]):
            if state.subtask[r, problem.parents[k, child, p], STATUS] != SUCCEEDED:
                ready = False
        if ready:
            state.subtask[r, child, STATUS] = READY


@compiled
def _write_mask(problem: Problem, state: EpisodeState, r: int, i: int) -> bool:
    """Writes which workers may serve subtask i; tells whether any may."""
    k = state.episode[r, WORKFLOW]
    task_type, query = problem.task_type[k, i], problem.query[k, i]
    left = problem.budget_usd[0] - state.spent[r]
    for j in range(problem.num_subtasks[k]):
        if state.subtask[r, j, STATUS] == RUNNING:
            left -= state.value[r, j, CALL_RESERVED]
    any_allowed = False
    for w in range(state.mask.shape[1]):
        allowed = (
            is_available(problem.outcomes, task_type, query, w)
            and problem.cost_upper[task_type, w] <= left
        )
        state.mask[r, w] = 1 if allowed else 0
        any_allowed = any_allowed or allowed
    return any_allowed


@compiled
def _end(problem: Problem, state: EpisodeState, r: int, how: int) -> None:
    """Ends the episode: charges started calls in full, pays success, opens the mask."""
    episode = state.episode[r]
    n = problem.num_subtasks[episode[WORKFLOW]]
    for i in range(n):
        if state.subtask[r, i, STATUS] == RUNNING and state.subtask[r, i, START] != NONE:
            _close_call(state, r, i)
    if episode[SUCCESSES] == n:
        state.terms[r, R_SUCCESS] += state.weights[r, R_SUCCESS]
    episode[ENDED] = how
    episode[CURRENT] = NONE
    state.mask[r] = 1
