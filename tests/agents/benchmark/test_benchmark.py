"""The benchmark end to end: every agent trained, compared and reported; finished runs reused."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from agents.benchmark import __main__ as command
from agents.benchmark import comparison, jobs
from agents.benchmark.runs import Benchmark, quick_settings, run_benchmark, training_jobs
from agents.config import load_experiment
from agents.registry import BUILDERS
from orchestai_env.errors import ConfigError
from tests.recorded_source import write_source
from tests.tiny_config import recorded_config, write_config

ROOT = Path(__file__).resolve().parents[2]
FOREIGN = "mine=tests.agents.foreign:dearest_of_seed"
MEANS = {"return_mean", "success_rate", "cost_usd", "latency_s", "validity", "calls"}


class InProcess:
    """Runs the jobs' commands in this process, which saves the imports of each."""

    def __init__(self) -> None:
        self.modules: list[str] = []

    def __call__(self, command: list[str], *, stdout: Any, **_: Any) -> Any:
        _python, _m, module, *arguments = command
        self.modules.append(module)
        with contextlib.redirect_stdout(stdout):
            importlib.import_module(module).main(arguments)
        return subprocess.CompletedProcess(command, 0)


@pytest.fixture(scope="module")
def in_process() -> Iterator[InProcess]:
    with pytest.MonkeyPatch.context() as patch:
        runner = InProcess()
        only_run = types.SimpleNamespace(run=runner, STDOUT=subprocess.STDOUT)
        patch.setattr(jobs, "subprocess", only_run)
        yield runner


def make(folder: Path, *, foreign: tuple[str, ...] = ()) -> Benchmark:
    config = write_config(
        folder,
        benchmark={"profiles": {"balanced": "balanced.yaml", "literal": "literal.yaml"}},
    )
    (folder / "literal.yaml").write_text("success_weight: 10.0\n")
    return Benchmark(
        config=load_experiment(config),
        config_path=config,
        output_dir=folder / "run",
        foreign=foreign,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, in_process: InProcess) -> Benchmark:
    """A benchmark of two profiles, one seed and a foreign agent on built-in data."""
    benchmark = make(tmp_path_factory.mktemp("benchmark"), foreign=(FOREIGN,))
    run_benchmark(benchmark, None)
    return benchmark


def summary_of(benchmark: Benchmark) -> dict[str, Any]:
    data = json.loads((benchmark.output_dir / "summary.json").read_text())
    assert isinstance(data, dict)
    return data


def test_summary_has_train_and_test_of_every_agent(finished: Benchmark) -> None:
    summary = summary_of(finished)

    assert set(summary) == {*BUILDERS, "mine", "paired", "profiles"}
    assert set(summary["profiles"]) == {"literal"}
    for results in (summary, summary["profiles"]["literal"]):
        for name in (*BUILDERS, "mine"):
            for split in ("train", "test"):
                found = results[name][split]
                assert MEANS | {"ci95", "return_per_seed"} <= set(found)
                assert np.isfinite([found[key] for key in MEANS]).all()
                low, high = found["ci95"]
                assert low <= high
                assert found["validity"] == 1.0
                assert len(found["return_per_seed"]) == 1


def test_summary_has_paired_differences_to_the_escalation_table(finished: Benchmark) -> None:
    summary = summary_of(finished)

    paired = summary["paired"]
    assert set(paired) == {*BUILDERS, "mine"} - {"escalation"}
    reference = summary["escalation"]["test"]["return_mean"]
    for name, found in paired.items():
        assert found["minus"] == "escalation"
        expected = summary[name]["test"]["return_mean"] - reference
        assert found["difference_mean"] == pytest.approx(expected)
        assert found["ci95"][0] <= found["ci95"][1]


def test_foreign_agent_is_run_on_the_same_workflows(finished: Benchmark) -> None:
    """The factory returns the cheapest worker for seed 0, so both agents do exactly the same."""
    summary = summary_of(finished)

    assert summary["mine"] == summary["cheapest"]
    assert summary["paired"]["mine"] == summary["paired"]["cheapest"]


def test_report_and_pictures_are_written(finished: Benchmark) -> None:
    text = (finished.output_dir / "report.md").read_text()

    for profile in finished.profiles:
        assert f"## Profile {profile}" in text
        for kind in ("learning_curve", "cost_success"):
            assert f"({kind}_{profile}.png)" in text
            pixels = matplotlib.image.imread(finished.output_dir / f"{kind}_{profile}.png")
            assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 20
    assert all(f"| {name} |" in text for name in (*BUILDERS, "mine"))


