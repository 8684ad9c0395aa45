"""Live outcomes: calls happen elsewhere, and tell how they went when they end."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestai_env.dataset import Dataset
from orchestai_env.outcomes.tables import LIVE, OutcomeTables, WorkerStatistics, empty_tables
from orchestai_env.workers import WorkerPool

_INPUT_TOKENS, _OUTPUT_TOKENS = 200.0, 300.0  # assumed, until calls have been logged
_UPPER_SHARE = 4.0  # assumed: 95 % of calls cost at most so many times the mean


def live_tables(capable: npt.NDArray[np.bool_]) -> OutcomeTables:
    """Returns the outcomes of a live source: only who can serve what.

    Args:
        capable: bool (T, W); whether the worker can serve the task type.
    """
    tables: dict[str, Any] = empty_tables()
    tables |= {"kind": np.array([LIVE]), "capable": capable.astype(np.uint8)}
    return OutcomeTables(**tables)


def live_dataset(known: Dataset, capable: npt.NDArray[np.bool_]) -> Dataset:
    """Returns a data set with the same workers, whose calls happen elsewhere.

    What is known of the workers stays; predictions per recorded query do not, because other
    subtasks come.

    Args:
        known: workers, task types and statistics.
        capable: bool (T, W).
    """
    statistics = dataclasses.replace(known.statistics, predicted_success=None)
    return dataclasses.replace(
        known, outcomes=live_tables(capable), statistics=statistics, latency_label="recorded"
    )


def assumed_statistics(pool: WorkerPool, capable: npt.NDArray[np.bool_]) -> WorkerStatistics:
    """Returns what is believed of workers before any call of them was logged.

    Success is 0.5. Cost and latency follow from prices and speeds for 200 input and 300 output
    tokens, which are assumed. `orchestai calibrate` fits all of them from a log.

    Args:
        pool: W workers.
        capable: bool (T, W).
    """
    cost, latency_ms = np.zeros(len(pool)), np.zeros(len(pool))
    for w, worker in enumerate(pool.workers):
        input_usd = _INPUT_TOKENS * worker.input_usd_per_mtok
        cost[w] = (input_usd + _OUTPUT_TOKENS * worker.output_usd_per_mtok) / 1e6
        latency_ms[w] = worker.first_token_ms + 1000.0 * _OUTPUT_TOKENS / worker.tokens_per_s
    return WorkerStatistics(
        success=0.5 * capable.astype(np.float64),
        cost_usd=capable * cost,
        latency_ms=capable * latency_ms,
        cost_upper_usd=capable * cost * _UPPER_SHARE,
    )
