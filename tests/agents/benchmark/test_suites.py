"""Suites: what each fixes, and how the command finds them, their data and their settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.benchmark import __main__ as command
from agents.benchmark.runs import Benchmark
from agents.benchmark.suites import SUITES, suite_names, suite_path
from agents.benchmark.trained import agent_settings
from agents.config import load_experiment, profile_weights
from orchestai_env.errors import ConfigError
from tests.recorded_source import import_source
from tests.tiny_config import recorded_config

Refused = Callable[..., str]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Benchmark]:
    """What the command would run."""
    found: list[Benchmark] = []

    def note(benchmark: Benchmark, _data: Path | None) -> dict[str, Any]:
        found.append(benchmark)
        return {}

    monkeypatch.setattr(command, "run_benchmark", note)
    return found


def test_suites_are_those_documented() -> None:
    assert suite_names() == ["llmrouter", "mixed", "mmlu_pro", "sim", "zeroeval"]


@pytest.mark.parametrize("name", suite_names())
def test_suite_fixes_environment_seeds_and_score(name: str) -> None:
    path = suite_path(name)
    config = load_experiment(path)

    assert config.benchmark.num_seeds >= 5
    assert config.benchmark.profiles
    for profile in config.benchmark.profiles:
        assert profile_weights(config, path, profile).success_weight == 10.0
    assert set(agent_settings(config, path)) >= {"bc", "bc-ppo"}
    if config.source is not None:
        assert config.planner.max_subtasks == config.source.max_subtasks
    if config.source is not None and config.source.latency == "derived":
        assert config.worker_models is not None
        for worker in config.worker_models.workers:
            assert worker.source == "assumed"
            assert worker.first_token_ms > 0 and worker.tokens_per_s > 0


def test_sim_needs_no_data() -> None:
    assert load_experiment(suite_path("sim")).source is None


def test_llmrouter_counts_success_of_single_calls_alone() -> None:
    path = suite_path("llmrouter")
    config = load_experiment(path)

    assert config.source is not None
    assert (config.source.cost, config.source.latency) == ("none", "none")
    assert (config.source.min_subtasks, config.source.max_subtasks) == (1, 1)
    assert config.rules().max_attempts == 1
    weights = profile_weights(config, path, next(iter(config.benchmark.profiles)))
    assert (weights.cost_weight, weights.latency_weight) == (0.0, 0.0)


def test_mixed_draws_subsets_of_a_larger_pool() -> None:
    config, small = (load_experiment(suite_path(name)) for name in ("mixed", "zeroeval"))

    assert config.worker_models is not None and small.worker_models is not None
    assert len(config.worker_models) == 12
    assert config.rules().min_workers == 4
    assert config.source == small.source
    same = {worker.name: worker for worker in small.worker_models.workers}
    for worker in config.worker_models.workers:
        assert same.get(worker.name, worker) == worker


def test_command_takes_a_suite_by_name(
    asked: list[Benchmark], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    command.main(["--suite", "sim", "--output_dir", "out"])

    assert asked[0].config_path == SUITES / "sim.yaml"
    assert asked[0].config == load_experiment(SUITES / "sim.yaml")


def test_command_line_goes_before_the_settings(asked: list[Benchmark], tmp_path: Path) -> None:
    options = ["--engine", "ray", "--num_seeds", "3", "--num_jobs", "7"]
    command.main(["--suite", "sim", "--output_dir", str(tmp_path), "--quick", *options])

    chosen = asked[0].config.benchmark
    assert (chosen.engine, chosen.num_seeds, chosen.num_jobs) == ("ray", 3, 7)
    assert list(chosen.profiles) == ["balanced"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--suite", "zeroeva"], "--suite: unknown suite 'zeroeva'. Did you mean 'zeroeval'?"),
        (["--suite", "sim", "--engine", "roy"], "benchmark.engine: .*'local' or 'ray'"),
        (["--suite", "sim", "--num_seeds", "0"], "command line: benchmark.num_seeds: "),
        (["--suite", "zeroeval", "--profile", "speed"], "--profile: unknown profile 'speed'"),
        (["--suite", "zeroeval"], "on recorded outcomes (zeroeval); say where they are"),
        (["--suite", "sim", "--data", "x"], "has no `source`"),
    ],
)
def test_wrong_options_are_told(
    refused: Refused, tmp_path: Path, options: list[str], message: str
) -> None:
    line = refused(command.main, *options, "--output_dir", tmp_path / "out")

    assert all(part in line for part in message.split(".*"))


@pytest.mark.parametrize("options", [[], ["--suite", "sim", "--config", "x.yaml"]])
def test_exactly_one_of_suite_and_config_is_asked_for(
    tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main([*options, "--output_dir", str(tmp_path)])

    assert caught.value.code == 2
    assert "--suite" in capsys.readouterr().err


def test_missing_data_of_a_suite_is_told(refused: Refused, tmp_path: Path) -> None:
    line = refused(
        command.main, "--suite", "mmlu_pro", "--data", tmp_path, "--output_dir", tmp_path / "out"
    )

    assert "'mmlu_pro': its data is missing" in line
    assert f"expected the folder {tmp_path / 'mmlu_pro'} of recorded outcomes" in line
    assert "say with --data where it is" in line


def test_data_imported_with_other_settings_is_told(refused: Refused, tmp_path: Path) -> None:
    """The toy data was imported with seed 7."""
    data = import_source(tmp_path)
    config = recorded_config(tmp_path / "config", planner={"max_subtasks": 3})

    line = refused(
        command.main, "--config", config, "--data", data, "--output_dir", tmp_path / "out"
    )

    assert f"{data}: was imported with source.seed 7, but {config} says 0" in line


def test_unknown_suite_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="Known: llmrouter, mixed, mmlu_pro, sim, zeroeval"):
        suite_path("none")
