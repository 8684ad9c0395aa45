"""Tallies: what a log says a collection has come to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestai_env.execution.collection.tally import Tally
from orchestai_env.execution.log.execution_log import ExecutionLogger
from orchestai_env.execution.log.record import ExecutionRecord
from tests.orchestai_env.execution.log_records import line_of_version_1, record


def logged(folder: Path, *records: ExecutionRecord) -> None:
    with ExecutionLogger(folder) as logger:
        for one in records:
            logger.append(one)


def changed(name: str, **fields: Any) -> ExecutionRecord:
    """Returns an execution of 0.25 USD with some fields changed."""
    return record(name).model_copy(update=fields)


def test_folder_that_is_not_there_has_nothing(tmp_path: Path) -> None:
    tally = Tally(tmp_path / "none", ["a", "b"])
    assert (tally.num_done, tally.num_succeeded, tally.spent_usd) == (0, 0, 0.0)
    assert tally.missing() == [0, 1]


def test_interrupted_execution_costs_and_is_missing_until_it_is_done(tmp_path: Path) -> None:
    logged(tmp_path, changed("a", interrupted=True, planning_cost=0.5), changed("b", success=True))
    tally = Tally(tmp_path, ["a", "b"])
    assert (tally.num_done, tally.num_succeeded, tally.spent_usd) == (1, 1, 1.0)
    assert tally.missing() == [0]
    assert tally.num_interrupted == 0  # since it was made

    logged(tmp_path, changed("a", interrupted=True), record("a"))
    tally.catch_up()
    assert (tally.num_done, tally.num_interrupted, tally.spent_usd) == (2, 1, 1.5)
    assert tally.cost_usd([0]) == 1.25
    assert tally.missing() == []


def test_judging_is_charged(tmp_path: Path) -> None:
    line = line_of_version_1().replace(b'"quality"', b'"check_cost": 0.125, "quality"')
    (tmp_path / "executions-2026-11-23.jsonl").write_bytes(line)
    assert Tally(tmp_path, ["one"]).spent_usd == 0.375


def test_executions_of_others_cost_but_do_not_count(tmp_path: Path) -> None:
    logged(tmp_path, record("other"))
    tally = Tally(tmp_path, ["a"])
    assert (tally.num_done, tally.spent_usd) == (0, 0.25)


def test_line_is_counted_once_it_is_whole(tmp_path: Path) -> None:
    line = record("a").model_dump_json().encode() + b"\n"
    path = tmp_path / "executions-2026-11-23.jsonl"
    path.write_bytes(line[:50])
    tally = Tally(tmp_path, ["a", "b"])
    assert tally.num_done == 0
    for text in (line[:-1], line, line + line[:50], line + line[:50] + b"\n"):
        path.write_bytes(text)
        tally.catch_up()
        assert (tally.num_done, tally.spent_usd) == (1, 0.25)


def test_torn_line_is_left_out(tmp_path: Path) -> None:
    lines = [record(name).model_dump_json().encode() for name in ("a", "b")]
    (tmp_path / "executions-2026-11-23.jsonl").write_bytes(lines[0][:50])
    logged(tmp_path, record("b"))
    tally = Tally(tmp_path, ["a", "b"])
    assert tally.missing() == [0]
