"""Executions as examples, and the two kinds of file that hold them."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestai_env.datasets import training_data
from orchestai_env.datasets.splits import split_of
from orchestai_env.datasets.training_data import (
    example_of,
    example_writer,
    line_of,
    plan_digest,
    reason_to_leave_out,
)
from tests.orchestai_env.datasets.log_lines import call, record


def test_example_has_the_documented_form() -> None:
    found = record(
        texts=["a", "b", "c"],
        types=["x", "y", "x"],
        links=[(0, 2), (1, 2)],
        calls=[
            call(0, "ace"),
            call(1, "bob", success=False),
            call(1, "ace", attempt=1),
            call(2, "bob"),
        ],
    )

    example = json.loads(line_of(example_of(found)))

    assert example == {
        "instruction": "Sum up and translate",
        "targets": {
            "model_selections": ["ace", "ace", "bob"],  # the one that succeeded, not the first
            "task_types": ["x", "y", "x"],
            "dependencies": [[0, 2], [1, 2]],
            "subtasks": ["a", "b", "c"],
        },
        "rewards": {"success": 1.0, "cost": -0.04, "latency": -0.3},
    }
    assert example_of(found, with_split=True)["split"] == split_of("Sum up and translate")


def test_example_of_a_free_and_instant_execution_has_no_negative_zero() -> None:
    line = line_of(example_of(record(cost=0.0, latency_ms=0.0)))

    assert line.endswith(b'{"success":1.0,"cost":0.0,"latency":0.0}}')


def test_example_leaves_texts_out_that_are_not_known() -> None:
    example = example_of(record(texts=["sum up", "subtask 1"]))

    assert "subtasks" not in example["targets"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"instruction": " "}, "no instruction"),
        ({"texts": [], "types": []}, "no subtasks"),
        ({"calls": []}, "no decisions"),
        ({"calls": [call(0, "ace", success=False)]}, None),
        ({"calls": [call(0, "ace", success=None, quality=None, end_ms=None)]}, None),
        ({"calls": [call(0, "ace")]}, "unfinished"),
        ({"calls": [call(0, "ace", success=False)], "interrupted": True}, "interrupted"),
    ],
    ids=["whole", "redacted", "empty", "no call", "failed", "out of time", "cut off", "told"],
)
def test_reason_to_leave_out(changes: dict[str, object], reason: str | None) -> None:
    assert reason_to_leave_out(record(**changes)) == reason


def test_plan_digest_is_of_instruction_and_plan_alone() -> None:
    def digest(**changes: object) -> tuple[int, int]:
        return plan_digest(example_of(record(**changes), with_split=True))

    calls = [call(0, "bob"), call(1, "bob", cost=1.0)]
    same = digest(calls=calls, timestamp="2026-01-01T00:00:00Z")
    assert digest() == same
    others = [
        digest(instruction="Sum up"),
        digest(texts=["sum up", "rewrite"]),
        digest(types=["summary", "rewriting"]),
        digest(links=[]),
    ]
    assert len({same, *others}) == 5


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("with_split", [False, True])
def test_both_files_hold_the_same(
    count: int, with_split: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_data, "_ROWS", 2)
    records = [
        record(instruction='Größe "x"\n', texts=["sum up", "subtask 1"]),
        record(calls=[call(0, "ace", success=False)]),
        record(),
    ][:count]
    for suffix in (".json", ".parquet"):
        writer = example_writer(tmp_path / suffix, suffix, with_split=with_split)
        for found in records:
            writer.write(line_of(example_of(found, with_split=with_split)))
        writer.close()

    listed = json.loads((tmp_path / ".json").read_bytes())
    table = pyarrow.parquet.ParquetFile(tmp_path / ".parquet")

    rows = table.read().to_pylist()
    for row in rows:
        if row["targets"]["subtasks"] is None:
            del row["targets"]["subtasks"]
    assert rows == listed and len(rows) == count
    assert table.num_row_groups == (count + 1) // 2


@settings(max_examples=25)
@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    cost=st.floats(0, 1e300),
    latency_ms=st.floats(0, 1e300),
)
def test_files_keep_texts_and_numbers(text: str, cost: float, latency_ms: float) -> None:
    found = record(instruction=text, texts=[text, text], cost=cost, latency_ms=latency_ms)
    example = example_of(found)
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".json", ".parquet"):
            writer = example_writer(Path(folder) / suffix, suffix, with_split=False)
            writer.write(line_of(example))
            writer.close()
        (listed,) = json.loads((Path(folder) / ".json").read_bytes())
        (row,) = pyarrow.parquet.read_table(Path(folder) / ".parquet").to_pylist()

    assert listed["instruction"] == row["instruction"] == text
    assert listed["rewards"] == row["rewards"] == example["rewards"]
    assert listed["targets"].get("subtasks") == row["targets"]["subtasks"]
