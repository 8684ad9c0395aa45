"""`orchestai collect`: each execution once, whatever happens in between."""

from __future__ import annotations

import collections
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from orchestai_env.cli import main
from orchestai_env.execution.calls.budget import sum_usd
from orchestai_env.execution.log.log_reading import read_log
from orchestai_env.execution.log.record import ExecutionRecord
from orchestai_env.run_folder import claim

ROOT = Path(__file__).resolve().parents[4]
FUNCTIONS = "tests.orchestai_env.execution.live_functions"
WORKERS = f"""
workers:
  - {{name: good, backend: function, function: "{FUNCTIONS}:good", output_usd_per_mtok: 1000.0,
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
    folder = tmp_path / "log"
    collect(workers, folder, 30, "--budget_usd", "0.2", "--num_parallel", "2")
    out = capsys.readouterr().out
    found = records(folder)
    assert "stopped at the budget of 0.2 USD, a larger one goes on" in out
    assert f"{num_interrupted(found)} interrupted in this run" in out
    assert 1 <= num_interrupted(found) <= 2
    assert 0.2 - 0.02 < sum_usd(record.cost for record in found) <= 0.2

    collect(workers, folder, 30, "--budget_usd", "0.4")
    out = capsys.readouterr().out
    assert "stopped at the budget of 0.4 USD" in out
    assert sum_usd(record.cost for record in records(folder)) <= 0.4

    collect(workers, folder, 30)
    assert done(folder) == {f"0-{i:08d}": 1 for i in range(30)}
    assert "interrupted" not in capsys.readouterr().out


def num_interrupted(found: list[ExecutionRecord]) -> int:
    """Returns how many executions were cut short."""
    return sum(record.interrupted for record in found)


def done(folder: Path) -> collections.Counter[str]:
    """Returns how often each execution was done."""
    found = records(folder)
    return collections.Counter(one.execution_id for one in found if not one.interrupted)


@pytest.mark.parametrize(
    ("number", "code", "how_often"),
    [(signal.SIGINT, 130, 1), (signal.SIGTERM, 143, 1), (signal.SIGINT, 130, 3)],
)
def test_stopped_collection_logs_what_ran_and_goes_on(
    workers: Path, tmp_path: Path, number: int, code: int, how_often: int
) -> None:
    folder = tmp_path / "log"
    workers.write_text(WORKERS.replace(":good", ":slow"))
    process = started(workers, folder, 200, "--num_parallel", "4")
    wait_for_more(folder, 8, process)  # the first ones wait for the compiler
    for _ in range(how_often):
        process.send_signal(number)
        time.sleep(0.02)
    _, err = process.communicate(timeout=30)

    found = list(read_log(folder))  # every line is whole
    line = err.decode()
    if how_often == 1:
        assert process.returncode == code, line
        assert re.fullmatch(
            rf"{folder}: {done(folder).total()} of 200 executions, .* USD, "
            rf"{num_interrupted(found)} interrupted in this run; stopped, the same command goes on "
            r"from there\n",
            line,
        )
    else:  # the last one may come when all is logged, and end the process at once
        assert process.returncode in (code, -number), line
    assert "Traceback" not in line
    assert 1 <= num_interrupted(found) <= 4

    collect(workers, folder, 30)
    assert set(done(folder).values()) == {1}
    assert {f"0-{i:08d}" for i in range(30)} <= done(folder).keys()


@pytest.mark.parametrize("num_lost", [1, 2])
def test_line_whose_last_bytes_a_kill_took_is_done_once(
    workers: Path, tmp_path: Path, num_lost: int
) -> None:
    folder = tmp_path / "log"
    collect(workers, folder, 4)
    (path,) = folder.glob("*.jsonl")
    path.write_bytes(path.read_bytes()[:-num_lost])  # the line feed, and the brace before it
    collect(workers, folder, 5)

    assert done(folder) == {f"0-{i:08d}": 1 for i in range(5)}


@pytest.mark.slow
def test_killed_collection_loses_and_repeats_nothing(workers: Path, tmp_path: Path) -> None:
    rng, folder, num_executions = random.Random(0), tmp_path / "log", 400
    acknowledged: set[str] = set()
    for _ in range(20):
        process = started(workers, folder, num_executions)
        wait_for_more(folder, len(acknowledged), process)
        time.sleep(rng.uniform(0.0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        found = ids(folder)
        assert acknowledged <= set(found)
        assert len(found) == len(set(found))
        acknowledged = set(found)
    collect(workers, folder, num_executions)

    assert sorted(ids(folder)) == [f"0-{i:08d}" for i in range(num_executions)]


def started(workers: Path, folder: Path, count: int, *arguments: str) -> subprocess.Popen[bytes]:
    """Starts the command in a process of its own."""
    code = "import sys; from orchestai_env.cli import main; main(sys.argv[1:])"
    return subprocess.Popen(
        [sys.executable, "-c", code, *command(workers, folder, count), *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


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
        (["--engine", "cloud"], "--engine: unknown engine 'cloud'. Known: local, ray"),
        (["--budget_usd", "-1"], "--budget_usd: expected an amount >= 0, got -1"),
    ],
)
def test_bad_arguments_are_refused(
    arguments: list[str], message: str, workers: Path, tmp_path: Path, refused: Any
) -> None:
    assert message in refused(main, *command(workers, tmp_path / "log", 3), *arguments)


def test_missing_ray_is_one_line(
    workers: Path, tmp_path: Path, refused: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    line = refused(main, *command(workers, tmp_path / "log", 3), "--engine", "ray")
    assert 'pip install "orchestai-env[ray]", or use --engine local' in line


def test_folder_of_another_collection_is_refused(
    workers: Path, tmp_path: Path, refused: Any
) -> None:
    collect(workers, tmp_path / "log", 1)
    line = refused(main, *command(workers, tmp_path / "log", 1), "--seed", "3")
    assert "was collected with another seed" in line


def test_settings_that_logged_nothing_bind_nobody(
    workers: Path, tmp_path: Path, refused: Any
) -> None:
    folder = tmp_path / "log"
    assert "unknown chooser" in refused(main, *command(workers, folder, 1), "--chooser", "gredy")
    collect(workers, folder, 1, "--chooser", "greedy")
    assert done(folder).total() == 1


def test_collection_goes_on_with_the_same_redaction_only(
    workers: Path, tmp_path: Path, refused: Any
) -> None:
    folder, redaction = tmp_path / "log", tmp_path / "redaction.yaml"
    redaction.write_text("outputs: drop\n")
    collect(workers, folder, 1, "--redaction", str(redaction))
    assert "with another redaction" in refused(main, *command(workers, folder, 2))
    collect(workers, folder, 2, "--redaction", str(redaction))
    assert not any(one.execution_result.outputs for one in records(folder))


def test_settings_that_a_power_cut_took_are_refused(
    workers: Path, tmp_path: Path, refused: Any
) -> None:
    collect(workers, tmp_path / "log", 1)
    (tmp_path / "log" / "collection.json").write_text("")
    line = refused(main, *command(workers, tmp_path / "log", 1))
    assert "collection.json: expected the settings of a collection, got text that breaks" in line


def test_second_collection_at_once_is_refused(workers: Path, tmp_path: Path, refused: Any) -> None:
    with claim(tmp_path / "log"):
        line = refused(main, *command(workers, tmp_path / "log", 1))

    assert "another run" in line
    assert not list((tmp_path / "log").glob("*.jsonl"))
