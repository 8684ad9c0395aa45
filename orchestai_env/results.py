"""read_result: the state of an episode as an ExecutionResult."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestai_env.execution_result import ExecutionResult, SubtaskResult
from orchestai_env.state import (
    ATTEMPTS,
    CLOCK,
    COST,
    FIRST_START,
    LAST_END,
    NONE,
    RUNNING,
    START,
    STATUS,
    STATUS_NAMES,
    SUCCEEDED,
    SUCCESSES,
    WORKER,
    WORKFLOW,
    EpisodeState,
    Problem,
)


def read_result(
    state: EpisodeState,
    r: int,
    problem: Problem,
    workers: Sequence[str],
    task_types: Sequence[str],
) -> ExecutionResult:
    """Returns what the episode of row r did, took and cost so far.

    Args:
        state: of n episodes.
        r: row.
        problem: its workflows.
        workers: names.
        task_types: names.
    """
    episode = state.episode[r].tolist()
    k = episode[WORKFLOW]
    n = problem.num_subtasks.item(k)
    read_subtasks = functools.partial(
        _read_subtasks,
        state.subtask[r, :n].copy(),
        state.value[r, :n, COST].copy(),
        problem.task_type[k, :n],
        episode[CLOCK],
        workers,
        task_types,
    )
    return ExecutionResult.reading_later(
        read_subtasks,
        success=episode[SUCCESSES] == n,
        outputs={},
        total_cost=state.spent.item(r),
        total_latency_ms=episode[CLOCK] / 1000.0,
    )


def _read_subtasks(
    rows: npt.NDArray[np.int64],
    costs: npt.NDArray[np.float64],
    types: npt.NDArray[np.int32],
    clock: int,
    workers: Sequence[str],
    task_types: Sequence[str],
) -> tuple[SubtaskResult, ...]:
    """Returns the results of n subtasks; their columns are those of EpisodeState."""
    values = zip(rows.tolist(), costs.tolist(), types.tolist(), strict=True)
    return tuple(
        _subtask_result(i, row, cost, clock, workers, task_types[t])
        for i, (row, cost, t) in enumerate(values)
    )


def _subtask_result(
    i: int, row: list[Any], cost: float, clock: int, workers: Sequence[str], task_type: str
) -> SubtaskResult:
    start, end, worker = row[FIRST_START], row[LAST_END], row[WORKER]
    is_open = row[STATUS] == RUNNING and row[START] != NONE
    begun = start != NONE
    return SubtaskResult(
        name=f"subtask {i}",
        type=task_type,
        status=STATUS_NAMES[row[STATUS]],
        worker=None if worker == NONE else workers[worker],
        attempts=row[ATTEMPTS],
        success=row[STATUS] == SUCCEEDED,
        cost=cost,
        latency_ms=((clock if is_open else end) - start) / 1000.0 if begun else 0.0,
        start_ms=start / 1000.0 if begun else None,
        end_ms=end / 1000.0 if end != NONE and not is_open else None,
    )
