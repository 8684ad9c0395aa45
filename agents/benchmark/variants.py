"""Variants of an experiment: other settings or weights, trained by the same commands as any run."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import yaml

from agents.benchmark.jobs import Job, run_jobs
from agents.benchmark.made_of import claim_parts, data_part, parts_of
from agents.benchmark.runs import Benchmark, prepare_data
from agents.benchmark.trained import agent_settings, trained_jobs, write_settings
from agents.checkpoint import write_whole
from agents.config import (
    ExperimentSettings,
    TrainedAgentSettings,
    load_experiment,
    profile_weights,
    save_resolved,
)
from agents.experiment import seeds_of, with_benchmark_overrides
from agents.tune_tables import TABLES
from orchestai_env.errors import ConfigError
from orchestai_env.reward import RewardWeights

Start = Literal["scratch", "bc"]

POLICY = "policy"
"""Run folder of a variant's policy, below that of the seed."""
_CLONED, _WEIGHTS = "cloned", "weights"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """What a command that trains variants was asked for."""

    config: ExperimentSettings
    profile: str
    weights: RewardWeights
    """Of the profile."""
    data: Path | None
    """Folder of an imported data set; None = built-in data."""
    output_dir: Path

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of every training."""
        return tuple(seeds_of(self.config))


def study_parser(prog: str, description: str | None) -> argparse.ArgumentParser:
    """Returns a parser with the options that all such commands share."""
    parser = argparse.ArgumentParser(prog=f"python -m {prog}", description=description)
    add = parser.add_argument
    add("--config", type=Path, required=True, help="settings (YAML)")
    add("--data", type=Path, help="folder of recorded outcomes, or of an imported data set")
    add("--output_dir", type=Path, required=True, help="runs and results; finished ones are kept")
    add("--profile", help="reward profile; the first of benchmark.profiles without it")
    add("--num_seeds", type=int, help="in place of benchmark.num_seeds")
    add("--num_jobs", type=int, help="in place of benchmark.num_jobs")
    return parser


def read_study(args: argparse.Namespace) -> Study:
    """Reads the settings and prepares the data that parsed options name.

    The output folder has to exist and be held already; see orchestai_env.run_folder.claim.

    Raises:
        OrchestAIError: settings, profile or data are wrong.
    """
    given = {name: getattr(args, name) for name in ("num_seeds", "num_jobs")}
    config = with_benchmark_overrides(load_experiment(args.config), given)
    profile = args.profile or next(iter(config.benchmark.profiles), None)
    if profile is None:
        raise ConfigError(f"{args.config}: benchmark.profiles names no reward profile")
    weights = profile_weights(config, args.config, profile)
    benchmark = Benchmark(config=config, config_path=args.config, output_dir=args.output_dir)
    folder = prepare_data(benchmark, args.data)
    save_resolved(config, args.output_dir / "config.yaml")
    return Study(
        config=config, profile=profile, weights=weights, data=folder, output_dir=args.output_dir
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variant:
    """Settings and weights that policies are trained under, once per seed."""

    name: str
    """Of its folder."""
    config: ExperimentSettings
    weights: RewardWeights
    seeds: tuple[int, ...]
    start: Start = "scratch"
    """bc: phase 1 comes first, under the same settings."""

    def run_dir(self, output_dir: Path, seed: int) -> Path:
        """Returns the folder of one seed: POLICY, and tables.json where it is tuned."""
        return output_dir / self.name / _WEIGHTS / f"seed{seed}"


def prepare_variants(variants: Sequence[Variant], output_dir: Path, data: Path | None) -> None:
    """Writes the settings that the jobs read, and refuses to mix runs of others with theirs.

    Raises:
        ConfigError: the folder holds runs of other settings or data.
    """
    for variant in variants:
        folder = output_dir / variant.name
        path = _settings_path(variant, output_dir)
        config = _as_benchmark(variant)
        text = yaml.safe_dump(variant.weights.model_dump(mode="json"), sort_keys=False)
        _write(path.with_name(f"{_WEIGHTS}.yaml"), text)
        parts = parts_of(config, path)
        claim_parts(folder, parts if data is None else [*parts, data_part(data)])
        write_settings(agent_settings(config, path), path, path.parent)


def _write(path: Path, text: str) -> None:
    write_whole(path, lambda partial: partial.write_text(text))


def train_variants(
    variants: Sequence[Variant], output_dir: Path, data: Path | None, *, tables: bool
) -> None:
    """Trains the policy of every variant and seed that is not trained yet.

    Args:
        variants: what to train.
        output_dir: gets a folder of each.
        data: folder of an imported data set; None = built-in data.
        tables: tune the escalation table of each as well.
    Raises:
        OrchestAIError: a training failed, or the folder holds other runs.
    """
    prepare_variants(variants, output_dir, data)
    jobs = [
        job
        for variant in variants
        for seed in variant.seeds
        for job in _jobs(variant, output_dir, seed, data, tables=tables)
    ]
    benchmark = variants[0].config.benchmark
    run_jobs(jobs, num_jobs=benchmark.num_jobs, title="training", engine=benchmark.engine)


def _jobs(
    variant: Variant, output_dir: Path, seed: int, data: Path | None, *, tables: bool
) -> list[Job]:
    agents = _as_benchmark(variant).benchmark.trained
    folder = variant.run_dir(output_dir, seed)
    settings = _settings_path(variant, output_dir)
    options = ["--profile", _WEIGHTS, "--seed", str(seed), "--quiet"]
    options += ["--data", str(data)] if data else []
    jobs = trained_jobs(
        agents, list(agents), settings=settings.parent, folder=folder, options=options
    )
    if tables:
        config = ["--config", str(settings), "--output_dir", str(folder)]
        jobs.append(Job("agents.tune_tables", (*config, *options), folder / TABLES))
    return jobs


def _settings_path(variant: Variant, output_dir: Path) -> Path:
    return output_dir / variant.name / "settings" / f"{POLICY}.yaml"


def _as_benchmark(variant: Variant) -> ExperimentSettings:
    """Returns the settings with the variant's agents as the only trained ones."""
    agents = {POLICY: TrainedAgentSettings()}
    if variant.start == "bc":
        cloned = TrainedAgentSettings(phase=1)
        agents = {_CLONED: cloned, POLICY: TrainedAgentSettings(start_from=_CLONED)}
    benchmark = variant.config.benchmark.model_copy(
        update={"trained": agents, "profiles": {_WEIGHTS: f"{_WEIGHTS}.yaml"}}
    )
    return variant.config.model_copy(update={"benchmark": benchmark})