def in_threads(
    num_jobs: int, _context: Any, initializer: Callable[..., None], arguments: tuple[Any, ...]
) -> ThreadPoolExecutor:
    """Stands in for ProcessPoolExecutor, without the imports of new processes."""
    return ThreadPoolExecutor(num_jobs, "compare", initializer, arguments)


def test_second_call_reuses_finished_runs(
    finished: Benchmark, in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison itself is made anew, here in threads, and comes to the same figures."""
    monkeypatch.setattr(comparison, "ProcessPoolExecutor", in_threads)
    monkeypatch.setattr(comparison, "_in_process", None)
    summary = (finished.output_dir / "summary.json").read_text()
    assert sorted(set(in_process.modules)) == [
        "agents.train_phase2",
        "agents.tune_tables",
        "supervised.train_phase1",
    ]
    in_process.modules.clear()
    missing = finished.run_dir("literal", 0) / "tables.json"
    tables = missing.read_text()
    missing.unlink()

    run_benchmark(finished, None)

    assert in_process.modules == ["agents.tune_tables"]
    assert missing.read_text() == tables
    assert (finished.output_dir / "summary.json").read_text() == summary


def test_runs_of_other_settings_are_not_reused(finished: Benchmark) -> None:
    other = dataclasses.replace(
        finished, config=finished.config.model_copy(update={"seed": finished.config.seed + 1})
    )

    with pytest.raises(ConfigError, match="holds runs of other settings or data"):
        run_benchmark(other, None)


def test_jobs_of_a_benchmark(tmp_path: Path) -> None:
    benchmark = make(tmp_path)
    found = training_jobs(benchmark, tmp_path / "data")

    assert len(found) == 4 * 2
    assert len({job.result for job in found}) == len(found)
    for job in found:
        assert job.arguments[job.arguments.index("--data") + 1] == str(tmp_path / "data")
    tuned = [job for job in found if "--checkpoint" in job.arguments]
    assert len(tuned) == 2
    for job in tuned:
        assert job.after is not None and job.after.module == "supervised.train_phase1"
        checkpoint = Path(job.arguments[job.arguments.index("--checkpoint") + 1])
        assert checkpoint.parent == job.after.result.parent


def test_killed_run_is_resumed(tmp_path: Path) -> None:
    benchmark = make(tmp_path)
    killed = training_jobs(benchmark, None)[0].result.parent
    killed.mkdir(parents=True)
    (killed / "phase1_last.pth").touch()

    resumed = [
        job.result.parent for job in training_jobs(benchmark, None) if "--resume" in job.arguments
    ]

    assert resumed == [killed]


def test_quick_settings_are_one_seed_and_the_main_profile(tmp_path: Path) -> None:
    config = quick_settings(make(tmp_path).config)

    assert config.benchmark.num_seeds == 1
    assert list(config.benchmark.profiles) == ["balanced"]


def test_data_for_simulated_workflows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no `source`"):
        run_benchmark(make(tmp_path), tmp_path)


def test_agent_that_does_not_fit_ends_in_one_line(finished: Benchmark) -> None:
    """It is found before worker processes start, where it would be a broken pool."""
    broken = finished.run_dir("balanced", 0) / "phase1" / "phase1_best.pth"
    content = broken.read_bytes()
    broken.write_bytes(b"text")
    try:
        with pytest.raises(ValueError, match=r"phase1_best\.pth: cannot be read as a checkpoint"):
            run_benchmark(finished, None)
    finally:
        broken.write_bytes(content)


@pytest.mark.slow
def test_command_imports_predicts_trains_and_compares_recorded_data(tmp_path: Path) -> None:
    """The real processes, with the real text encoder, on the toy source."""
    config = recorded_config(tmp_path, planner={"max_subtasks": 3}, benchmark={"num_jobs": 2})
    source = write_source(tmp_path / "source")
    output = tmp_path / "run"
    arguments = ["--config", config, "--data", source, "--output_dir", output, "--quick"]

    done = subprocess.run(
        [sys.executable, "-m", command.__name__, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "60 queries of 2 task types" in done.stdout
    summary = json.loads((output / "summary.json").read_text())
    assert set(summary) == {*BUILDERS, "paired", "profiles"}
    assert summary["hindsight"]["test"]["return_mean"] >= summary["ppo"]["test"]["return_mean"]
    assert (output / "data" / "predictions.npz").is_file()
    assert "Latency is derived" in (output / "report.md").read_text()
