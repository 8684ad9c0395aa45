"""Recorded rows to outcome tables and statistics, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from orchestai_env.errors import DataError
from orchestai_env.outcomes.recorded import (
    RecordedRows,
    recorded_statistics,
    recorded_tables,
)
from orchestai_env.outcomes.tables import RECORDED, OutcomeTables
from orchestai_env.workers import WorkerPool, WorkerSpec

POOL = WorkerPool(
    (
        WorkerSpec(name="ace", first_token_ms=500, tokens_per_s=80),
        WorkerSpec(name="bob", first_token_ms=100, tokens_per_s=200),
    )
)


def make_rows(*rows: tuple[Any, ...]) -> RecordedRows:
    """Rows of (query, worker, trial, score, output tokens, cost, latency); None = not recorded."""
    columns = np.array(rows, np.float64).reshape(-1, 7).T
    return RecordedRows(
        query=columns[0].astype(np.int32),
        worker=columns[1].astype(np.int32),
        trial=columns[2].astype(np.int64),
        score=columns[3],
        input_tokens=np.full(columns.shape[1], np.nan),
        output_tokens=columns[4],
        cost_usd=columns[5],
        latency_ms=columns[6],
    )


def make_tables(
    *rows: tuple[Any, ...], num_queries: int = 3, derive: bool = False
) -> OutcomeTables:
    return recorded_tables(
        make_rows(*rows),
        POOL,
        num_queries=num_queries,
        success_threshold=0.5,
        derive_latency=derive,
    )


def test_tables_hold_the_recorded_call() -> None:
    tables = make_tables((1, 0, 1, 0.75, 10, 0.25, 12.3456))

    assert tables.kind.tolist() == [RECORDED]
    assert tables.num_trials.tolist() == [[0, 0], [1, 0], [0, 0]]
    assert tables.success[1, 0].tolist() == [1]
    assert tables.quality[1, 0].tolist() == [0.75]
    assert tables.cost_usd[1, 0].tolist() == [0.25]
    assert tables.latency_us[1, 0].tolist() == [12346]


def test_tables_have_the_dtypes_that_the_clock_reads() -> None:
    tables = make_tables((0, 0, 1, 1, 10, 0.25, 1))

    assert tables.num_trials.dtype == np.int32
    assert tables.success.dtype == np.uint8
    assert tables.latency_us.dtype == np.int64
    assert tables.quality.dtype == tables.cost_usd.dtype == np.float64


@pytest.mark.parametrize(("score", "success"), [(0.49, 0), (0.5, 1), (1.0, 1)])
def test_success_is_score_at_or_above_the_threshold(score: float, success: int) -> None:
    tables = make_tables((0, 1, 1, score, 10, 0.1, 1))

    assert tables.success[0, 1, 0] == success


def test_trials_are_numbered_in_their_order() -> None:
    tables = make_tables(
        (0, 0, 7, 0.7, 1, 0.1, 1),
        (2, 1, 1, 0.2, 1, 0.1, 1),
        (0, 0, 2, 0.1, 1, 0.1, 1),
        (0, 0, 4, 0.4, 1, 0.1, 1),
    )

    assert tables.num_trials.tolist() == [[3, 0], [0, 0], [0, 1]]
    assert tables.quality[0, 0].tolist() == [0.1, 0.4, 0.7]
    assert tables.quality[2, 1].tolist() == [0.2, 0.0, 0.0]


@pytest.mark.parametrize(
    "row",
    [
        pytest.param((0, 0, 1, 1, 10, None, 5), id="no cost"),
        pytest.param((0, 0, 1, 1, 10, 0.1, None), id="no latency"),
    ],
)
def test_incomplete_call_is_unrecorded(row: tuple[Any, ...]) -> None:
    tables = make_tables(row)

    assert tables.num_trials.sum() == 0
    assert tables.quality.sum() == 0


def test_latency_is_derived_from_tokens_and_speed() -> None:
    tables = make_tables((0, 0, 1, 1, 40, 0.1, None), (0, 1, 1, 1, 40, 0.1, None), derive=True)

    assert tables.latency_us[0, :, 0].tolist() == [1_000_000, 300_000]


def test_recorded_latency_stays_when_others_are_derived() -> None:
    tables = make_tables((0, 0, 1, 1, 40, 0.1, 7), (1, 0, 1, 1, None, 0.1, None), derive=True)

    assert tables.latency_us[0, 0, 0] == 7_000
    assert tables.num_trials[1, 0] == 0


def test_statistics_average_trials_first_then_given_queries() -> None:
    tables = make_tables(
        (0, 0, 1, 1, 1, 0.1, 10),
        (0, 0, 2, 0, 1, 0.3, 30),
        (1, 0, 1, 1, 1, 1.2, 50),
        (2, 0, 1, 0, 1, 99.0, 99),
    )
    task_type = np.zeros(3, np.int32)

    statistics = recorded_statistics(
        tables, task_type, np.array([0, 1], np.int32), num_task_types=1
    )

    assert statistics.success[0, 0] == pytest.approx(0.75)
    assert statistics.cost_usd[0, 0] == pytest.approx(0.7)
    assert statistics.latency_ms[0, 0] == pytest.approx(35.0)
    assert statistics.cost_upper_usd[0, 0] == pytest.approx(np.quantile([0.1, 0.3, 1.2], 0.95))
    assert statistics.predicted_success is None


def test_statistics_count_a_repeated_query_twice() -> None:
    tables = make_tables((0, 0, 1, 1, 1, 0.1, 10), (1, 0, 1, 0, 1, 0.1, 10))

    statistics = recorded_statistics(
        tables, np.zeros(3, np.int32), np.array([0, 0, 1], np.int32), num_task_types=1
    )

    assert statistics.success[0, 0] == pytest.approx(2 / 3)


def test_statistics_fall_back_to_the_worker_then_to_all_workers() -> None:
    tables = make_tables((0, 0, 1, 1, 1, 0.1, 10), (1, 0, 1, 0, 1, 0.3, 10))

    statistics = recorded_statistics(
        tables, np.array([0, 1, 2], np.int32), np.arange(3, dtype=np.int32), num_task_types=3
    )

    assert statistics.success[:, 0].tolist() == [1.0, 0.0, 0.5]
    assert statistics.cost_usd[:, 1] == pytest.approx([0.2] * 3)


def test_statistics_refuse_queries_without_a_call() -> None:
    tables = make_tables((0, 0, 1, 1, 1, 0.1, 10))

    with pytest.raises(DataError, match="recorded call among the 1 queries"):
        recorded_statistics(
            tables, np.zeros(3, np.int32), np.array([2], np.int32), num_task_types=1
        )
