"""The toy source of recorded outcomes, imported: a data set folder for tests of the commands."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

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

POOL = WorkerPool(
    (
        WorkerSpec(name="ace", first_token_ms=500, tokens_per_s=80),
        WorkerSpec(name="bob", first_token_ms=100, tokens_per_s=200),
    )
)
SETTINGS = RecordedSourceSettings(
    source="toy",
    task_types=("math", "code"),
    latency="derived",
    max_subtasks=3,
    num_workflows=WorkflowCounts(train=40, validation=10, test=20),
    seed=7,
)


def write_source(
    root: Path,
    *,
    queries: list[list[Any]] | None = None,
    outcomes: list[list[Any]] | None = None,
) -> Path:
    """Writes the tables of the toy source, or others, and returns the folder."""
    write_csv(root / "toy" / "queries.csv.gz", QUERY_HEADER, queries or query_rows())
    write_csv(root / "toy" / "outcomes.csv.gz", OUTCOME_HEADER, outcomes or outcome_rows())
    write_json_lines(root / "planning" / "plans.jsonl.gz", PLANS)
    return root


def import_source(
    root: Path, settings: RecordedSourceSettings = SETTINGS, **tables: list[list[Any]]
) -> Path:
    """Writes the toy source under a folder, imports it, and returns the data set folder."""
    source = write_source(root / "source", **tables)
    return import_recorded(source, settings, POOL, root / "imported").path


def edit(path: Path, change: Callable[[str], str]) -> None:
    """Rewrites a gzipped file through a function of its text."""
    text = gzip.decompress(path.read_bytes()).decode()
    path.write_bytes(gzip.compress(change(text).encode()))
