"""The benchmark end to end: every agent trained, compared and reported; finished runs reused."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from agents.benchmark import __main__ as command
from agents.benchmark import comparison, runs
from agents.benchmark.runs import Benchmark, quick_settings, run_benchmark, training_jobs
from agents.config import ExperimentSettings, load_experiment
from orchestai_env.errors import ConfigError, OrchestAIError
from orchestai_env.settings import parse_settings
from tests.agents.benchmark.in_process import InProcess, one_thread
from tests.agents.benchmark.in_process import in_process as run_in_process
from tests.recorded_source import write_source
from tests.tiny_config import recorded_config, write_config

ROOT = Path(__file__).resolve().parents[3]
FOREIGN = "mine=tests.agents.foreign:dearest_of_seed"
BASELINES = ["random", "cheapest", "escalation", "hindsight"]
TRAINED = ["bc", "bc-ppo", "ppo"]
AGENTS = (*BASELINES, *TRAINED)
BESIDE_AGENTS = ("paired", "head_to_head", "front", "profiles", "all_profiles")
MANY_RUNS = {
    "trained": {"first": {"phase": 1}, "second": {"start_from": "first"}},
    "profiles": {"balanced": "balanced.yaml", "literal": "literal.yaml"},
    "num_seeds": 2,
}
MEANS = {"return_mean", "success_rate", "cost_usd", "latency_s", "validity", "calls"}


@pytest.fixture(scope="module")
def in_process() -> Iterator[InProcess]:
    with pytest.MonkeyPatch.context() as patch, run_in_process() as runner:
        patch.setattr(comparison, "open_executor", one_thread)
        patch.setattr(comparison, "_in_process", None)
        yield runner


def make(folder: Path, *, foreign: tuple[str, ...] = ()) -> Benchmark:
    config = write_config(
        folder,
        benchmark={
            "profiles": {"balanced": "balanced.yaml", "literal": "literal.yaml"},
            "agents": BASELINES,
        },
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

    assert set(summary) == {*AGENTS, "mine", *BESIDE_AGENTS}
    assert set(summary["profiles"]) == {"literal"}
    for results in (summary, summary["profiles"]["literal"]):
        for name in (*AGENTS, "mine"):
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
    assert set(paired) == {*AGENTS, "mine"} - {"escalation"}
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
    assert all(f"| {name} |" in text for name in (*AGENTS, "mine"))


def test_second_call_reuses_finished_runs(finished: Benchmark, in_process: InProcess) -> None:
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


def test_jobs_of_a_benchmark_are_those_of_every_profile_and_seed(tmp_path: Path) -> None:
    benchmark = make(tmp_path)
    benchmark = dataclasses.replace(
        benchmark,
        config=parse_settings(
            benchmark.config.model_dump() | {"benchmark": MANY_RUNS}, ExperimentSettings, where=""
        ),
    )

    found = training_jobs(benchmark, tmp_path / "data")

    expected = {
        benchmark.run_dir(profile, seed) / name
        for profile in ("balanced", "literal")
        for seed in (0, 1)
        for name in ("first/result.json", "second/result.json", "tables.json")
    }
    assert {job.result for job in found} == expected and len(found) == len(expected)
    for job in found:
        data, profile, seed = (
            job.arguments[job.arguments.index(name) + 1]
            for name in ("--data", "--profile", "--seed")
        )
        assert data == str(tmp_path / "data")
        assert f"/{profile}/seed{seed}/" in str(job.result)
        if job.after is not None:
            assert job.after.result == job.result.parents[1] / "first" / "result.json"


def test_another_trained_agent_joins_a_finished_benchmark(
    finished: Benchmark, in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only its training runs; the settings that it changes reach it."""
    monkeypatch.setattr(runs, "compare_and_publish", lambda *_: {})
    data = finished.config.model_dump()
    longer = {"training": {"phase2_rl": {"total_timesteps": 96}}}
    data["benchmark"]["trained"]["longer"] = longer
    data["benchmark"]["profiles"] = {"balanced": "balanced.yaml"}
    more = parse_settings(data, ExperimentSettings, where="")
    in_process.modules.clear()

    run_benchmark(dataclasses.replace(finished, config=more), None)

    assert in_process.modules == ["agents.train_phase2"]
    result = finished.run_dir("balanced", 0) / "longer" / "result.json"
    assert json.loads(result.read_text())["timesteps"] == 96
    shutil.rmtree(result.parent)


def test_quick_settings_are_one_seed_and_the_main_profile(tmp_path: Path) -> None:
    config = quick_settings(make(tmp_path).config)

    assert config.benchmark.num_seeds == 1
    assert list(config.benchmark.profiles) == ["balanced"]


def test_data_for_simulated_workflows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no `source`"):
        run_benchmark(make(tmp_path), tmp_path)


def test_agent_that_does_not_fit_is_told_and_the_others_are_kept(finished: Benchmark) -> None:
    broken = finished.run_dir("balanced", 0) / "bc" / "phase1_best.pth"
    content = broken.read_bytes()
    broken.write_bytes(b"text")
    try:
        with pytest.raises(
            OrchestAIError,
            match=r"others' results .* bc \(balanced\): .*phase1_best\.pth: cannot be read",
        ):
            run_benchmark(finished, None)
    finally:
        broken.write_bytes(content)

    assert "return_mean" in summary_of(finished)["ppo"]["test"]


def test_failed_training_is_told_and_the_others_are_compared(
    finished: Benchmark, in_process: InProcess, tmp_path: Path
) -> None:
    run_dir, kept = finished.run_dir("balanced", 0) / "ppo", tmp_path / "kept"
    shutil.move(run_dir, kept)
    in_process.failing = run_dir
    try:
        with pytest.raises(
            OrchestAIError,
            match=r"train_phase2 failed: error: a loss is not finite .*others' results are in "
            r".*ppo \(balanced\): the training of ppo under seed 0 did not finish",
        ):
            run_benchmark(finished, None)
    finally:
        in_process.failing = None
        shutil.rmtree(run_dir)
        shutil.move(kept, run_dir)

    summary = summary_of(finished)
    assert set(summary["ppo"]) == {"error"}
    assert "return_mean" in summary["profiles"]["literal"]["ppo"]["test"]
    assert all("return_mean" in summary[name]["test"] for name in ("escalation", "bc", "bc-ppo"))


@pytest.mark.slow
def test_command_imports_predicts_trains_and_compares_recorded_data(tmp_path: Path) -> None:
    """The real processes, with the real text encoder, on the toy source."""
    changes = {"num_jobs": 2, "agents": BASELINES}
    config = recorded_config(tmp_path, planner={"max_subtasks": 3}, benchmark=changes)
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
    assert set(summary) == {*AGENTS, *BESIDE_AGENTS} - {"all_profiles"}
    assert summary["hindsight"]["test"]["return_mean"] >= summary["ppo"]["test"]["return_mean"]
    assert (output / "data" / "predictions.npz").is_file()
    assert "Latency is derived" in (output / "report.md").read_text()
