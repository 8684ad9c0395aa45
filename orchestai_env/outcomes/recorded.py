"""Recorded outcomes: rows of (query, worker, trial) put into the arrays that the clock reads."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestai_env.errors import DataError
from orchestai_env.outcomes.tables import (
    RECORDED,
    OutcomeTables,
    WorkerStatistics,
    empty_tables,
)
from orchestai_env.workers import WorkerPool

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

RESERVED_QUANTILE = 0.95
"""Quantile of the recorded costs that a budget reserves for a call."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordedRows:
    """L recorded calls, one a row; no (query, worker, trial) twice."""

    query: Int32Array
    """int32 (L,); row of the query list."""
    worker: Int32Array
    """int32 (L,); action of the worker."""
    trial: Int64Array
    """int64 (L,); number of the repetition, in any numbering."""
    score: Float64Array
    """float64 (L,), 0..1."""
    input_tokens: Float64Array
    """float64 (L,), >= 0; NaN where not recorded."""
    output_tokens: Float64Array
    """float64 (L,), >= 0; NaN where not recorded."""
    cost_usd: Float64Array
    """float64 (L,) [USD], >= 0; NaN where not recorded."""
    latency_ms: Float64Array
    """float64 (L,) [ms], >= 0; NaN where not recorded."""

    @property
    def usable_mask(self) -> BoolArray:
        """Rows with a cost and a latency, bool (L,); the others count as unrecorded."""
        return ~(np.isnan(self.cost_usd) | np.isnan(self.latency_ms))

    def selected(self, chosen: npt.NDArray[Any]) -> RecordedRows:
        """Returns the chosen rows (a mask or indexes)."""
        fields = dataclasses.fields(self)
        return RecordedRows(**{field.name: getattr(self, field.name)[chosen] for field in fields})

    def with_derived_latency(self, pool: WorkerPool) -> RecordedRows:
        """Fills in latencies that were not recorded, from tokens and the workers' stated speed.

        A recorded latency stays; a row without output tokens stays without latency.

        Args:
            pool: workers whose first_token_ms and tokens_per_s are used.
        Returns:
            Rows with latency = first_token_ms + 1000 * output_tokens / tokens_per_s [ms].
        """
        first_token_ms = np.array([worker.first_token_ms for worker in pool.workers])
        tokens_per_s = np.array([worker.tokens_per_s for worker in pool.workers])
        derived_ms = (
            first_token_ms[self.worker] + 1000.0 * self.output_tokens / tokens_per_s[self.worker]
        )
        latency_ms = np.where(np.isnan(self.latency_ms), derived_ms, self.latency_ms)
        return dataclasses.replace(self, latency_ms=latency_ms)


def recorded_tables(
    rows: RecordedRows,
    pool: WorkerPool,
    *,
    num_queries: int,
    success_threshold: float,
    derive_latency: bool = False,
) -> OutcomeTables:
    """Builds the outcome tables of recorded calls.

    A row without cost or latency counts as unrecorded, and so does a pair without rows: nothing
    is invented. Trials keep their order and are numbered from 0.

    Args:
        rows: recorded calls.
        pool: the workers, in action order.
        num_queries: length of the query list.
        success_threshold: a call succeeds when its score is at or above it.
        derive_latency: whether missing latencies are derived first, see
            `RecordedRows.with_derived_latency`.
    """
    if derive_latency:
        rows = rows.with_derived_latency(pool)
    rows = rows.selected(rows.usable_mask)
    rows = rows.selected(np.lexsort((rows.trial, rows.worker, rows.query)))
    num_pairs = num_queries * len(pool)
    pair = rows.query.astype(np.int64) * len(pool) + rows.worker
    count = np.bincount(pair, minlength=num_pairs)
    place = np.arange(len(pair)) - np.repeat(np.cumsum(count) - count, count)
    shape = (num_queries, len(pool), max(1, int(count.max(initial=0))))

    def table(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        flat = np.zeros((num_pairs, shape[2]), values.dtype)
        flat[pair, place] = values
        return flat.reshape(shape)

    fields: dict[str, Any] = empty_tables() | {
        "kind": np.array([RECORDED], np.int64),
        "num_trials": count.astype(np.int32).reshape(shape[:2]),
        "success": table((rows.score >= success_threshold).astype(np.uint8)),
        "quality": table(rows.score),
        "cost_usd": table(rows.cost_usd),
        "latency_us": table(np.floor(rows.latency_ms * 1000.0 + 0.5).astype(np.int64)),
    }
    return OutcomeTables(**fields)


def recorded_statistics(
    tables: OutcomeTables, task_type_of_query: Int32Array, rows: Int32Array, *, num_task_types: int
) -> WorkerStatistics:
    """Summarises recorded calls per task type and worker, over the given queries only.

    Means are taken over the trials of a query first, then over queries; the cost quantile over
    all calls. A (task type, worker) pair without a recorded query takes the figures of the worker
    over all given queries, and a worker without any those of all workers together.

    Args:
        tables: recorded outcomes.
        task_type_of_query: int32 (Q,), 0..num_task_types-1.
        rows: int32 (M,); the training queries; one that comes twice counts twice.
        num_task_types: size of the vocabulary.
    Raises:
        DataError: none of the given queries has a recorded call.
    """
    num_trials = tables.num_trials[rows]
    recorded = num_trials > 0
    if not recorded.any():
        raise DataError(
            f"expected a recorded call among the {len(rows)} queries to summarise, got none; "
            "give training queries that the workers of the pool have answered"
        )
    trial_mask = np.arange(tables.success.shape[2]) < num_trials[..., None]

    def over_trials(values: npt.NDArray[Any]) -> Float64Array:
        total: Float64Array = (values[rows] * trial_mask).sum(axis=2, dtype=np.float64)
        return total / np.maximum(num_trials, 1)

    success = over_trials(tables.success)
    cost_usd = over_trials(tables.cost_usd)
    latency_ms = over_trials(tables.latency_us) / 1000.0
    calls_usd = tables.cost_usd[rows]
    task_type = task_type_of_query[rows]
    summary = np.empty((4, num_task_types, recorded.shape[1]))
    for t in range(num_task_types):
        for w in range(recorded.shape[1]):
            pairs = _evidence(recorded, task_type == t, w)
            summary[:3, t, w] = [v[pairs].mean() for v in (success, cost_usd, latency_ms)]
            summary[3, t, w] = np.quantile(calls_usd[pairs][trial_mask[pairs]], RESERVED_QUANTILE)
    return WorkerStatistics(
        success=summary[0],
        cost_usd=summary[1],
        latency_ms=summary[2],
        cost_upper_usd=summary[3],
    )


def _evidence(recorded: BoolArray, of_type: BoolArray, w: int) -> BoolArray:
    """Selects the (query, worker) pairs that a (task type, worker) figure is taken from."""
    own = np.zeros_like(recorded)
    own[:, w] = recorded[:, w]
    narrow = own & of_type[:, None]
    if narrow.any():
        return narrow
    return own if own.any() else recorded
