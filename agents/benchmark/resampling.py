"""Intervals over queries and seeds: resample both, compose the workflows anew, run everyone again.

Queries repeat inside composed workflows, so the uncertainty is that of the queries; resampling
episodes would understate it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from agents.agent import Agent, Setting
from agents.evaluate import Outcomes, evaluate
from orchestai_env.dataset import Dataset
from orchestai_env.datasets.compose import compose_workflows
from orchestai_env.datasets.folder import RecordedFolder

SeedAgents = Sequence[Agent]
"""One agent trained or tuned per seed."""
Compose = Callable[[np.random.Generator, int, bool], Dataset]
"""(rng, number of workflows, resample the queries?) -> data set."""


def recorded_composer(folder: RecordedFolder, split: str) -> Compose:
    """Composes workflows of a split's recorded queries, as given or resampled."""
    dataset = folder.dataset(split)
    rows = np.flatnonzero(np.array(folder.queries.split) == split).astype(np.int32)

    def compose(rng: np.random.Generator, num_workflows: int, resample: bool) -> Dataset:
        table = compose_workflows(
            rng,
            num_workflows=num_workflows,
            shapes=folder.shapes,
            query_rows=rng.choice(rows, len(rows)) if resample else rows,
            task_type_of_query=folder.queries.task_type,
            task_types=folder.queries.task_types,
            max_subtasks=dataset.workflows.max_subtasks,
        )
        return dataset.with_workflows(table)

    return compose


def simulated_composer(dataset: Dataset) -> Compose:
    """Repeats workflows of simulated data; resampling draws as many as there are, with replacement.

    Drawing more would understate the uncertainty of having so few. Simulated outcomes are drawn
    anew in every replicate, so that luck is part of the interval.
    """

    def compose(rng: np.random.Generator, num_workflows: int, resample: bool) -> Dataset:
        count = len(dataset.workflows)
        rows = np.resize(rng.choice(count, count) if resample else np.arange(count), num_workflows)
        if resample:
            rng.shuffle(rows)  # so that each seed's agent meets others of them
        return dataset.with_workflows(dataset.workflows.take(rows))

    return compose


@dataclasses.dataclass(frozen=True)
class Replicates:
    """Mean returns of every agent in every replicate; the same queries and seeds for all."""

    mean_return: Mapping[str, npt.NDArray[np.float64]]
    """Agent -> float64 (replicates,)."""

    def interval(self, agent: str) -> tuple[float, float]:
        """Returns the 95 % interval of an agent's mean return."""
        return _percentiles(self.mean_return[agent])

    def difference(self, agent: str, other: str) -> tuple[float, float]:
        """Returns the 95 % interval of the paired difference agent - other."""
        return _percentiles(self.mean_return[agent] - self.mean_return[other])


def _percentiles(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def evaluate_seeds(agents: SeedAgents, setting: Setting, *, seed: int) -> list[Outcomes]:
    """Runs the agent of every seed over the same workflows."""
    if all(agent is agents[0] for agent in agents):
        return [evaluate(agents[0], setting, seed=seed)]
    return [evaluate(agent, setting, seed=seed) for agent in agents]


def replicate_return(
    agents: SeedAgents,
    setting: Setting,
    chosen: npt.NDArray[np.int64],
    *,
    seed: int,
) -> float:
    """Returns the mean return over workflows that are dealt out to the resampled seeds' agents.

    Args:
        agents: one per seed.
        setting: workflows of one replicate.
        chosen: int64 (num_seeds,); resampled seeds; workflow k goes to the agent of seed
            chosen[k modulo num_seeds].
        seed: of simulated outcomes.
    """
    count = len(setting.dataset.workflows)
    total = 0.0
    for index in np.unique(chosen):
        places = np.flatnonzero(chosen == index)
        rows = np.flatnonzero(np.isin(np.arange(count) % len(chosen), places))
        part = dataclasses.replace(
            setting, dataset=setting.dataset.with_workflows(setting.dataset.workflows.take(rows))
        )
        returns = evaluate(agents[int(index)], part, seed=seed).episode_return
        total += float(returns.sum())
    return total / count


def replicate(
    agents: Mapping[str, SeedAgents],
    compose: Compose,
    setting: Setting,
    *,
    num_workflows: int,
    seed: Sequence[int],
) -> dict[str, float]:
    """Runs one replicate: every agent on the same resampled queries and seeds.

    Args:
        agents: name -> one agent per seed.
        compose: of the split to evaluate on.
        setting: rules and weights; its data set is replaced.
        num_workflows: workflows composed.
        seed: of this replicate.
    """
    rng = np.random.default_rng(seed)
    num_seeds = max(len(of_seed) for of_seed in agents.values())
    chosen = rng.integers(num_seeds, size=num_seeds)
    resampled = dataclasses.replace(setting, dataset=compose(rng, num_workflows, True))
    luck = int(rng.integers(1 << 31))
    return {
        name: replicate_return(of_seed, resampled, chosen, seed=luck)
        for name, of_seed in agents.items()
    }
