"""Comparison: success, cost and time as logged, beside those of a replay."""

from __future__ import annotations

import dataclasses

import numpy as np

from orchestai_env.datasets.calibration.log_table import BoolArray, FloatArray, IntArray, LogTable
from orchestai_env.datasets.calibration.replay import Replay
from orchestai_env.workflow_table import WorkflowTable

_Z = 1.959964


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measure:
    """A mean as logged, with its 95 % interval, and as simulated."""

    logged: float
    low: float
    high: float
    simulated: float
    """NaN where the simulation never came to it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compared:
    """A row: all executions, a task type's subtasks or a worker's calls."""

    name: str
    count: int
    """Executions, subtasks or calls in the log."""
    success: Measure
    cost_usd: Measure
    time_ms: Measure
    """Makespan of an execution, time of a subtask from its first start to its last end, or latency
    of a call."""
    makespan_ms: Measure
    """Of the executions that have the task type, or call the worker."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that was compared."""

    executions: Compared
    wait_ms: Measure
    """Of a call, from its decision to its start. Other executions that kept its worker busy are not
    simulated."""
    chain_ms: Measure
    """Longest chain of calls of an execution, waits left out."""
    task_types: tuple[Compared, ...]
    workers: tuple[Compared, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Side:
    """Calls of one side, with names as indexes into the log's; executions are numbered 0..n-1."""

    execution: IntArray
    subtask: IntArray
    """Execution * N + index in its workflow, of at most N subtasks."""
    kind: IntArray
    worker: IntArray
    success: BoolArray
    cost: FloatArray
    start: FloatArray
    end: FloatArray
    makespan: FloatArray
    """Per execution."""


def compare(log: LogTable, replayed: Replay) -> Comparison:
    """Compares a replay with what was logged of the same executions."""
    logged, simulated = _logged_side(log, replayed), _simulated_side(log, replayed)
    chosen, played = replayed.executions, replayed.played
    executions = Compared(
        name="all executions",
        count=len(chosen),
        success=_measure(log.success[chosen], played.success),
        cost_usd=_measure(log.cost_usd[chosen], played.cost_usd),
        time_ms=_measure(log.makespan_ms[chosen], played.makespan_ms),
        makespan_ms=_measure(log.makespan_ms[chosen], played.makespan_ms),
    )
    pieces = (_subtasks(logged), _subtasks(simulated))
    chains = [longest_chains(side, replayed.dataset.workflows) for side in (logged, simulated)]
    held, calls = np.isin(log.calls.execution, chosen), played.calls
    waited = (log.calls.start_ms - log.calls.decided_ms)[held]
    return Comparison(
        executions=executions,
        wait_ms=_measure(waited, (calls.start_us - calls.decided_us) / 1e3),
        chain_ms=_measure(*chains),
        task_types=_rows(log.task_types, "kind", *pieces),
        workers=_rows(log.workers, "worker", logged, simulated),
    )


def _measure(logged: np.ndarray, simulated: np.ndarray) -> Measure:
    if not len(logged):
        logged = np.full(1, np.nan)
    mean, count = float(logged.mean()), len(logged)
    if logged.dtype == np.bool_:
        low, high = share_interval(mean, count)
    else:
        reach = _Z * float(logged.std()) / np.sqrt(count)
        low, high = max(0.0, mean - reach), mean + reach
    return Measure(
        logged=mean,
        low=low,
        high=high,
        simulated=float(simulated.mean()) if len(simulated) else float("nan"),
    )


def share_interval(share: float, count: int) -> tuple[float, float]:
    """Returns the 95 % score interval of a share of `count`; it holds the share.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
        JASA 22 (1927).
    """
    weight = _Z**2 / count
    middle = (share + weight / 2) / (1 + weight)
    reach = np.sqrt(share * (1 - share) * weight + weight**2 / 4) / (1 + weight)
    return float(min(share, max(0.0, middle - reach))), float(max(share, min(1.0, middle + reach)))


def _rows(
    names: tuple[str, ...], column: str, logged: _Side, simulated: _Side
) -> tuple[Compared, ...]:
    rows = []
    for index, name in enumerate(names):
        ours = [getattr(side, column) == index for side in (logged, simulated)]
        if not ours[0].any():
            continue
        sides = list(zip((logged, simulated), ours, strict=True))
        rows.append(
            Compared(
                name=name,
                count=int(ours[0].sum()),
                success=_measure(*(side.success[own] for side, own in sides)),
                cost_usd=_measure(*(side.cost[own] for side, own in sides)),
                time_ms=_measure(*((side.end - side.start)[own] for side, own in sides)),
                makespan_ms=_measure(
                    *(side.makespan[np.unique(side.execution[own])] for side, own in sides)
                ),
            )
        )
    return tuple(rows)


def _subtasks(side: _Side) -> _Side:
    """Returns a side whose rows are subtasks instead of calls."""
    subtask, first, where = np.unique(side.subtask, return_index=True, return_inverse=True)
    start, end = np.full(len(subtask), np.inf), np.zeros(len(subtask))
    np.minimum.at(start, where, side.start)
    np.maximum.at(end, where, side.end)
    return dataclasses.replace(
        side,
        execution=side.execution[first],
        subtask=subtask,
        kind=side.kind[first],
        worker=side.worker[first],
        success=np.bincount(where, side.success) > 0,
        cost=np.bincount(where, side.cost).astype(float),
        start=start,
        end=end,
    )


def longest_chains(side: _Side, table: WorkflowTable) -> FloatArray:
    """Returns how long an execution's calls take where none waits, float64 (n,) [ms].

    Args:
        side: its executions are of the workflows of the table, in their order, over and over.
        table: K workflows.
    """
    n, size = len(side.makespan), table.max_subtasks
    took = np.bincount(side.subtask, side.end - side.start, n * size).reshape(n, size)
    ends, rows = np.zeros((n, size + 1)), np.arange(n)  # the last column is of no parent, -1
    for j in range(size):
        parents = table.parents[rows % len(table), j]
        ends[:, j] = ends[rows[:, None], parents].max(axis=1) + took[:, j]
    longest: FloatArray = ends.max(axis=1)
    return longest


def _logged_side(log: LogTable, replayed: Replay) -> _Side:
    place = np.full(log.num_executions, -1, np.int64)
    place[replayed.executions] = np.arange(len(replayed.executions))
    calls = log.calls.selected(place[log.calls.execution] >= 0)
    execution, size = place[calls.execution], replayed.dataset.workflows.max_subtasks
    return _Side(
        execution=execution,
        subtask=execution * size + calls.subtask - log.first_subtask[calls.execution],
        kind=log.task_type[calls.subtask],
        worker=calls.worker,
        success=calls.success,
        cost=calls.cost_usd,
        start=calls.start_ms,
        end=calls.start_ms + calls.latency_ms,
        makespan=log.makespan_ms[replayed.executions],
    )


def _simulated_side(log: LogTable, replayed: Replay) -> _Side:
    played, table = replayed.played, replayed.dataset.workflows
    ended = played.ended
    calls = played.calls
    kind_of = np.array([log.task_types.index(name) for name in replayed.dataset.task_types])
    worker_of = np.array([log.workers.index(name) for name in replayed.dataset.pool.names])
    row, index = calls.row[ended], calls.subtask[ended]
    workflow = row % len(replayed.executions)
    return _Side(
        execution=row,
        subtask=row * table.max_subtasks + index,
        kind=kind_of[table.task_type[workflow, index]],
        worker=worker_of[calls.worker[ended]],
        success=calls.success[ended],
        cost=calls.cost_usd[ended],
        start=calls.start_us[ended] / 1e3,
        end=calls.end_us[ended] / 1e3,
        makespan=played.makespan_ms,
    )
