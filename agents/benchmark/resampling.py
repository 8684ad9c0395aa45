"""Intervals over queries and seeds: resample both, compose the workflows anew, run everyone again.

Queries repeat inside composed workflows, so the uncertainty is that of the queries; resampling
episodes would understate it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

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
MEASURES = ("return", "success", "cost_usd", "latency_s")
"""What a replicate notes of every agent; latency is the makespan."""


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


def evaluate_seeds(agents: SeedAgents, setting: Setting, *, seed: int) -> list[Outcomes]:
    """Runs the agent of every seed over the same workflows."""
    if all(agent is agents[0] for agent in agents):
        return [evaluate(agents[0], setting, seed=seed)]
    return [evaluate(agent, setting, seed=seed) for agent in agents]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Replicate:
    """One resampling of queries and seeds; every agent is run on the same."""

    setting: Setting
    """Workflows composed of resampled queries."""
    chosen: npt.NDArray[np.int64]
    """int64 (num_seeds,); the seed resampled at each place; workflow k goes to the agent of seed
    chosen[k modulo num_seeds]."""
    luck: int
    """Seed of simulated outcomes."""


def drawn_seeds(num_seeds: int, *, seed: int, index: int) -> npt.NDArray[np.int64]:
    """Returns int64 (num_seeds,): the seed that is resampled at each place of a replicate.

    Args:
        num_seeds: seeds of the benchmark.
        seed: of the benchmark; the split has no part in it, so that differences of splits are
            paired over seeds.
        index: of the replicate.
    """
    return np.random.default_rng([seed, index]).integers(num_seeds, size=num_seeds)


def resample(
    compose: Compose, setting: Setting, *, num_workflows: int, num_seeds: int, seed: Sequence[int]
) -> Replicate:
    """Draws one replicate.

    Args:
        compose: of the split to evaluate on.
        setting: rules and weights; its data set is replaced.
        num_workflows: workflows composed.
        num_seeds: seeds of the benchmark.
        seed: (of the benchmark, of the split, index of the replicate).
    """
    of_benchmark, _, index = seed
    rng = np.random.default_rng(seed)
    return Replicate(
        setting=dataclasses.replace(setting, dataset=compose(rng, num_workflows, True)),
        chosen=drawn_seeds(num_seeds, seed=of_benchmark, index=index),
        luck=int(rng.integers(1 << 31)),
    )


def measure(agents: SeedAgents, replicate: Replicate) -> npt.NDArray[np.float64]:
    """Runs an agent on a replicate.

    Args:
        agents: one per seed.
        replicate: what to run them on; it needs as many workflows as there are seeds.
    Returns:
        float64 (4, num_seeds): the mean of each of MEASURES at each place.
    """
    setting, chosen = replicate.setting, replicate.chosen
    place = np.arange(len(setting.dataset.workflows)) % len(chosen)
    means = np.zeros((len(MEASURES), len(chosen)))
    for index in np.unique(chosen):
        rows = np.flatnonzero(chosen[place] == index)
        workflows = setting.dataset.workflows.take(rows)
        part = dataclasses.replace(setting, dataset=setting.dataset.with_workflows(workflows))
        found = evaluate(agents[int(index)], part, seed=replicate.luck)
        values = np.stack(
            [found.episode_return, found.success, found.cost_usd, found.latency_ms / 1000.0]
        )
        for p in np.flatnonzero(chosen == index):
            means[:, p] = values[:, place[rows] == p].mean(axis=1)
    return means
