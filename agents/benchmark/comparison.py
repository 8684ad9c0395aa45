"""Comparison of all agents under one reward profile: point estimates and intervals."""

from __future__ import annotations

import dataclasses
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from agents.agent import Agent, Setting
from agents.benchmark.resampling import (
    Compose,
    Replicates,
    evaluate_seeds,
    recorded_composer,
    replicate,
    simulated_composer,
)
from agents.config import ExperimentSettings, profile_weights
from agents.experiment import experiment_dataset
from agents.registry import BUILDERS, AgentContext, foreign_builder
from orchestai_env.datasets.folder import load_folder

REFERENCE = "escalation"
"""The agent that differences are paired to."""
SPLITS = ("train", "test")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparisonPlan:
    """What to compare; plain values, so that worker processes can be sent it."""

    config_path: Path
    config: ExperimentSettings
    data: Path | None
    profile: str
    run_dirs: tuple[Path, ...]
    """One per seed; see AgentContext.run_dir."""
    seeds: tuple[int, ...]
    foreign: tuple[str, ...]
    """Values of the option --agent."""


class _Comparison:
    """Agents, composers and settings of a plan, loaded once per process."""

    def __init__(self, plan: ComparisonPlan) -> None:
        torch.set_num_threads(1)
        self.plan = plan
        weights = profile_weights(plan.config, plan.config_path, plan.profile)
        self.settings: dict[str, Setting] = {}
        self.compose: dict[str, Compose] = {}
        folder = load_folder(plan.data, plan.config.planner.max_subtasks) if plan.data else None
        for split in SPLITS:
            dataset = (
                folder.dataset(split) if folder else experiment_dataset(plan.config, None, split)
            )
            self.settings[split] = Setting(
                dataset=dataset, rules=plan.config.rules(), weights=weights
            )
            self.compose[split] = (
                recorded_composer(folder, split) if folder else simulated_composer(dataset)
            )
        self.agents = self._build_agents()

    def _build_agents(self) -> dict[str, Sequence[Agent]]:
        builders = dict(BUILDERS) | dict(foreign_builder(text) for text in self.plan.foreign)
        contexts = [
            AgentContext(setting=self.settings["test"], run_dir=run_dir, seed=seed)
            for run_dir, seed in zip(self.plan.run_dirs, self.plan.seeds, strict=True)
        ]
        return {name: [build(c) for c in contexts] for name, build in builders.items()}

    def points(self, name: str, split: str) -> dict[str, Any]:
        """Returns the means of one agent over many workflows of a split, and per seed."""
        num_workflows = self.plan.config.benchmark.workflows
        rng = np.random.default_rng(self.plan.config.seed)
        dataset = self.compose[split](rng, num_workflows, False)
        setting = dataclasses.replace(self.settings[split], dataset=dataset)
        found = [
            outcomes.summary()
            for outcomes in evaluate_seeds(self.agents[name], setting, seed=self.plan.config.seed)
        ]
        means: dict[str, Any] = {
            key: float(np.mean([summary[key] for summary in found])) for key in found[0]
        }
        return means | {"return_per_seed": [summary["return_mean"] for summary in found]}

    def replicate(self, split: str, index: int) -> dict[str, float]:
        """Runs one replicate of a split."""
        return replicate(
            self.agents,
            self.compose[split],
            self.settings[split],
            num_workflows=self.plan.config.benchmark.replicate_workflows,
            seed=[self.plan.config.seed, SPLITS.index(split), index],
        )


_in_process: _Comparison | None = None


def _start_process(plan: ComparisonPlan) -> None:
    global _in_process  # one per worker process; the executor's initializer has no other place
    _in_process = _Comparison(plan)


def _points(name: str, split: str) -> tuple[str, str, dict[str, Any]]:
    assert _in_process is not None
    return name, split, _in_process.points(name, split)


def _replicate(split: str, index: int) -> tuple[str, int, dict[str, float]]:
    assert _in_process is not None
    return split, index, _in_process.replicate(split, index)


def compare(plan: ComparisonPlan) -> dict[str, Any]:
    """Evaluates every agent on both splits, with intervals over queries and seeds.

    Returns:
        {agent: {train: {...}, test: {return_mean, ci95, ...}}, paired: {agent: {...}}}; paired
        differences are agent - escalation table on test queries.
    """
    names = [*BUILDERS, *(foreign_builder(text)[0] for text in plan.foreign)]
    count = plan.config.benchmark.replicates
    _Comparison(plan)  # what is wrong shows here in one line, not as a broken worker process
    context = multiprocessing.get_context("spawn")
    summary: dict[str, Any] = {name: {} for name in names}
    values = {split: {name: np.zeros(count) for name in names} for split in SPLITS}
    with ProcessPoolExecutor(
        plan.config.benchmark.num_jobs, context, _start_process, (plan,)
    ) as pool:
        futures: list[Future[Any]] = []
        futures += [pool.submit(_points, name, split) for name in names for split in SPLITS]
        futures += [pool.submit(_replicate, split, i) for split in SPLITS for i in range(count)]
        title = f"evaluating, profile {plan.profile}"
        for future in track(as_completed(futures), title, len(futures)):
            found = future.result()
            if isinstance(found[1], str):
                summary[found[0]][found[1]] = found[2]
            else:
                for name, value in found[2].items():
                    values[found[0]][name][found[1]] = value
    _add_intervals(summary, {split: Replicates(of) for split, of in values.items()})
    return summary


def _add_intervals(summary: dict[str, Any], replicates: dict[str, Replicates]) -> None:
    """Adds ci95 to every agent and split, and the paired differences on test queries."""
    paired = {}
    for name in list(summary):
        for split, found in replicates.items():
            summary[name][split]["ci95"] = list(found.interval(name))
        if name != REFERENCE:
            difference = (
                summary[name]["test"]["return_mean"] - summary[REFERENCE]["test"]["return_mean"]
            )
            paired[name] = {
                "minus": REFERENCE,
                "difference_mean": difference,
                "ci95": list(replicates["test"].difference(name, REFERENCE)),
            }
    summary["paired"] = paired
