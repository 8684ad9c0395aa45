"""Experiment: what every training command needs, from its command line."""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents.agent import Setting
from agents.config import ExperimentSettings, load_experiment, profile_weights, save_resolved
from orchestai_env.dataset import Dataset
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.datasets.folder import load_dataset
from orchestai_env.errors import ConfigError, DataError, UnknownWorkerError, unknown_name
from orchestai_env.reward import RewardWeights
from orchestai_env.run_folder import check_output_dir
from orchestai_env.settings import parse_settings
from orchestai_env.workers import WorkerPool

_PACKAGES = ("numpy", "numba", "gymnasium", "torch", "stable-baselines3", "sb3-contrib")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """Settings, data and choices of one run of a command."""

    config: ExperimentSettings
    config_path: Path
    data: Path | None
    """Folder of an imported data set; None = the built-in data."""
    output_dir: Path
    profile: str | None
    seed: int
    device: str
    """cpu or cuda."""
    weights: RewardWeights
    _datasets: dict[str, Dataset] = dataclasses.field(default_factory=dict, repr=False)
    """Splits that were read already: reading one takes a second."""

    def dataset(self, split: str) -> Dataset:
        """Returns a split of the data."""
        if split not in self._datasets:
            self._datasets[split] = experiment_dataset(self.config, self.data, split)
        return self._datasets[split]

    def setting(self, split: str, max_workflows: int | None = None) -> Setting:
        """Returns the decision problem of a split, with at most so many workflows."""
        dataset = self.dataset(split)
        if max_workflows is not None:
            dataset = dataset.first(max_workflows)
        return Setting(dataset=dataset, rules=self.config.rules(), weights=self.weights)

    def evaluation_setting(self, split: str, num_workflows: int) -> Setting:
        """Returns the problem of a split with so many workflows to evaluate on.

        Where the split has fewer, simulated ones are repeated, each time with other luck; recorded
        ones, which would only come out the same again, are as many as there are.
        """
        setting = self.setting(split, num_workflows)
        if self.data is not None:
            return setting
        workflows = setting.dataset.workflows
        repeated = workflows.take(np.resize(np.arange(len(workflows)), num_workflows))
        return dataclasses.replace(setting, dataset=setting.dataset.with_workflows(repeated))

    def training_setting(self, max_workflows: int | None = None) -> Setting:
        """Returns the problem that is trained on: the training split, and what varies there."""
        setting = self.setting("train", max_workflows)
        return dataclasses.replace(setting, rules=self.config.training_rules())

    def prepare_output(self) -> None:
        """Makes the output folder and writes what the run was made with.

        Raises:
            ConfigError: there is a file in its place.
        """
        check_output_dir(self.output_dir)
        self.output_dir.mkdir(parents=True, exist_ok=True)
        save_resolved(self.config, self.output_dir / "config.yaml")
        about = {
            "profile": self.profile,
            "reward_weights": self.weights.model_dump(),
            "seed": self.seed,
            "device": self.device,
            "machine": platform.machine(),
            "python": platform.python_version(),
            "versions": {name: version(name) for name in _PACKAGES},
        }
        (self.output_dir / "run.json").write_text(json.dumps(about, indent=1) + "\n")


def experiment_dataset(config: ExperimentSettings, data: Path | None, split: str) -> Dataset:
    """Returns a split of an imported data set, or of the built-in one where `data` is None.

    Raises:
        ConfigError: the settings name recorded outcomes, but no folder is given; or the folder has
            other workers than the settings.
        UnknownWorkerError: the settings name a worker that the data does not have.
        DataError: `use_workers` leaves a subtask without a worker that can serve it.
        OrchestAIError: the folder cannot be read.
    """
    max_subtasks = config.planner.max_subtasks
    if data is not None:
        dataset = load_dataset(data, split, max_subtasks)
        _check_workers(config.worker_models, dataset.pool, data)
        return chosen_workers(config, dataset)
    if config.source is not None:
        raise ConfigError(
            f"source {config.source.source!r} is recorded data: import it with "
            "`orchestai import-recorded`, then pass its folder as --data"
        )
    phase1 = config.training.phase1_supervised
    sizes: dict[str, Any] = {}
    if split == "train":
        sizes = {
            "num_workflows": phase1.train_data_size,
            "synthetic_augmentations": phase1.synthetic_augmentations,
        }
    dataset = builtin_dataset(
        split,
        pool=config.worker_models,
        seed=config.seed,
        max_subtasks=max_subtasks,
        simulation=config.simulation,
        **sizes,
    )
    return chosen_workers(config, dataset)


