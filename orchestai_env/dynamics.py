"""The clock: dispatch, completion, retry and failure, for one episode (a row of arrays).

The transition is written once, here, as plain loops over the arrays of one row. Times are whole
microseconds since the episode began, money is USD. docs: class docstring of OrchestAIEnv.
"""

from __future__ import annotations

import math

from orchestai_env.compiled import inlined
from orchestai_env.counter_rng import below, philox
from orchestai_env.exact import product
from orchestai_env.outcomes.draw import UNKNOWN_US, WORKFLOW_CHOICE, Call, is_available
from orchestai_env.state import (
    ATTEMPTS,
    CALL_COST,
    CALL_RESERVED,
    CALLS,
    CLOCK,
    CONTINUE,
    COST,
    CURRENT,
    DEADLINE,
    END,
    ENDED,
    FAILED,
    FIRST_START,
    KEY,
    LAST_END,
    MAX_ATTEMPTS,
    MAX_PARALLEL,
    MAX_STEPS,
    NONE,
    NUMBER,
    ONGOING,
    ORDER,
    PAUSED,
    PENDING,
    QUALITY,
    R_COST,
    R_LATENCY,
    R_SHAPING,
    R_SUCCESS,
    READY,
    REPLACED,
    RUNNING,
    RUNS,
    START,
    STATUS,
    STEPS,
    SUCCEEDED,
    SUCCESSES,
    TERMINATED,
    TRUNCATED,
    WAITING,
    WINS,
    WORKER,
    WORKFLOW,
    EpisodeState,
    Problem,
)
from orchestai_env.variation import draw_variation, episode_outcome


@inlined
def reset_row(problem: Problem, state: EpisodeState, r: int, workflow: int) -> None:
    """Starts episode NUMBER of row r; draws its workflow where none is given (NONE).

    What is said of the last step (amounts, terms, reward, ended, summary) stays.
    """
    episode = state.episode[r]
    key, number = episode[KEY], episode[NUMBER]
    if workflow == NONE:
        word = philox(key, number, 0, 0, WORKFLOW_CHOICE)[0]
        workflow = below(word, len(problem.num_subtasks))
    for column in range(len(episode)):
        episode[column] = 0
    episode[KEY] = key
    episode[NUMBER] = number
    episode[WORKFLOW] = workflow
    state.spent[r] = 0.0
    for w in range(state.busy.shape[1]):
        state.busy[r, w] = 0
    for i in range(problem.num_subtasks[workflow]):
        _reset_subtask(problem, state, r, i)
    draw_variation(problem, state, r)
    _settle(problem, state, r, _next_decision(problem, state, r))


@inlined
def _reset_subtask(problem: Problem, state: EpisodeState, r: int, i: int) -> None:
    subtask = state.subtask[r, i]
    for column in range(len(subtask)):
        subtask[column] = NONE
    is_free = problem.num_parents[state.episode[r, WORKFLOW], i] == 0
    subtask[STATUS] = READY if is_free else PENDING
    subtask[ATTEMPTS] = 0
    for column in range(state.value.shape[2]):
        state.value[r, i, column] = 0.0
    for w in range(state.failures.shape[2]):
        state.failures[r, i, w] = 0


@inlined
def step_row(problem: Problem, state: EpisodeState, r: int, action: int) -> None:
    """Calls the worker of `action` on the current subtask and moves to the next decision or end."""
    episode = state.episode[r]
    for term in range(len(state.amounts[r])):
        state.amounts[r, term] = 0.0
    if episode[CURRENT] != NONE:  # else the episode ended without a decision
        _dispatch(problem, state, r, _allowed_action(state, r, action))
        episode[STEPS] += 1
        _advance(problem, state, r)
    account_row(problem, state, r)


@inlined
def resume_row(problem: Problem, state: EpisodeState, r: int, now_us: int) -> None:
    """Goes on with a step that is PAUSED; the caller has written what ended until now."""
    state.amounts[r, R_LATENCY] += float(now_us - state.episode[r, CLOCK]) / 1000.0
    state.episode[r, CLOCK] = now_us
    _advance(problem, state, r)
    account_row(problem, state, r)


