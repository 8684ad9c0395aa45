"""The execution log as its users see it: what goes in comes out, in files by day and by size."""

from __future__ import annotations

import datetime
import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from orchestai_env.errors import ConfigError, DataError, OrchestAIError
from orchestai_env.execution.log.execution_log import ExecutionLogger
from orchestai_env.execution.log.log_reading import read_log
from orchestai_env.execution.log.log_schema import SCHEMA_FILE, schema_text
from orchestai_env.execution.log.log_writing import ExecutionLogError
from orchestai_env.execution.log.logged_result import execution_result
from orchestai_env.execution.log.record import ExecutionRecord, LoggedResult, PlannerOutputs
from tests.orchestai_env.execution.log_records import (
    BEGAN,
    done_ids,
    line_of_version_1,
    plan,
    record,
    records,
    result,
)


class Clock:
    """A clock that stands where it is put."""

    def __init__(self, now: datetime.datetime = BEGAN) -> None:
        self.now = now

    def __call__(self) -> datetime.datetime:
        return self.now


def names(folder: Path) -> list[str]:
    """Returns the names of the files of a log, sorted."""
    return sorted(path.name for path in folder.glob("*.jsonl"))


def test_log_execution_takes_plain_data_records_and_results(tmp_path: Path) -> None:
    logged = LoggedResult.model_validate(result())
    planned: list[PlannerOutputs | dict[str, Any]] = [plan(), PlannerOutputs(**plan()), plan()]
    results: list[Any] = [result(), logged, execution_result(logged)]
    with ExecutionLogger(tmp_path) as logger:
        ids = [
            logger.log_execution(
                instruction="Find it",
                planner_outputs=planned[i],
                execution_result=results[i],
                execution_id=f"id {i}",
                timestamp=BEGAN,
                agent="cheapest",
            )
            for i in range(3)
        ]
    found = list(read_log(tmp_path))
    assert [one.execution_id for one in found] == ids == ["id 0", "id 1", "id 2"]
    assert (
        len({one.model_copy(update={"execution_id": ""}).model_dump_json() for one in found}) == 1
    )
    first = found[0]
    assert (first.instruction, first.agent, first.planner) == ("Find it", "cheapest", "unknown")
    assert (first.success, first.cost, first.latency_ms) == (False, 0.25, 5.0)
    assert first.execution_result == logged
    assert first.timestamp == BEGAN


def test_log_execution_draws_an_id_and_tells_when_it_began(tmp_path: Path) -> None:
    with ExecutionLogger(tmp_path, clock=Clock()) as logger:
        ids = [
            logger.log_execution(instruction="", planner_outputs=plan(), execution_result=result())
            for _ in range(2)
        ]
    assert len(set(ids)) == 2
    assert done_ids(tmp_path) == set(ids)
    assert next(read_log(tmp_path)).timestamp == BEGAN - datetime.timedelta(milliseconds=5)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        (
            "planner_outputs",
            {**plan(), "task_types": ["text"]},
            "expected 2 subtasks in every part",
        ),
        ("planner_outputs", {**plan(), "types": []}, r"planner_outputs.types: .*; got \[\]"),
        ("execution_result", {**result(), "total_cost": -1.0}, "LoggedResult: total_cost: .*-1.0"),
        ("decisions", [{}], r"decisions.0.subtask: Field required \(and 18 more\)"),
        ("decision", [], r"ExecutionRecord: decision: Extra inputs are not permitted"),
        ("timestamp", datetime.datetime(2026, 1, 1), "timestamp: .*timezone"),
    ],
)
def test_log_execution_refuses_malformed_parts(
    tmp_path: Path, part: str, value: Any, message: str
) -> None:
    logger = ExecutionLogger(tmp_path)
    parts = {"planner_outputs": plan(), "execution_result": result(), part: value}
    with pytest.raises(DataError, match=message):
        logger.log_execution(instruction="Find it", **parts)
    assert names(tmp_path) == []


@given(records())
def test_every_record_comes_back_as_it_went_in(one: ExecutionRecord) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with ExecutionLogger(folder, fsync="never") as logger:
            logger.append(one)
        utc = one.timestamp.astimezone(datetime.UTC)
        assert list(read_log(folder)) == [one.model_copy(update={"timestamp": utc})]
        assert done_ids(Path(folder)) == (set() if one.interrupted else {one.execution_id})


