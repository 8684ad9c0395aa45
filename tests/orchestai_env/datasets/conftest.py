"""Fixtures that write and import the toy source of toy_source.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestai_env.datasets.recorded_import import import_recorded
from orchestai_env.datasets.recorded_settings import RecordedSourceSettings, WorkflowCounts
from orchestai_env.workers import WorkerPool, WorkerSpec
from tests.orchestai_env.datasets.toy_source import (
    OUTCOME_HEADER,
    PLANS,
    QUERY_HEADER,
    outcome_rows,
    query_rows,
    write_csv,
    write_json_lines,
)


@pytest.fixture
def pool() -> WorkerPool:
    """Workers ace and bob."""
    return WorkerPool(
        (
            WorkerSpec(name="ace", first_token_ms=500, tokens_per_s=80),
            WorkerSpec(name="bob", first_token_ms=100, tokens_per_s=200),
        )
    )


@pytest.fixture
def settings() -> RecordedSourceSettings:
    """Settings that import the toy source with derived latency."""
    return RecordedSourceSettings(
        source="toy",
        task_types=("math", "code"),
        latency="derived",
        max_subtasks=3,
        num_workflows=WorkflowCounts(train=40, validation=10, test=20),
        seed=7,
    )


@pytest.fixture
def make_source(tmp_path: Path) -> Callable[..., Path]:
    """Returns a function that writes the toy source, or a broken variant, and names the folder."""

    def make(
        *,
        queries: list[list[Any]] | None = None,
        outcomes: list[list[Any]] | None = None,
        query_header: list[str] = QUERY_HEADER,
        outcome_header: list[str] = OUTCOME_HEADER,
    ) -> Path:
        root = tmp_path / "data"
        queries = query_rows() if queries is None else queries
        outcomes = outcome_rows() if outcomes is None else outcomes
        write_csv(root / "toy" / "queries.csv.gz", query_header, queries)
        write_csv(root / "toy" / "outcomes.csv.gz", outcome_header, outcomes)
        write_json_lines(root / "planning" / "plans.jsonl.gz", PLANS)
        return root

    return make


@pytest.fixture
def folder(
    tmp_path: Path,
    make_source: Callable[..., Path],
    settings: RecordedSourceSettings,
    pool: WorkerPool,
) -> Path:
    """The toy source, imported."""
    return import_recorded(make_source(), settings, pool, tmp_path / "imported").path
