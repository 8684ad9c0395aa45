"""Workflows that agents are compared on: of every split, as they are or of resampled queries."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agents.agent import Setting
from agents.benchmark.resampling import (
    Compose,
    Replicate,
    recorded_composer,
    resample,
    simulated_composer,
)
from agents.config import ExperimentSettings
from agents.experiment import chosen_workers, experiment_dataset
from orchestai_env.datasets.folder import load_folder
from orchestai_env.reward import RewardWeights


class ComparedWorkflows:
    """Workflows of some splits, composed when they are asked for."""

    def __init__(
        self,
        config: ExperimentSettings,
        data: Path | None,
        weights: RewardWeights,
        splits: Sequence[str],
    ) -> None:
        """Reads the data.

        Args:
            config: of the benchmark.
            data: folder of an imported data set; None = built-in data.
            weights: what is rewarded.
            splits: to compare on.
        Raises:
            OrchestAIError: the settings or the data are wrong.
        """
        self.settings: dict[str, Setting] = {}
        self._config, self._splits = config, tuple(splits)
        self._compose: dict[str, Compose] = {}
        folder = None
        if data is not None:
            folder = load_folder(data, config.planner.max_subtasks)
            called = chosen_workers(config, folder.all_splits)
            folder = dataclasses.replace(folder, all_splits=called)
        for split in splits:
            dataset = folder.dataset(split) if folder else experiment_dataset(config, None, split)
            self.settings[split] = Setting(dataset=dataset, rules=config.rules(), weights=weights)
            self._compose[split] = (
                recorded_composer(folder, split) if folder else simulated_composer(dataset)
            )

    def many(self, split: str) -> Setting:
        """Returns the workflows of the point estimates; every call the same."""
        rng = np.random.default_rng(self._config.seed)
        dataset = self._compose[split](rng, self._config.benchmark.workflows, False)
        return dataclasses.replace(self.settings[split], dataset=dataset)

    def resampled(self, split: str, index: int, *, num_seeds: int) -> Replicate:
        """Returns one replicate, for agents of so many seeds."""
        return resample(
            self._compose[split],
            self.settings[split],
            num_workflows=self._config.benchmark.replicate_workflows,
            num_seeds=num_seeds,
            seed=[self._config.seed, self._splits.index(split), index],
        )