def test_half_characters_do_not_lose_a_record(tmp_path: Path) -> None:
    with ExecutionLogger(tmp_path) as logger:
        logger.append(record(instruction="a\ud83d\ude00b\ud83d"))
    assert next(read_log(tmp_path)).instruction == "a\U0001f600b\ufffd"


def test_a_record_is_one_line(tmp_path: Path) -> None:
    with ExecutionLogger(tmp_path) as logger:
        logger.append(record(instruction="a\nb\rc\u2028d\x85e"))
    text = next(tmp_path.glob("*.jsonl")).read_bytes()
    assert text.count(b"\n") == 1 and text.endswith(b"\n")
    assert next(read_log(tmp_path)).instruction == "a\nb\rc\u2028d\x85e"


def test_files_are_by_utc_day_of_writing_and_by_size(tmp_path: Path) -> None:
    clock = Clock(datetime.datetime.fromisoformat("2026-11-24T00:30:00+01:00"))
    size = len(record("00").model_dump_json()) + 1
    with ExecutionLogger(tmp_path, max_file_mb=2.5 * size / 1e6, clock=clock) as logger:
        for i in range(5):
            logger.append(record(f"{i:02}"))
        clock.now += datetime.timedelta(days=1)
        logger.append(record("05"))
    assert names(tmp_path) == [
        "executions-2026-11-23.001.jsonl",
        "executions-2026-11-23.002.jsonl",
        "executions-2026-11-23.jsonl",
        "executions-2026-11-24.jsonl",
    ]
    assert [one.execution_id for one in read_log(tmp_path)] == [f"{i:02}" for i in range(6)]
    assert all(path.stat().st_size <= 2.5 * size for path in tmp_path.glob("*.jsonl"))


def test_a_line_larger_than_a_file_has_a_file_for_itself(tmp_path: Path) -> None:
    with ExecutionLogger(tmp_path, max_file_mb=1e-6, clock=Clock()) as logger:
        for i in range(3):
            logger.append(record(str(i)))
    assert len(names(tmp_path)) == 3
    assert [one.execution_id for one in read_log(tmp_path)] == ["0", "1", "2"]


def test_files_beyond_a_thousand_a_day_stay_in_order(tmp_path: Path) -> None:
    (tmp_path / "executions-2026-11-23.999.jsonl").write_text(record("a").model_dump_json() + "\n")
    with ExecutionLogger(tmp_path, max_file_mb=1e-6, clock=Clock()) as logger:
        for name in "bc":
            logger.append(record(name))
    assert names(tmp_path)[:2] == [f"executions-2026-11-23.{i}.jsonl" for i in (1000, 1001)]
    assert [one.execution_id for one in read_log(tmp_path)] == ["a", "b", "c"]


def test_a_clock_set_back_appends_to_the_file_of_that_day(tmp_path: Path) -> None:
    clock = Clock()
    with ExecutionLogger(tmp_path, clock=clock) as logger:
        for i, days in enumerate([0, 1, -1, 1]):
            clock.now += datetime.timedelta(days=days)
            logger.append(record(str(i)))
    assert [one.execution_id for one in read_log(tmp_path)] == ["0", "2", "1", "3"]


def test_another_logger_goes_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    for i in range(3):
        with ExecutionLogger(tmp_path, clock=Clock()) as logger:
            logger.append(record(str(i)))
    assert names(tmp_path) == ["executions-2026-11-23.jsonl"]
    assert [one.execution_id for one in read_log(tmp_path)] == ["0", "1", "2"]


def test_the_schema_lies_beside_the_log(tmp_path: Path) -> None:
    logger = ExecutionLogger(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []
    logger.append(record())
    logger.close()
    assert (tmp_path / "new" / "folder" / SCHEMA_FILE).read_text() == schema_text()


def test_a_log_of_version_1_is_gone_on_with(tmp_path: Path) -> None:
    old = tmp_path / "executions-2026-11-23.jsonl"
    old.write_bytes(line_of_version_1())
    (tmp_path / SCHEMA_FILE).write_text('{"of": "version 1"}', encoding="utf-8")
    (read,) = read_log(tmp_path)
    with ExecutionLogger(tmp_path, clock=lambda: BEGAN) as logger:
        logger.append(record("two"))
        logger.append(read.model_copy(update={"execution_id": "three"}))
    assert old.read_bytes().startswith(line_of_version_1())
    assert [one.schema_version for one in read_log(tmp_path)] == [1, 2, 2]
    assert (tmp_path / SCHEMA_FILE).read_text() == schema_text()


def test_a_closed_logger_opens_again(tmp_path: Path) -> None:
    logger = ExecutionLogger(tmp_path)
    for i in range(2):
        logger.append(record(str(i)))
        logger.close()
        logger.close()
    assert done_ids(tmp_path) == {"0", "1"}


@pytest.mark.parametrize(
    ("fsync", "expected"), [("always", 3), ("rotate", 1), ("never", 0), (1e9, 1), (1e-9, 4)]
)
def test_records_are_forced_to_the_disk_as_often_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fsync: Any, expected: int
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda f: synced.append(os.readlink(f"/proc/self/fd/{f}")))
    with ExecutionLogger(tmp_path, fsync=fsync, clock=Clock()) as logger:
        for i in range(3):
            logger.append(record(str(i)))
        before_close = len([name for name in synced if name.endswith(".jsonl")])
    count = len([name for name in synced if name.endswith(".jsonl")])
    assert before_close == {"always": 3, 1e-9: 3}.get(fsync, 0)
    assert count == before_close + (fsync != "never")
    assert (str(tmp_path) in synced) == (fsync != "never")  # the name of the file, too
    assert expected in (count, before_close)


