"""Several writers of one log at once, and writers that are killed."""

from __future__ import annotations

import collections
import json
import shutil
import subprocess
import sys
from pathlib import Path

from orchestai_env.execution.log.execution_log import ExecutionLogger
from orchestai_env.execution.log.log_reading import read_log
from tests.orchestai_env.execution.log_records import done_ids, record

ROOT = Path(__file__).resolve().parents[4]


def acknowledged(kind: str, folder: Path, *numbers: int) -> list[str]:
    """Runs the writers of log_writers.py; returns the ids that they were given."""
    module = "tests.orchestai_env.execution.log_writers"
    process = subprocess.run(
        [sys.executable, "-W", "error", "-m", module, kind, str(folder), *map(str, numbers)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    ids: list[str] = json.loads(process.stdout)
    return ids


def test_processes_and_threads_append_each_line_whole_and_once(tmp_path: Path) -> None:
    ids = acknowledged("together", tmp_path, 4, 4, 50)
    assert len(ids) == len(set(ids)) == 4 * 4 * 50 + 1
    found = collections.Counter(one.execution_id for one in read_log(tmp_path))
    assert found == collections.Counter(ids)
    assert len(list(tmp_path.glob("*.jsonl"))) > 5  # rotated under way


def test_writers_killed_at_20_moments_lose_nothing_acknowledged(tmp_path: Path) -> None:
    ids = acknowledged("killed", tmp_path, 20, 1)
    assert ids
    with ExecutionLogger(tmp_path) as logger:
        logger.append(record("last"))  # after whatever the last one left
    reader = read_log(tmp_path, skip_bad=True)
    found = collections.Counter(one.execution_id for one in reader)
    assert set(found.values()) == {1}
    assert {*ids, "last"} <= found.keys()
    assert len(found) <= len(ids) + 21  # a whole line whose call had not returned yet
    assert reader.num_rejected <= 20
    assert all("Invalid JSON" in rejected.reason for rejected in reader.rejected)
    assert done_ids(tmp_path) == found.keys()
    shutil.rmtree(tmp_path)  # a few hundred MB
