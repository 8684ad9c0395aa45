"""`orchestai calibrate`, from files to files."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestai_env.datasets import calibrate_command
from orchestai_env.datasets.calibrate_command import add_calibrate_command
from orchestai_env.datasets.calibration.simulated_pool import load_simulated_pool
from orchestai_env.execution.log.record import ExecutionRecord
from tests.orchestai_env.datasets.calibration.conftest import truth_records


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser()
    add_calibrate_command(parser.add_subparsers())
    args = parser.parse_args(["calibrate", *map(str, argv)])
    args.run(args)


@pytest.fixture(scope="module")
def some_records() -> list[ExecutionRecord]:
    return truth_records(120)


@pytest.fixture
def log_path(tmp_path: Path, some_records: list[ExecutionRecord]) -> Path:
    path = tmp_path / "log.jsonl"
    lines = [record.model_dump_json() + "\n" for record in some_records]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def test_calibrate_writes_pool_and_report(
    log_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out" / "workers.yaml"
    main(["--logs", str(log_path), "--output", str(output)])
    assert set(load_simulated_pool(output).workers.names) == {"cheap", "good", "middle"}
    report = tmp_path / "out" / "workers_report"
    summary = json.loads((report / "summary.json").read_text(encoding="utf-8"))
    assert summary["executions"] == 120
    shown = capsys.readouterr().out
    assert "difficulty_spread" in shown and "3 workers" in shown and str(report) in shown


def test_calibrate_writes_the_report_where_it_is_told(log_path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    main(
        [
            *("--logs", str(log_path), "--output", str(tmp_path / "w.yml")),
            *("--report", str(folder), "--held_out", "0"),
        ]
    )
    assert (folder / "report.md").is_file()


def test_calibrate_skips_bad_lines_where_it_may(
    log_path: Path,
    tmp_path: Path,
    refused: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with log_path.open("a", encoding="utf-8") as file:
        file.write('{"broken": \n')
    call = ("--logs", log_path, "--output", tmp_path / "workers.yaml")
    assert f"{log_path.name}:121" in refused(main, *call)
    assert not (tmp_path / "workers.yaml").exists()
    main([*map(str, call), "--skip-bad"])
    captured = capsys.readouterr()
    assert f"{log_path.name}:121" in captured.out + captured.err


def test_calibrate_refuses_what_it_cannot_fit(
    log_path: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    output = ("--output", tmp_path / "workers.yaml")
    assert "no file or folder there" in refused(main, "--logs", tmp_path / "none", *output)
    (tmp_path / "empty.jsonl").touch()
    line = refused(main, "--logs", tmp_path / "empty.jsonl", *output)
    assert "expected executions with calls that ended, got 0 executions" in line
    few = tmp_path / "few.jsonl"
    few.write_text(log_path.read_text(encoding="utf-8").split("\n", 1)[0] + "\n", encoding="utf-8")
    line = refused(main, "--logs", few, *output)
    assert "expected at least 50 calls that ended to fit to" in line


def test_calibrate_meets_a_forbidden_folder_before_it_fits(
    log_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate_command, "calibrate", None)
    output = log_path / "workers.yaml"
    with pytest.raises(FileExistsError, match=r"log\.jsonl"):  # one line, by orchestai's main
        main(["--logs", str(log_path), "--output", str(output)])


def test_calibrate_refuses_wrong_options(
    log_path: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    logs, output = ("--logs", log_path), ("--output", tmp_path / "workers.yaml")
    line = refused(main, *logs, "--output", tmp_path / "workers.json")
    assert "--output: expected a .yaml file to write" in line
    assert "--report: expected a folder" in refused(main, *logs, *output, "--report", log_path)
    assert "held_out: expected a share in 0..0.9" in refused(
        main, *logs, *output, "--held_out", "1"
    )
    assert "--seed: expected a whole number >= 0, got -1" in refused(
        main, *logs, *output, "--seed", "-1"
    )
