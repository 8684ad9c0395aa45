"""Runs of a benchmark: data, trainings and comparison, each once; finished ones are kept."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from agents.benchmark.comparison import ComparisonPlan, compare
from agents.benchmark.jobs import Job, run_jobs
from agents.benchmark.plots import plot_cost_success, plot_learning_curves
from agents.benchmark.report import console_table, write_report
from agents.checkpoint import write_whole
from agents.config import ExperimentSettings, profile_weights, save_resolved
from agents.experiment import check_output_dir, seeds_of
from agents.registry import PHASE1, PHASE2, SCRATCH, foreign_builder
from agents.tune_tables import TABLES
from orchestai_env.datasets.folder import DESCRIPTION, PREDICTIONS
from orchestai_env.datasets.recorded_import import describe_import, import_recorded
from orchestai_env.errors import ConfigError

MADE_OF = "made_of.sha256"
"""File of an output folder: a hash of the settings and the data that its runs come from."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One benchmark: settings, data, and where its runs and results go."""

    config: ExperimentSettings
    config_path: Path
    output_dir: Path
    foreign: tuple[str, ...] = ()
    """Values of the option --agent."""

    @property
    def profiles(self) -> tuple[str, ...]:
        """Names of the reward profiles; the first is the main one."""
        return tuple(self.config.benchmark.profiles)

    def run_dir(self, profile: str, seed: int) -> Path:
        """Returns the folder of the runs of one profile and seed."""
        return self.output_dir / profile / f"seed{seed}"


def prepare_data(benchmark: Benchmark, data: Path | None) -> Path | None:
    """Imports recorded outcomes and predicts success, where the settings name a source.

    Args:
        benchmark: settings and output folder.
        data: folder of recorded outcomes, or of an imported data set.
    Returns:
        The folder of the imported data set; None for built-in simulated data.
    Raises:
        OrchestAIError: the data is missing or malformed.
    """
    source, pool = benchmark.config.source, benchmark.config.worker_models
    if source is None:
        if data is not None:
            raise ConfigError(
                f"{benchmark.config_path}: has no `source`, so --data {data} has no use; "
                "leave it out or name a source"
            )
        return None
    if data is None:
        raise ConfigError(
            f"{benchmark.config_path}: compares agents on recorded outcomes ({source.source}); "
            "say where they are with --data FOLDER"
        )
    folder = data
    if not (data / DESCRIPTION).is_file():
        folder = benchmark.output_dir / "data"
        assert pool is not None  # ExperimentSettings refuses a source without workers
        print(describe_import(import_recorded(data, source, pool, folder)))
    predict = Job("supervised.predict_success", ("--data", str(folder)), folder / PREDICTIONS)
    run_jobs([predict], num_jobs=1, title="success predictor")
    return folder


def _claim_output(benchmark: Benchmark, data: Path | None) -> None:
    """Notes what the runs of an output folder are made of, and refuses to mix them with others.

    Raises:
        ConfigError: the folder holds runs of other settings or data, which would be reused.
    """
    settings = benchmark.config.model_dump_json(exclude={"benchmark"})
    content = settings.encode() + ((data / DESCRIPTION).read_bytes() if data else b"")
    made_of = hashlib.sha256(content).hexdigest()
    path = benchmark.output_dir / MADE_OF
    if path.is_file() and path.read_text().strip() != made_of:
        raise ConfigError(
            f"{benchmark.output_dir}: holds runs of other settings or data, which would be reused; "
            "name another --output_dir, or remove it"
        )
    write_whole(path, lambda partial: partial.write_text(made_of + "\n"))


