"""The import of the recorded outcomes of eight real LLMs, where the data is at hand."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from orchestai_env.datasets.folder import RecordedFolder, load_folder
from orchestai_env.datasets.recorded_import import import_recorded
from orchestai_env.datasets.recorded_settings import RecordedSourceSettings
from orchestai_env.datasets.splits import SPLITS, normalised
from orchestai_env.workers import WorkerPool

pytestmark = pytest.mark.real


def test_every_call_of_the_pool_is_there(imported: RecordedFolder, data_root: Path) -> None:
    with gzip.open(data_root / "zeroeval" / "outcomes.csv.gz", "rt", newline="") as file:
        recorded = sum(
            row["model"] in imported.all_splits.pool.names and row["cost_usd"] != ""
            for row in csv.DictReader(file)
        )

    assert imported.all_splits.outcomes.num_trials.sum() == recorded
    assert imported.description.num_derived_latencies == recorded
    assert imported.all_splits.latency_label == "derived"


def test_splits_have_their_share_of_the_queries(imported: RecordedFolder) -> None:
    shares = [len(imported.queries.rows(split)) / len(imported.queries) for split in SPLITS]

    assert shares == pytest.approx([0.6, 0.1, 0.3], abs=0.04)


def test_no_query_is_on_two_sides(imported: RecordedFolder) -> None:
    texts: list[set[str]] = []
    for split in SPLITS:
        query = imported.dataset(split).workflows.query
        rows = np.unique(query[query >= 0])
        texts.append({normalised(imported.queries.prompts[row]) for row in rows})

    assert not texts[0] & texts[1] and not texts[0] & texts[2] and not texts[1] & texts[2]


def test_shapes_are_within_the_sizes_asked_for(imported: RecordedFolder) -> None:
    assert set(imported.shapes.num_subtasks) == {2, 3, 4, 5, 6}
    assert len(imported.shapes.num_subtasks) > 50


def test_latency_is_first_token_and_tokens_over_speed(
    imported: RecordedFolder, data_root: Path, pool: WorkerPool
) -> None:
    worker = pool.index("claude-3-5-sonnet-20240620")
    with gzip.open(data_root / "zeroeval" / "outcomes.csv.gz", "rt", newline="") as file:
        row = next(r for r in csv.DictReader(file) if r["model"] == pool.names[worker])
    query = imported.queries.ids.index(row["query_id"])

    # 900 ms to the first token, then 60 tokens a second; both assumed in the config.
    expected_ms = 900 + 1000 * float(row["output_tokens"]) / 60
    latency_us = imported.all_splits.outcomes.latency_us[query, worker, 0]
    assert latency_us == pytest.approx(1000 * expected_ms, abs=0.51)


def test_import_reproduces_byte_for_byte(
    imported: RecordedFolder,
    data_root: Path,
    source: RecordedSourceSettings,
    pool: WorkerPool,
    tmp_path: Path,
) -> None:
    import_recorded(data_root, source, pool, tmp_path)

    for path in sorted(imported.path.iterdir()):
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name
    assert load_folder(tmp_path).description == imported.description
