"""Workbench: what one process needs to evaluate the agents of a comparison, loaded once."""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from agents.agent import Agent, Setting
from agents.benchmark.pick_tables import pick_shares
from agents.benchmark.resampling import evaluate_seeds, measure
from agents.benchmark.single_calls import is_single_call, routing_quality
from agents.benchmark.trained import RESULT
from agents.benchmark.workflows import ComparedWorkflows
from agents.config import ExperimentSettings, profile_weights
from agents.evaluate import Outcomes, evaluate
from agents.registry import SHUFFLED_FROM, AgentContext, Build, agent_builders
from orchestai_env.dataset import Dataset
from orchestai_env.errors import ConfigError, OrchestAIError, shown

SPLITS = ("train", "test")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparisonPlan:
    """What to compare; plain values, so that worker processes can be sent it."""

    config_path: Path
    config: ExperimentSettings
    data: Path | None
    profile: str
    run_dirs: tuple[Path, ...]
    """One per seed, in the folder of the profile; see AgentContext.run_dir."""
    seeds: tuple[int, ...]
    foreign: tuple[str, ...]
    """Values of the option --agent."""

    @property
    def folder(self) -> Path:
        """Folder of the profile; finished evaluations are kept in it."""
        return self.run_dirs[0].parent

    def builders(self) -> dict[str, Build]:
        """Returns the agents that take part, by name, in the order of the report."""
        return agent_builders(self.config.benchmark, self.foreign)


@dataclasses.dataclass(frozen=True)
class Task:
    """Evaluations that one process makes in one go."""

    kind: Literal["points", "bound", "replicate"]
    """points: many workflows; bound: fewer of them, for slow agents; replicate: resampled ones."""
    split: str
    index: int
    """Number of the replicate; 0 for the others."""
    agents: tuple[str, ...]

    @property
    def evaluation(self) -> str:
        """Name under which the results are kept."""
        return evaluation_name(self.kind, self.split, self.index)


def evaluation_name(kind: str, split: str, index: int = 0) -> str:
    """Returns the name under which the results of an evaluation are kept."""
    return f"{kind}/{split}/{index}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one agent in a task."""

    agent: str
    found: Any = None
    """What JSON can hold; None with an error."""
    error: str | None = None
    """One line."""


class Workbench:
    """Agents and workflows of a plan."""

    def __init__(self, plan: ComparisonPlan) -> None:
        """Reads the data; agents are loaded when they are first asked for.

        Raises:
            OrchestAIError: the settings or the data are wrong.
        """
        torch.set_num_threads(1)
        self.plan = plan
        self._builders = plan.builders()
        self._agents: dict[str, Sequence[Agent]] = {}
        self._errors: dict[str, str] = {}
        weights = profile_weights(plan.config, plan.config_path, plan.profile)
        self._workflows = ComparedWorkflows(plan.config, plan.data, weights, SPLITS)

    def agents(self, name: str) -> Sequence[Agent]:
        """Returns the agents of a name, one per seed.

        Raises:
            ConfigError: a training did not finish, or a factory returned something else.
            Exception: whatever the agent's builder raises, which may be anybody's code.
        """
        if name not in self._agents:
            pairs = zip(self.plan.run_dirs, self.plan.seeds, strict=True)
            self._agents[name] = [self._build(name, run_dir, seed) for run_dir, seed in pairs]
        return self._agents[name]

    def _build(self, name: str, run_dir: Path, seed: int) -> Agent:
        source = SHUFFLED_FROM if name == "shuffled" else name
        is_trained = source in self.plan.config.benchmark.trained
        if is_trained and not (run_dir / source / RESULT).is_file():
            raise ConfigError(
                f"the training of {source} under seed {seed} did not finish; see "
                f"{run_dir / source / 'log.txt'}"
            )
        agent = self._builders[name](
            AgentContext(
                setting=self._workflows.settings["test"],
                train=lambda: self.workflows("train"),
                run_dir=run_dir,
                seed=seed,
            )
        )
        if not callable(getattr(agent, "predict", None)):  # a factory may return anything
            raise ConfigError(
                f"agent {name}: expected an object with `predict`, as Stable-Baselines3 has it, "
                f"got {shown(agent)}"
            )
        return agent

    def workflows(self, split: str, *, few: bool = False) -> Setting:
        """Returns the workflows of the point estimates; of slow agents the first few of them."""
        setting = self._workflows.many(split)
        if not few:
            return setting
        dataset = setting.dataset.first(self.plan.config.benchmark.bound_workflows)
        return dataclasses.replace(setting, dataset=dataset)

    def run(self, task: Task) -> list[Result]:
        """Runs a task; an agent that fails loses its own results only."""
        evaluation = self._evaluation(task)
        return [self._attempt(name, evaluation) for name in task.agents]

    def _attempt(self, name: str, evaluation: Callable[[str], Any]) -> Result:
        if name not in self._errors:  # one that failed before would fail again, in every replicate
            try:
                return Result(agent=name, found=evaluation(name))
            except (Exception, SystemExit) as error:
                # Agents may be anybody's code: whatever one does must not end the others.
                self._errors[name] = _one_line(error)
        return Result(agent=name, error=self._errors[name])

    def _evaluation(self, task: Task) -> Callable[[str], Any]:
        seed = self.plan.config.seed
        if task.kind == "replicate":
            replicate = self._workflows.resampled(
                task.split, task.index, num_seeds=len(self.plan.seeds)
            )
            return lambda name: measure(self.agents(name), replicate).tolist()
        setting = self.workflows(task.split, few=task.kind == "bound")
        if task.kind == "points":
            return lambda name: self._points(name, task.split, setting)
        return lambda name: points(
            [evaluate(self.agents(name)[0], setting, seed=seed)], setting.dataset
        )

    def _points(self, name: str, split: str, setting: Setting) -> dict[str, Any]:
        agents, seed = self.agents(name), self.plan.config.seed
        found = points(evaluate_seeds(agents, setting, seed=seed), setting.dataset)
        if split == "test" and is_single_call(setting.dataset):
            found["routing"] = routing_quality(agents, setting, seed=seed)
        return found


def points(of_seeds: Sequence[Outcomes], dataset: Dataset) -> dict[str, Any]:
    """Returns the means over workflows and seeds, the mean return per seed, and the picks.

    Args:
        of_seeds: what one agent did on the same workflows.
        dataset: names the task types and the workers.
    Returns:
        The keys of Outcomes.summary, return_per_seed, and picks; see `pick_shares`.
    """
    summaries = [outcomes.summary() for outcomes in of_seeds]
    means: dict[str, Any] = {
        key: float(np.mean([summary[key] for summary in summaries])) for key in summaries[0]
    }
    picks = np.sum([outcomes.picks for outcomes in of_seeds], axis=0)
    return means | {
        "return_per_seed": [summary["return_mean"] for summary in summaries],
        "picks": pick_shares(picks, dataset.task_types, dataset.pool.names),
    }


def _one_line(error: BaseException) -> str:
    if isinstance(error, OrchestAIError):
        return " ".join(str(error).split())
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(last.filename).name}, line {last.lineno}"
    return " ".join(f"{type(error).__name__}: {error} ({where})".split())