@inlined
def account_row(problem: Problem, state: EpisodeState, r: int) -> None:
    """Turns the amounts of a step into its reward, and sums up an episode that has ended."""
    state.ended[r] = state.episode[r, ENDED]
    if state.ended[r] == PAUSED:
        return
    amounts, weights, terms = state.amounts[r], state.weights[r], state.terms[r]
    terms[R_SUCCESS] = product(weights[R_SUCCESS], amounts[R_SUCCESS])
    terms[R_COST] = 0.0 - product(weights[R_COST], amounts[R_COST])
    terms[R_LATENCY] = 0.0 - product(weights[R_LATENCY], amounts[R_LATENCY])
    terms[R_SHAPING] = product(weights[R_SHAPING], amounts[R_SHAPING])
    state.reward[r] = terms[R_SUCCESS] + terms[R_COST] + terms[R_LATENCY] + terms[R_SHAPING]
    if state.ended[r] != ONGOING:
        _summarise(problem, state, r)


@inlined
def _allowed_action(state: EpisodeState, r: int, action: int) -> int:
    """Returns the action, or the next allowed one, cyclically."""
    allowed = action
    while state.mask[r, allowed] == 0:
        allowed += 1
        if allowed == state.mask.shape[1]:
            allowed = 0
    if allowed != action:
        state.episode[r, REPLACED] += 1
    return allowed


@inlined
def _dispatch(problem: Problem, state: EpisodeState, r: int, action: int) -> None:
    """Queues a call of the action's worker on the current subtask and reserves its upper cost."""
    episode, i = state.episode[r], state.episode[r, CURRENT]
    worker = state.roster[r, action]
    task_type = problem.task_type[episode[WORKFLOW], i]
    state.value[r, i, CALL_RESERVED] = product(
        problem.cost_upper[task_type, worker], state.price[r, worker]
    )
    subtask = state.subtask[r, i]
    subtask[STATUS] = RUNNING
    subtask[WORKER] = worker
    subtask[ORDER] = episode[CALLS]
    subtask[START] = NONE
    episode[CALLS] += 1
    episode[WAITING] += 1
    episode[CURRENT] = NONE


@inlined
def _advance(problem: Problem, state: EpisodeState, r: int) -> None:
    """Moves the clock to the next decision, to a live call that has not ended, or to the end."""
    episode = state.episode[r]
    begun = episode[CLOCK]
    how = _next_decision(problem, state, r)
    if how == ONGOING and episode[STEPS] >= problem.whole[MAX_STEPS]:
        how = TRUNCATED
    state.amounts[r, R_LATENCY] += float(episode[CLOCK] - begun) / 1000.0
    _settle(problem, state, r, how)


@inlined
def _next_decision(problem: Problem, state: EpisodeState, r: int) -> int:
    """Moves the clock until a subtask is READY and has an allowed worker; tells how that ended."""
    episode = state.episode[r]
    abort = problem.whole[CONTINUE] == 0
    while True:
        _start_calls(problem, state, r)
        i = _next_ready(problem, state, r)
        if i != NONE:
            if _write_mask(problem, state, r, i):
                episode[CURRENT] = i
                return ONGOING
            state.subtask[r, i, STATUS] = FAILED  # no worker is allowed
            if abort:
                return TERMINATED
        elif episode[RUNS] == 0:
            return TERMINATED
        else:
            instant = _next_completion(problem, state, r)
            deadline = problem.whole[DEADLINE]
            if instant >= UNKNOWN_US and (deadline == NONE or episode[CLOCK] < deadline):
                return PAUSED
            if deadline != NONE and instant > deadline:
                episode[CLOCK] = deadline
                return TERMINATED
            episode[CLOCK] = max(episode[CLOCK], instant)  # a live call may have ended before
            if _complete_calls(problem, state, r) and abort:
                return TERMINATED


@inlined
def _next_ready(problem: Problem, state: EpisodeState, r: int) -> int:
    for i in range(problem.num_subtasks[state.episode[r, WORKFLOW]]):
        if state.subtask[r, i, STATUS] == READY:
            return i
    return NONE


@inlined
def _next_completion(problem: Problem, state: EpisodeState, r: int) -> int:
    instant = NONE
    for i in range(problem.num_subtasks[state.episode[r, WORKFLOW]]):
        subtask = state.subtask[r, i]
        is_open = subtask[STATUS] == RUNNING and subtask[START] != NONE
        if is_open and (instant == NONE or subtask[END] < instant):
            instant = subtask[END]
    return instant


@inlined
def _start_calls(problem: Problem, state: EpisodeState, r: int) -> None:
    """Starts waiting calls, first come first served, while slots are free."""
    episode = state.episode[r]
    n = problem.num_subtasks[episode[WORKFLOW]]
    while episode[WAITING] > 0 and episode[RUNS] < problem.whole[MAX_PARALLEL]:
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