def chosen_workers(config: ExperimentSettings, dataset: Dataset) -> Dataset:
    """Returns the data set with the workers that `use_workers` names, all of them where null.

    Raises:
        OrchestAIError: one is unknown or named twice, or a subtask has none that can serve it.
    """
    if config.use_workers is None:
        return dataset
    try:
        return dataset.with_workers(config.use_workers)
    except (ConfigError, DataError, UnknownWorkerError) as error:
        raise type(error)(f"use_workers: {error}") from None


def _check_workers(wanted: WorkerPool | None, found: WorkerPool, data: Path) -> None:
    """Refuses settings whose workers are not those of an imported data set."""
    if wanted is None or wanted.names == found.names:
        return
    for name in wanted.names:
        if name not in found.names:
            raise UnknownWorkerError(
                f"worker_models: {data}: {unknown_name('worker', name, found.names)}; import the "
                "data again with these workers"
            )
    raise ConfigError(
        f"worker_models: expected the workers of {data} in their order, {', '.join(found.names)}, "
        f"got {', '.join(wanted.names)}; import the data again with these workers"
    )


def experiment_parser(prog: str, description: str | None) -> argparse.ArgumentParser:
    """Returns a parser with the options that all training commands share."""
    parser = argparse.ArgumentParser(prog=f"python -m {prog}", description=description)
    add = parser.add_argument
    add("--config", type=Path, default=Path("configs/default.yaml"), help="settings (YAML)")
    add(
        "--data",
        type=Path,
        help="folder of an imported data set (phase 1 also takes a file or folder of plans, to "
        "learn planning from); built-in data without it",
    )
    add("--output_dir", type=Path, required=True, help="run folder: checkpoints, logs, results")
    add("--profile", help="reward profile of the settings; the weights of phase2_rl without it")
    add("--seed", type=int, help="seed of this run; that of the settings without it")
    add("--device", choices=("auto", "cpu", "cuda"), help="where to train; see system.device")
    add("--quiet", action="store_true", help="no progress bar")
    return parser


def read_experiment(
    args: argparse.Namespace, config: ExperimentSettings | None = None
) -> Experiment:
    """Builds the experiment that parsed options name, and sets torch's threads.

    Raises:
        OrchestAIError: the settings, the profile or the device are wrong.
    """
    config = config or load_experiment(args.config)
    if args.seed is not None and args.seed < 0:
        raise ConfigError(f"--seed: expected a whole number >= 0, got {args.seed}")
    torch.set_num_threads(config.system.num_threads)
    return Experiment(
        config=config,
        config_path=args.config,
        data=args.data,
        output_dir=args.output_dir,
        profile=args.profile,
        seed=config.seed if args.seed is None else args.seed,
        device=choose_device(args.device or config.system.device),
        weights=profile_weights(config, args.config, args.profile),
    )


def choose_device(name: str) -> str:
    """Returns cpu or cuda; auto takes a GPU when there is one.

    Raises:
        ConfigError: cuda was asked for, but there is no usable GPU.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: cuda was asked for, but torch finds no GPU; use auto or cpu")
    return name


def with_overrides(
    config: ExperimentSettings, section: str, values: Mapping[str, object]
) -> ExperimentSettings:
    """Returns the settings with values of a training section replaced.

    Raises:
        ConfigError: a value is out of range.
    """
    data = config.model_dump()
    data["training"][section] |= values
    return parse_settings(data, ExperimentSettings, where="command line")


def with_benchmark_overrides(
    config: ExperimentSettings, values: Mapping[str, object]
) -> ExperimentSettings:
    """Returns the settings with values of `benchmark` replaced; those that are None stay.

    Raises:
        ConfigError: a value is out of range.
    """
    data = config.model_dump()
    data["benchmark"] |= {name: value for name, value in values.items() if value is not None}
    return parse_settings(data, ExperimentSettings, where="command line")


def seeds_of(config: ExperimentSettings) -> Sequence[int]:
    """Returns the seeds of a benchmark."""
    return range(config.seed, config.seed + config.benchmark.num_seeds)