def training_jobs(benchmark: Benchmark, data: Path | None) -> list[Job]:
    """Returns every tuning and training that the agents of the registry need."""
    jobs = []
    for seed in seeds_of(benchmark.config):
        for profile in benchmark.profiles:
            folder = benchmark.run_dir(profile, seed)
            shared = ["--config", str(benchmark.config_path), "--profile", profile]
            shared += ["--seed", str(seed), "--quiet"]
            shared += ["--data", str(data)] if data else []
            phase1 = _job("supervised.train_phase1", shared, folder / PHASE1, "result.json")
            best = str(folder / PHASE1 / "phase1_best.pth")
            tuned = dataclasses.replace(
                _job(
                    "agents.train_phase2",
                    [*shared, "--checkpoint", best],
                    folder / PHASE2,
                    "result.json",
                ),
                after=phase1,
            )
            jobs += [
                phase1,
                _job("agents.tune_tables", shared, folder, TABLES),
                _job("agents.train_phase2", shared, folder / SCRATCH, "result.json"),
                tuned,
            ]
    return jobs


def _job(module: str, shared: Sequence[str], folder: Path, result: str) -> Job:
    # A run that was killed before its end left its last checkpoint.
    resume = ("--resume",) if any(folder.glob("*_last.*")) else ()
    return Job(module, (*shared, "--output_dir", str(folder), *resume), folder / result)


def run_benchmark(benchmark: Benchmark, data: Path | None) -> dict[str, Any]:
    """Runs everything that is not done yet, and writes summary.json, report.md and the plots.

    Returns:
        What summary.json holds: the main profile's {agent: {train, test}, paired}, and the other
        profiles' likewise under "profiles".
    """
    for text in benchmark.foreign:
        foreign_builder(text)
    if not benchmark.profiles:
        raise ConfigError(f"{benchmark.config_path}: benchmark.profiles names no reward profile")
    for profile in benchmark.profiles:
        profile_weights(benchmark.config, benchmark.config_path, profile)
    check_output_dir(benchmark.output_dir)
    benchmark.output_dir.mkdir(parents=True, exist_ok=True)
    save_resolved(benchmark.config, benchmark.output_dir / "config.yaml")
    folder = prepare_data(benchmark, data)
    _claim_output(benchmark, folder)
    run_jobs(
        training_jobs(benchmark, folder),
        num_jobs=benchmark.config.benchmark.num_jobs,
        title="training",
    )
    found = {profile: _compare(benchmark, folder, profile) for profile in benchmark.profiles}
    main, *others = benchmark.profiles
    summary = found[main] | {"profiles": {profile: found[profile] for profile in others}}
    text = json.dumps(summary, indent=1) + "\n"
    write_whole(benchmark.output_dir / "summary.json", lambda path: path.write_text(text))
    for profile in benchmark.profiles:
        curves = [benchmark.run_dir(profile, seed) for seed in seeds_of(benchmark.config)]
        plot_learning_curves(
            benchmark.output_dir / f"learning_curve_{profile}.png", curves, profile
        )
        plot_cost_success(
            benchmark.output_dir / f"cost_success_{profile}.png", found[profile], profile
        )
    write_report(benchmark.output_dir / "report.md", found, benchmark.config)
    for profile, results in found.items():
        # At fewer columns rich would cut figures off; a narrow terminal wraps the lines instead.
        Console(width=max(Console().width, 122)).print(console_table(profile, results))
    return summary


def _compare(benchmark: Benchmark, data: Path | None, profile: str) -> dict[str, Any]:
    seeds = tuple(seeds_of(benchmark.config))
    return compare(
        ComparisonPlan(
            config_path=benchmark.config_path,
            config=benchmark.config,
            data=data,
            profile=profile,
            run_dirs=tuple(benchmark.run_dir(profile, seed) for seed in seeds),
            seeds=seeds,
            foreign=benchmark.foreign,
        )
    )


def quick_settings(config: ExperimentSettings) -> ExperimentSettings:
    """Returns the settings of a short look: one seed, the main profile, fewer replicates."""
    main = dict(list(config.benchmark.profiles.items())[:1])
    changes = {"num_seeds": 1, "profiles": main, "replicates": 50}
    return config.model_copy(update={"benchmark": config.benchmark.model_copy(update=changes)})