@inlined
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
    success, quality, cost, latency = episode_outcome(problem, state, r, call)
    subtask[START] = episode[CLOCK]
    subtask[END] = episode[CLOCK] + latency
    subtask[WINS] = 1 if success else 0
    if subtask[FIRST_START] == NONE:
        subtask[FIRST_START] = episode[CLOCK]
    state.value[r, i, CALL_COST] = cost
    state.value[r, i, QUALITY] = quality
    state.busy[r, worker] += 1
    episode[WAITING] -= 1
    episode[RUNS] += 1


@inlined
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


@inlined
def _complete_calls(problem: Problem, state: EpisodeState, r: int) -> bool:
    """Processes all completions of this instant, by index; tells whether a subtask FAILED."""
    episode = state.episode[r]
    any_failed = False
    for i in range(problem.num_subtasks[episode[WORKFLOW]]):
        subtask = state.subtask[r, i]
        if subtask[STATUS] != RUNNING or subtask[START] == NONE or subtask[END] > episode[CLOCK]:
            continue
        _close_call(state, r, i)
        subtask[LAST_END] = subtask[END]
        subtask[ATTEMPTS] += 1
        if subtask[WINS] == 1:
            subtask[STATUS] = SUCCEEDED
            episode[SUCCESSES] += 1
            state.amounts[r, R_SHAPING] += 1.0
            _release_children(problem, state, r, i)
        else:
            state.failures[r, i, subtask[WORKER]] += 1
            exhausted = subtask[ATTEMPTS] >= problem.whole[MAX_ATTEMPTS]
            subtask[STATUS] = FAILED if exhausted else READY
            any_failed = any_failed or exhausted
    return any_failed


@inlined
def _close_call(state: EpisodeState, r: int, i: int) -> None:
    """Charges a started call and frees its slot; its reservation ends with its status."""
    worker, cost = state.subtask[r, i, WORKER], state.value[r, i, CALL_COST]
    state.value[r, i, COST] += cost
    state.spent[r] += cost
    state.amounts[r, R_COST] += cost
    state.busy[r, worker] -= 1
    state.episode[r, RUNS] -= 1


@inlined
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


@inlined
def _write_mask(problem: Problem, state: EpisodeState, r: int, i: int) -> bool:
    """Writes which actions may serve subtask i; tells whether any may."""
    k = state.episode[r, WORKFLOW]
    task_type, query = problem.task_type[k, i], problem.query[k, i]
    left = problem.budget_usd[0]
    if not math.isinf(left):
        left -= state.spent[r]
        for j in range(problem.num_subtasks[k]):
            if state.subtask[r, j, STATUS] == RUNNING:
                left -= state.value[r, j, CALL_RESERVED]
    any_allowed = False
    for a in range(state.mask.shape[1]):
        w = state.roster[r, a]
        allowed = (
            w != NONE
            and is_available(problem.outcomes, task_type, query, w)
            and product(problem.cost_upper[task_type, w], state.price[r, w]) <= left
        )
        state.mask[r, a] = 1 if allowed else 0
        any_allowed = any_allowed or allowed
    return any_allowed


@inlined
def _settle(problem: Problem, state: EpisodeState, r: int, how: int) -> None:
    """Notes how the episode stands; at its end charges started calls, pays, opens the mask."""
    episode = state.episode[r]
    episode[ENDED] = how
    if how == ONGOING or how == PAUSED:
        return
    n = problem.num_subtasks[episode[WORKFLOW]]
    for i in range(n):
        if state.subtask[r, i, STATUS] == RUNNING and state.subtask[r, i, START] != NONE:
            _close_call(state, r, i)
    if episode[SUCCESSES] == n:
        state.amounts[r, R_SUCCESS] = 1.0
    episode[CURRENT] = NONE
    for a in range(state.mask.shape[1]):
        state.mask[r, a] = 1


@inlined
def _summarise(problem: Problem, state: EpisodeState, r: int) -> None:
    """Writes what the ended episode did, in the order of SUMMARY."""
    episode, summary = state.episode[r], state.summary[r]
    succeeded = episode[SUCCESSES] == problem.num_subtasks[episode[WORKFLOW]]
    summary[0] = 1.0 if succeeded else 0.0
    summary[1] = state.spent[r]
    summary[2] = float(episode[CLOCK]) / 1000.0
    summary[3] = float(episode[STEPS])
    summary[4] = float(episode[REPLACED])
    summary[5] = float(episode[SUCCESSES])
