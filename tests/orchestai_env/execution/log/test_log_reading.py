"""Reading a log: order, bad lines, and the cheap pass that must agree with the full one."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestai_env.errors import DataError, MissingFileError
from orchestai_env.execution.log.log_reading import MAX_REJECTED, Rejected, read_log
from tests.orchestai_env.execution.log_records import done_ids, line_of_version_1, record

LINE = record().model_dump_json().encode() + b"\n"


def log(folder: Path, *lines: bytes, name: str = "executions-2026-11-23.jsonl") -> Path:
    """Writes a file of a log."""
    path = folder / name
    path.write_bytes(b"".join(lines))
    return path


def changed(**keys: object) -> bytes:
    """Returns the line with other values."""
    return json.dumps(json.loads(LINE) | keys).encode() + b"\n"


def test_files_are_read_in_order_of_time_and_others_left_alone(tmp_path: Path) -> None:
    days = ["2026-11-23.1000", "2026-12-01", "2026-11-23", "2026-11-23.002", "2025-12-31"]
    for day in days:
        log(tmp_path, changed(execution_id=day), name=f"executions-{day}.jsonl")
    log(tmp_path, b"mine", name="notes.jsonl")
    log(tmp_path, b"mine", name="executions-2026-11-23.jsonl.bak")
    expected = ["2025-12-31", "2026-11-23", "2026-11-23.002", "2026-11-23.1000", "2026-12-01"]
    assert [one.execution_id for one in read_log(tmp_path)] == expected
    assert done_ids(tmp_path) == set(expected)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (LINE[:100] + b"\n", "Invalid JSON: "),
        (LINE[:100], "it is incomplete (its writer was killed, or is busy): Invalid JSON: "),
        (b"\n", "Invalid JSON: EOF while parsing a value"),
        (b"[]\n", "Input should be an object; got []"),
        (changed(cost=-1), "cost: Input should be greater than or equal to 0; got -1"),
        (changed(extra=1), "extra: Extra inputs are not permitted; got 1"),
        (changed(planner=None, agent=1), "got None (and 1 more)"),
        (changed(decisions=[{}]), "decisions.0.subtask: Field required (and 18 more)"),
        (
            changed(interrupted=True, success=True),
            "interrupted: expected no success of an execution that was cut short",
        ),
        (
            changed(schema_version=3, extra=1),
            "it has schema_version 3, where this release reads 1 and 2; read it with the",
        ),
    ],
)
def test_a_bad_line_is_rejected_with_file_line_and_reason(
    tmp_path: Path, refused: Callable[..., str], line: bytes, reason: str
) -> None:
    path = log(tmp_path, LINE, line)
    message = refused(lambda _: list(read_log(tmp_path)))
    assert message.startswith(f"error: {path}:2: expected an execution, but ")
    assert reason in message
    assert "--skip-bad" in message


def test_skip_bad_counts_and_lists_what_it_leaves_out(tmp_path: Path) -> None:
    path = log(tmp_path, b"{}\n", LINE, b"no\n", LINE)
    reader = read_log(path, skip_bad=True)
    assert len(list(reader)) == 2
    assert reader.num_rejected == 2
    assert reader.num_bytes == path.stat().st_size
    assert [one[:2] for one in reader.rejected] == [(path, 1), (path, 3)]
    assert isinstance(reader.rejected[0], Rejected)
    assert reader.rejected[0].reason == "execution_id: Field required (and 10 more)"


def test_what_skip_bad_lists_is_bounded(tmp_path: Path) -> None:
    reader = read_log(log(tmp_path, b"no\n" * (MAX_REJECTED + 5)), skip_bad=True)
    assert list(reader) == []
    assert (reader.num_rejected, len(reader.rejected)) == (MAX_REJECTED + 5, MAX_REJECTED)


def test_reading_takes_the_memory_of_one_record(tmp_path: Path) -> None:
    path = log(tmp_path, changed(instruction="long " * 1000) * 2000)
    reader = read_log(path)
    next(reader)
    tracemalloc.start()
    count = sum(1 for _ in reader)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 1999
    assert peak < path.stat().st_size / 20


def test_no_log_at_all_is_an_error_to_read_and_holds_no_ids(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    assert "got no file or folder there" in refused(lambda _: next(read_log(tmp_path / "none")))
    assert "got a folder without executions-*" in refused(lambda _: next(read_log(tmp_path)))
    with pytest.raises(MissingFileError):
        next(read_log(tmp_path))
    assert done_ids(tmp_path) == done_ids(tmp_path / "none") == set()


def test_an_empty_file_holds_no_records(tmp_path: Path) -> None:
    assert list(read_log(log(tmp_path))) == []


@given(st.integers(0, len(LINE) - 2), st.binary(max_size=3), st.integers(0, 5))
def test_the_tail_agrees_with_read_log_on_damaged_lines(
    tmp_path_factory: pytest.TempPathFactory, start: int, damage: bytes, lost: int
) -> None:
    folder = tmp_path_factory.mktemp("log")
    log(folder, LINE[:start] + damage + LINE[start + lost :], changed(execution_id="two"))
    assert done_ids(folder) == {one.execution_id for one in read_log(folder, skip_bad=True)}


def test_lines_of_version_1_are_read_beside_those_of_version_2(tmp_path: Path) -> None:
    old = line_of_version_1()
    log(tmp_path, old, changed(execution_id="new"))
    first, second = read_log(tmp_path)
    assert (first.schema_version, second.schema_version) == (1, 2)
    assert not first.interrupted
    assert (first.planning_cost, first.decisions[0].check_cost) == (0.0, 0.0)
    assert done_ids(tmp_path) == {"one", "new"}


def test_an_interrupted_execution_is_read_and_is_not_done(tmp_path: Path) -> None:
    log(tmp_path, changed(interrupted=True), changed(execution_id="two", interrupted=True), LINE)
    assert [one.interrupted for one in read_log(tmp_path)] == [True, True, False]
    assert done_ids(tmp_path) == {"one"}


@pytest.mark.parametrize("line", [LINE, LINE[:-1], LINE[:-2], changed(schema_version=3), b"[]\n"])
def test_the_tail_agrees_with_read_log(tmp_path: Path, line: bytes) -> None:
    log(tmp_path, changed(execution_id="before"), line)
    found = {one.execution_id for one in read_log(tmp_path, skip_bad=True)}
    assert done_ids(tmp_path) == found


def test_a_reader_goes_on_behind_a_bad_line(tmp_path: Path) -> None:
    reader = read_log(log(tmp_path, b"no\n", LINE))
    with pytest.raises(DataError, match=":1: expected an execution"):
        next(reader)
    assert [one.execution_id for one in reader] == ["one"]
