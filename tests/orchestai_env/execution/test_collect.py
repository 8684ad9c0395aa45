"""`orchestai collect`: each execution once, whatever happens in between."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from orchestai_env.cli import main
from orchestai_env.execution.log_reading import read_log
from orchestai_env.execution.record import ExecutionRecord
from orchestai_env.run_folder import claim

ROOT = Path(__file__).resolve().parents[3]
FUNCTIONS = "tests.orchestai_env.execution.live_functions"
WORKERS = f"""
workers:
  - {{name: good, backend: function, function: "{FUNCTIONS}:good", input_usd_per_mtok: 10.0,
     max_output_tokens: 10, concurrency: 4}}
  - {{name: bad, backend: function, function: "{FUNCTIONS}:bad", max_tries: 1, concurrency: 4}}
"""


@pytest.fixture
def workers(tmp_path: Path) -> Path:
    """Returns a file of workers."""
    path = tmp_path / "workers.yaml"
    path.write_text(WORKERS)
    return path


def collect(workers: Path, folder: Path, count: int, *arguments: str) -> None:
    """Runs the command in this process."""
    main([*command(workers, folder, count), *arguments])


def command(workers: Path, folder: Path, count: int) -> list[str]:
    """Returns its arguments."""
    return [
        *("collect", "--num_executions", str(count), "--output_dir", str(folder)),
        *("--workers", str(workers), "--task_types", "sums", "texts", "--chooser", "random"),
    ]


def records(folder: Path) -> list[ExecutionRecord]:
    """Returns what was logged; a torn line is no execution."""
    return list(read_log(folder, skip_bad=True))


def test_every_execution_is_logged_once(workers: Path, tmp_path: Path) -> None:
    collect(workers, tmp_path / "log", 12)
    found = records(tmp_path / "log")

    assert sorted(record.execution_id for record in found) == [f"0-{i:08d}" for i in range(12)]
    assert len({record.instruction for record in found}) == 12


def test_second_run_does_what_is_missing(
    workers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collect(workers, tmp_path / "log", 5)
    before = {record.execution_id: record for record in records(tmp_path / "log")}
    collect(workers, tmp_path / "log", 9)
    after = {record.execution_id: record for record in records(tmp_path / "log")}

    assert len(records(tmp_path / "log")) == len(after) == 9
    assert before.items() <= after.items()
    assert "9 of 9 executions" in capsys.readouterr().out


def test_choices_are_explored_with_their_propensities(workers: Path, tmp_path: Path) -> None:
    collect(workers, tmp_path / "log", 4, "--chooser", "greedy", "--exploration", "0.2")

    for record in records(tmp_path / "log"):
        for decision in record.decisions:
            assert decision.probabilities is not None
            assert sorted(decision.probabilities.values()) == pytest.approx([0.1, 0.9])


def test_collection_stops_at_its_budget_and_goes_on_with_a_larger_one(
    workers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collect(workers, tmp_path / "log", 40, "--budget_usd", "0.2", "--num_parallel", "2")
    out = capsys.readouterr().out
    cost = sum(record.cost for record in records(tmp_path / "log"))
    assert "stopped at the budget of 0.2 USD" in out
    assert cost <= 0.2 + 4 * 0.02  # calls in flight

    collect(workers, tmp_path / "log", 40)
    assert len({record.execution_id for record in records(tmp_path / "log")}) == 40


@pytest.mark.slow
def test_killed_collection_loses_and_repeats_nothing(workers: Path, tmp_path: Path) -> None:
    rng, folder, num_executions = random.Random(0), tmp_path / "log", 400
    code = "import sys; from orchestai_env.cli import main; main(sys.argv[1:])"
    acknowledged: set[str] = set()
    for _ in range(20):
        process = subprocess.Popen(
            [sys.executable, "-c", code, *command(workers, folder, num_executions)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for_more(folder, len(acknowledged), process)
        time.sleep(rng.uniform(0.0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.wait()
        found = ids(folder)
        assert acknowledged <= set(found)
        assert len(found) == len(set(found))
        acknowledged = set(found)
    collect(workers, folder, num_executions)

    assert sorted(ids(folder)) == [f"0-{i:08d}" for i in range(num_executions)]


def wait_for_more(folder: Path, num_before: int, process: subprocess.Popen[bytes]) -> None:
    """Waits until something new is in the log, or the process has ended."""
    deadline = time.monotonic() + 60.0
    while len(ids(folder)) <= num_before and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ids(folder: Path) -> list[str]:
    """Returns the ids of all whole lines."""
    found = []
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_bytes().split(b"\n")[:-1]:
            try:
                found.append(json.loads(line)["execution_id"])
            except ValueError:  # torn by a kill
                continue
    return found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num_executions", "0"], "--num_executions: expected a whole number >= 1, got 0"),
        (["--chooser", "best"], "--chooser: unknown chooser 'best'"),
        (["--exploration", "1.5"], "exploration"),
        (["--workers", "none.yaml"], "none.yaml: no such settings file"),
        (["--planner", "nobody"], "nobody"),
    ],
)
def test_bad_arguments_are_refused(
    arguments: list[str], message: str, workers: Path, tmp_path: Path, refused: Any
) -> None:
    assert message in refused(main, *command(workers, tmp_path / "log", 3), *arguments)


def test_folder_of_another_collection_is_refused(
    workers: Path, tmp_path: Path, refused: Any
) -> None:
    collect(workers, tmp_path / "log", 1)
    line = refused(main, *command(workers, tmp_path / "log", 1), "--seed", "3")
    assert "was collected with another seed" in line


def test_second_collection_at_once_is_refused(workers: Path, tmp_path: Path, refused: Any) -> None:
    with claim(tmp_path / "log"):
        line = refused(main, *command(workers, tmp_path / "log", 1))

    assert "another run" in line
    assert not list((tmp_path / "log").glob("*.jsonl"))
