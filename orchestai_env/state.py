"""The arrays that the transition reads and writes, and the names of their columns."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai_env.outcomes.tables import OutcomeTables, empty_tables

PENDING, READY, RUNNING, SUCCEEDED, FAILED = range(5)
"""Status of a subtask."""
STATUS_NAMES = ("pending", "ready", "running", "succeeded", "failed")

ONGOING, TERMINATED, TRUNCATED, PAUSED = range(4)
"""How an episode stands; PAUSED = a step that waits for a live call to end."""

# Columns of EpisodeState.episode.
(
    CLOCK,
    KEY,
    NUMBER,
    WORKFLOW,
    STEPS,
    CURRENT,
    CALLS,
    WAITING,
    RUNS,
    REPLACED,
    ENDED,
    SUCCESSES,
) = range(12)
# Columns of EpisodeState.subtask.
STATUS, ATTEMPTS, WORKER, ORDER, START, END, WINS, FIRST_START, LAST_END = range(9)
# Columns of EpisodeState.value.
COST, CALL_COST, CALL_RESERVED, QUALITY = range(4)
# Columns of Problem.whole.
MAX_ATTEMPTS, MAX_PARALLEL, CONTINUE, MAX_STEPS, DEADLINE, SHUFFLE, MIN_WORKERS, VARIES = range(8)
# Columns of EpisodeState.amounts and .weights, and of Problem.weights, as reward.REWARD_TERMS.
R_SUCCESS, R_COST, R_LATENCY, R_SHAPING = range(4)
# Rows of Problem.spread.
PREFERENCE_SPREAD, PRICE_SPREAD, LATENCY_SPREAD = range(3)

NONE = -1
"""No subtask, worker, time or deadline."""

SUMMARY = ("is_success", "total_cost", "total_latency_ms", "steps", "masked_actions", "succeeded")
"""Columns of EpisodeState.summary: what an ended episode did; cost in USD, latency in ms."""


class EpisodeState(NamedTuple):
    """State of n episodes; row r of every array is episode r. W workers.

    N is the largest number of subtasks in the data; what lies beyond a workflow's own means
    nothing.
    """

    episode: npt.NDArray[np.int64]
    """int64 (n, 12): clock [us], key of the random numbers, episode number, workflow, steps,
    subtask to decide on, calls made, calls waiting, calls running, masked actions replaced, ended,
    subtasks succeeded."""
    spent: npt.NDArray[np.float64]
    """float64 (n,) [USD]; cost of all ended calls."""
    subtask: npt.NDArray[np.int64]
    """int64 (n, N, 9): status, ended calls, worker, order, start and end [us] of the last call,
    whether it will succeed, start of the first and end of the last ended call [us]; NONE = not."""
    value: npt.NDArray[np.float64]
    """float64 (n, N, 4): cost of all calls, cost and reservation of the open one, quality."""
    failures: npt.NDArray[np.int16]
    """int16 (n, N, W); failed calls of the worker on the subtask."""
    busy: npt.NDArray[np.int32]
    """int32 (n, W); calls that the worker runs."""
    roster: npt.NDArray[np.int32]
    """int32 (n, W); worker that each action calls, NONE where it is absent from the episode."""
    price: npt.NDArray[np.float64]
    """float64 (n, W); factor on the costs of the worker in this episode."""
    slowness: npt.NDArray[np.float64]
    """float64 (n, W); factor on the latencies of the worker in this episode."""
    mask: npt.NDArray[np.int8]
    """int8 (n, W); 1 where the action may be chosen for the current subtask."""
    amounts: npt.NDArray[np.float64]
    """float64 (n, 4); of the last step: workflow succeeded (0 or 1), cost [USD], time passed [ms],
    newly succeeded subtasks."""
    weights: npt.NDArray[np.float64]
    """float64 (n, 4); success, per USD, per ms, per subtask."""
    reward: npt.NDArray[np.float64]
    """float64 (n,); of the last step."""
    terms: npt.NDArray[np.float64]
    """float64 (n, 4); signed terms of that reward."""
    ended: npt.NDArray[np.int64]
    """int64 (n,); how the last step left the episode; kept when the row restarts."""
    summary: npt.NDArray[np.float64]
    """float64 (n, 6); of the last ended episode, see SUMMARY."""
    plan: npt.NDArray[np.int64]
    """int64 (n, 2, N) [us]; earliest and latest expected end, see observe.py."""


class Problem(NamedTuple):
    """What does not change while episodes run. K workflows of at most N subtasks, T task types."""

    num_subtasks: npt.NDArray[np.int32]
    task_type: npt.NDArray[np.int32]
    query: npt.NDArray[np.int32]
    instruction: npt.NDArray[np.int32]
    num_parents: npt.NDArray[np.int32]
    parents: npt.NDArray[np.int32]
    num_children: npt.NDArray[np.int32]
    children: npt.NDArray[np.int32]
    concurrency: npt.NDArray[np.int64]
    """int64 (W,); calls that the worker runs at once."""
    cost_upper: npt.NDArray[np.float64]
    """float64 (T, W) [USD]; what the budget reserves for a call."""
    whole: npt.NDArray[np.int64]
    """int64 (8,): max_attempts, max_parallel_tasks, continue after a failure, max_steps,
    deadline [us] or NONE, shuffle workers, fewest workers, whether anything varies by episode."""
    attempt_share: npt.NDArray[np.float64]
    """float64 (1,); one by max_attempts."""
    budget_usd: npt.NDArray[np.float64]
    """float64 (1,) [USD]; inf = none."""
    weights: npt.NDArray[np.float64]
    """float64 (4,); success, per USD, per ms, per subtask."""
    spread: npt.NDArray[np.float64]
    """float64 (3, 256); equally likely factors on reward weights, prices and latencies."""
    outcomes: OutcomeTables


def new_state(n: int, num_subtasks: int, num_workers: int) -> EpisodeState:
    """Allocates the state of n episodes of at most `num_subtasks`; `reset_row` fills it."""
    return EpisodeState(
        episode=np.zeros((n, 12), np.int64),
        spent=np.zeros(n),
        subtask=np.zeros((n, num_subtasks, 9), np.int64),
        value=np.zeros((n, num_subtasks, 4)),
        failures=np.zeros((n, num_subtasks, num_workers), np.int16),
        busy=np.zeros((n, num_workers), np.int32),
        roster=np.tile(np.arange(num_workers, dtype=np.int32), (n, 1)),
        price=np.ones((n, num_workers)),
        slowness=np.ones((n, num_workers)),
        mask=np.ones((n, num_workers), np.int8),
        amounts=np.zeros((n, 4)),
        weights=np.zeros((n, 4)),
        reward=np.zeros(n),
        terms=np.zeros((n, 4)),
        ended=np.zeros(n, np.int64),
        summary=np.zeros((n, len(SUMMARY))),
        plan=np.zeros((n, 2, num_subtasks), np.int64),
    )


def empty_problem() -> Problem:
    """Returns a problem of length 1 in each dimension, of the right dtypes."""
    count = np.zeros(1, np.int32)
    grid, cube = np.zeros((1, 1), np.int32), np.zeros((1, 1, 1), np.int32)
    tables: dict[str, Any] = empty_tables()
    return Problem(
        num_subtasks=count,
        task_type=grid,
        query=grid,
        instruction=count,
        num_parents=grid,
        parents=cube,
        num_children=grid,
        children=cube,
        concurrency=np.zeros(1, np.int64),
        cost_upper=np.zeros((1, 1)),
        whole=np.zeros(8, np.int64),
        attempt_share=np.zeros(1),
        budget_usd=np.zeros(1),
        weights=np.zeros(4),
        spread=np.zeros((2, 256)),
        outcomes=OutcomeTables(**tables),
    )
