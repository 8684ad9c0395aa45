"""The benchmarks run and print their tables; what they measure is not tested."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import (
    bounds,
    calibrate,
    environment,
    execution_log,
    gpu,
    prepare,
    scaling,
    startup,
)
from benchmarks.timing import RESULT_COLUMNS, Case, calls_in, measure
from orchestai_env import cuda_env

ROOT = Path(__file__).resolve().parent.parent
TINY = ["--rounds", "1", "--seconds", "0.001"]


def rows_of(text: str) -> list[list[str]]:
    """Returns the cells of all rows of the Markdown tables in a text, rules left out."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if not row[0].startswith("--")]


def test_measure_divides_by_the_reference_of_the_same_time() -> None:
    def run(count: int) -> int:
        return sum(range(1000 * count))

    found = measure(
        Case(("one",), run), [Case(("ten",), run, steps_per_call=10)], rounds=3, seconds=0.01
    )
    assert [measured.case.cells for measured in found] == [("one",), ("ten",)]
    assert [len(measured.ratios) for measured in found] == [3, 3]
    assert found[1].row[0] == "ten"


def test_calls_in_makes_at_least_one_call() -> None:
    made: list[int] = []
    assert calls_in(made.append, 0.0) >= 1
    assert made[0] == 1


@pytest.mark.slow
def test_environment_prints_a_row_per_case(capsys: pytest.CaptureFixture[str]) -> None:
    environment.main(TINY)
    header, first, *rows = rows_of(capsys.readouterr().out)
    assert header[4:] == list(RESULT_COLUMNS)
    assert first[0] == "gymnasium CartPole-v1, gym.make"
    names = {row[0] for row in rows}
    assert {"OrchestAI-v0, gym.make", "OrchestAI-v0, batched"} <= names
    assert all(len(row) == len(header) for row in rows)


@pytest.mark.slow
def test_bounds_order_what_knows_less_below_the_optimum(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Over these 60: random 0.67, lookahead 4.40, per-call hindsight 7.24, optimum 7.87."""
    bounds.main(["--workflows", "60", "--rewards", str(ROOT / "configs/rewards/balanced.yaml")])
    text = capsys.readouterr().out
    value = {row[0]: float(row[1]) for row in rows_of(text)[1:]}
    assert value["random"] < value["lookahead"] < value["hindsight, exact optimum"]
    assert value["hindsight, call by call"] <= value["hindsight, exact optimum"]
    assert "lookahead minus greedy, paired: " in text
    assert "searches finished: " in text


@pytest.mark.slow
def test_scaling_prints_tables_and_draws(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    picture = tmp_path / "folder" / "scaling.png"
    scaling.main([*TINY, "--steps", "5000", "--picture", str(picture)])
    text = capsys.readouterr().out
    rows = rows_of(text)
    assert [row[0] for row in rows[-len(scaling.SIZES) :]] == [str(n) for n in scaling.SIZES]
    assert "R²" in text
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_line_through_points_on_a_line_explains_all() -> None:
    line = scaling.Line.through([1, 2, 4], [3.0, 5.0, 9.0])
    assert (line.intercept, line.slope, line.explained) == pytest.approx((1.0, 2.0, 1.0))


def test_startup_times_a_fresh_interpreter(tmp_path: Path) -> None:
    started = startup.start(str(tmp_path), "import json")
    assert started.process > started.imports >= 0.0


@pytest.mark.skipif(cuda_env.cuda.is_available(), reason="there is a GPU")
def test_gpu_ends_in_one_line_without_a_gpu(refused: Callable[..., str]) -> None:
    assert "no NVIDIA GPU found" in refused(lambda arguments: gpu.main(arguments))


@pytest.mark.slow
def test_gpu_runs_in_the_simulator() -> None:
    process = subprocess.run(
        [sys.executable, "-W", "error", "-m", "benchmarks.gpu", "--num_envs", "3", *TINY],
        cwd=ROOT,
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.stderr == ""
    _, *rows = rows_of(process.stdout)
    assert [row[:3] for row in rows] == [
        ["3", seen, what] for seen in gpu.OBSERVATIONS for what in ("step", "copy")
    ]


@pytest.mark.slow
def test_prepare_prints_speed_and_memory(capsys: pytest.CaptureFixture[str]) -> None:
    prepare.main(["--mb", "0.05", "0.1", "--rounds", "1"])
    rows = rows_of(capsys.readouterr().out)
    for first in (1, 8, 15):  # a table of speeds for each size, and one of memory
        assert [row[0] for row in rows[first : first + 6]] == list(prepare.CASES)
    assert all(len(row) == 3 for row in rows[14:])


@pytest.mark.slow
def test_execution_log_prints_a_row_per_case(capsys: pytest.CaptureFixture[str]) -> None:
    execution_log.main(TINY)
    names = [row[0] for row in rows_of(capsys.readouterr().out)]
    loggers = {"ExecutionLogger, fsync never", "ExecutionLogger, fsync always"}
    assert loggers | {"read_log"} <= set(names)


@pytest.mark.slow
def test_calibrate_prints_its_phases(capsys: pytest.CaptureFixture[str]) -> None:
    calibrate.main(["--executions", "300"])
    assert any("read and fit" in row[0] for row in rows_of(capsys.readouterr().out))