@pytest.mark.parametrize("fsync", ["sometimes", 0, -1.0, float("nan"), float("inf"), True])
def test_an_unknown_fsync_is_refused(tmp_path: Path, fsync: Any) -> None:
    with pytest.raises(ConfigError, match="fsync: expected always, rotate, never or a number"):
        ExecutionLogger(tmp_path, fsync=fsync)


@pytest.mark.parametrize("size", [0, -1.0, float("nan")])
def test_a_size_that_is_none_is_refused(tmp_path: Path, size: float) -> None:
    with pytest.raises(ConfigError, match="max_file_mb: expected a number of MB > 0, got"):
        ExecutionLogger(tmp_path, max_file_mb=size)


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_file_where_the_folder_should_be_is_refused(
    tmp_path: Path, refused: Callable[..., str], below: str
) -> None:
    place = tmp_path / "log"
    place.write_text("mine")
    line = refused(lambda _: ExecutionLogger(place / below))
    assert "move that file away, or name another folder" in line
    assert place.read_text() == "mine"


def test_a_folder_that_may_not_be_written_is_refused_before_anything_runs(
    tmp_path: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    line = refused(lambda _: ExecutionLogger(tmp_path))
    assert "Permission denied; nothing was written; make the folder writable" in line


def test_a_folder_that_is_made_read_only_loses_no_acknowledged_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = ExecutionLogger(tmp_path, clock=(clock := Clock()))
    logger.append(record("0"))
    clock.now += datetime.timedelta(days=1)

    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", read_only)
        with pytest.raises(ExecutionLogError, match=r"Read-only .*; 1 is not in the log; name"):
            logger.append(record("1"))
    logger.append(record("2"))
    logger.close()
    assert [one.execution_id for one in read_log(tmp_path)] == ["0", "2"]


def test_a_folder_deleted_while_writing_is_an_error_until_it_is_there_again(
    tmp_path: Path,
) -> None:
    logger = ExecutionLogger(tmp_path / "log", clock=Clock())
    logger.append(record("0"))
    shutil.rmtree(tmp_path / "log")
    for _ in range(2):
        with pytest.raises(OrchestAIError, match="1 is not in the log; make the folder again"):
            logger.append(record("1"))
    (tmp_path / "log").mkdir()
    logger.append(record("2"))
    logger.close()
    assert done_ids(tmp_path / "log") == {"2"}
    assert (tmp_path / "log" / SCHEMA_FILE).exists()


def test_a_file_moved_away_while_writing_is_begun_anew(tmp_path: Path) -> None:
    with ExecutionLogger(tmp_path, clock=Clock()) as logger:
        logger.append(record("0"))
        (tmp_path / names(tmp_path)[0]).rename(tmp_path / "old.jsonl")
        logger.append(record("1"))
    assert done_ids(tmp_path) == {"1"}
    assert [one.execution_id for one in read_log(tmp_path / "old.jsonl")] == ["0"]


def test_a_file_that_another_process_began_anew_is_the_one_to_append_to(tmp_path: Path) -> None:
    clock = Clock()
    with (
        ExecutionLogger(tmp_path, clock=clock) as one,
        ExecutionLogger(tmp_path, clock=clock) as two,
    ):
        one.append(record("0"))
        (tmp_path / names(tmp_path)[0]).unlink()
        two.append(record("1"))
        one.append(record("2"))
    assert [found.execution_id for found in read_log(tmp_path)] == ["1", "2"]
