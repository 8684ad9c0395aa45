"""Runs of a benchmark: data, trainings and comparison, each once; finished ones are kept."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from agents.benchmark.jobs import Job, JobError, run_jobs
from agents.benchmark.made_of import claim_parts, data_part, parts_of
from agents.benchmark.publish import AgentsFailedError, compare_and_publish
from agents.benchmark.trained import agent_settings, trained_jobs, write_settings
from agents.benchmark.workbench import ComparisonPlan
from agents.config import ExperimentSettings, save_resolved
from agents.experiment import seeds_of
from agents.registry import agent_builders
from agents.tune_tables import TABLES
from orchestai_env.datasets.folder import DESCRIPTION, PREDICTIONS, read_description
from orchestai_env.datasets.recorded_import import describe_import, import_recorded
from orchestai_env.datasets.recorded_settings import RecordedSourceSettings
from orchestai_env.errors import ConfigError, MissingFileError, shown
from orchestai_env.run_folder import claim


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

    @property
    def settings_dir(self) -> Path:
        """Holds the settings of each trained agent."""
        return self.output_dir / "settings"

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
    if (data / DESCRIPTION).is_file():
        folder = data
        _check_imported(benchmark, data, source)
    else:
        folder = benchmark.output_dir / "data"
        _check_source(benchmark, data, source.source)
        assert pool is not None  # ExperimentSettings refuses a source without workers
        print(describe_import(import_recorded(data, source, pool, folder)))
    predict = Job("supervised.predict_success", ("--data", str(folder)), folder / PREDICTIONS)
    run_jobs([predict], num_jobs=1, title="success predictor")
    return folder


def _check_imported(benchmark: Benchmark, data: Path, source: RecordedSourceSettings) -> None:
    """Refuses an imported data set of other settings, as results would not be of this benchmark.

    Raises:
        ConfigError: it is one.
    """
    found = read_description(data).settings.model_dump()
    for key, wanted in source.model_dump().items():
        if found[key] != wanted:
            raise ConfigError(
                f"{data}: was imported with source.{key} {shown(found[key])}, but "
                f"{benchmark.config_path} says {shown(wanted)}; import the data again with it"
            )


def _check_source(benchmark: Benchmark, data: Path, source: str) -> None:
    """Refuses a data folder without the source of the benchmark.

    Raises:
        MissingFileError: it is not there.
    """
    if not (data / source).is_dir():
        raise MissingFileError(
            f"benchmark {benchmark.config_path.stem!r}: its data is missing: expected the folder "
            f"{data / source} of recorded outcomes, or an imported data set ({DESCRIPTION}) in "
            f"{data}; fetch the source {source!r}, or say with --data where it is"
        )


def training_jobs(benchmark: Benchmark, data: Path | None) -> list[Job]:
    """Returns every tuning and training that the agents of a benchmark need."""
    order = list(agent_settings(benchmark.config, benchmark.config_path))
    jobs = []
    for seed in seeds_of(benchmark.config):
        for profile in benchmark.profiles:
            folder = benchmark.run_dir(profile, seed)
            options = ["--profile", profile, "--seed", str(seed), "--quiet"]
            options += ["--data", str(data)] if data else []
            jobs += trained_jobs(
                benchmark.config.benchmark.trained,
                order,
                settings=benchmark.settings_dir,
                folder=folder,
                options=options,
            )
            config = ["--config", str(benchmark.config_path), "--output_dir", str(folder)]
            jobs.append(Job("agents.tune_tables", (*config, *options), folder / TABLES))
    return jobs


def run_benchmark(benchmark: Benchmark, data: Path | None) -> dict[str, Any]:
    """Runs everything that is not done yet, and writes summary.json, the pages and the plots.

    Args:
        benchmark: settings and output folder.
        data: folder of recorded outcomes, or of an imported data set; None for simulated data.
    Returns:
        What summary.json holds; see compare_and_publish.
    Raises:
        JobError, AgentsFailedError: trainings or agents failed; raised last, with the results of
            the others written.
        OrchestAIError: settings or data are wrong, or another process writes to the output folder.
    """
    config, path = benchmark.config, benchmark.config_path
    if not benchmark.profiles:
        raise ConfigError(f"{path}: benchmark.profiles names no reward profile")
    agent_builders(config.benchmark, benchmark.foreign)
    parts = parts_of(config, path)
    with claim(benchmark.output_dir):
        claim_parts(benchmark.output_dir, parts)
        save_resolved(config, benchmark.output_dir / "config.yaml")
        write_settings(agent_settings(config, path), path, benchmark.settings_dir)
        folder = prepare_data(benchmark, data)
        if folder is not None:
            claim_parts(benchmark.output_dir, [data_part(folder)])
        failed = _train(benchmark, folder)
        try:
            summary = compare_and_publish(_plans(benchmark, folder), benchmark.output_dir)
        except AgentsFailedError as error:
            raise AgentsFailedError(f"{failed}; {error}" if failed else str(error)) from None
        if failed:
            raise failed
        return summary


def _train(benchmark: Benchmark, data: Path | None) -> JobError | None:
    """Runs all trainings; returns what failed, where others finished that can be compared.

    Raises:
        JobError: none finished.
    """
    settings, jobs = benchmark.config.benchmark, training_jobs(benchmark, data)
    try:
        run_jobs(jobs, num_jobs=settings.num_jobs, title="training", engine=settings.engine)
    except JobError as error:
        if not any(job.result.is_file() for job in jobs):
            raise
        return error
    return None


def _plans(benchmark: Benchmark, data: Path | None) -> list[ComparisonPlan]:
    """Returns what to compare under every profile."""
    seeds = tuple(seeds_of(benchmark.config))
    return [
        ComparisonPlan(
            config_path=benchmark.config_path,
            config=benchmark.config,
            data=data,
            profile=profile,
            run_dirs=tuple(benchmark.run_dir(profile, seed) for seed in seeds),
            seeds=seeds,
            foreign=benchmark.foreign,
        )
        for profile in benchmark.profiles
    ]


def quick_settings(config: ExperimentSettings) -> ExperimentSettings:
    """Returns the settings of a short look: one seed, the main profile, fewer replicates."""
    main = dict(list(config.benchmark.profiles.items())[:1])
    changes = {"num_seeds": 1, "profiles": main, "replicates": 50}
    return config.model_copy(update={"benchmark": config.benchmark.model_copy(update=changes)})
