"""Routing of single calls: how well an agent tells which queries need the strong worker."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from agents.agent import Agent, Obs, Setting
from agents.benchmark.routing_scores import FloatArray, gap_recovered
from agents.benchmark.statistics import bootstrap_interval
from agents.evaluate import KEYS, start_episodes
from orchestai_env.dataset import Dataset
from orchestai_env.oracle import peek

_NUM_DRAWS = 200


@runtime_checkable
class ScoringAgent(Protocol):
    """An agent that says how good it holds each worker to be."""

    def scores(self, observation: Obs) -> npt.NDArray[Any]:
        """Returns (m, W); of two workers the one with the larger number is preferred."""


def is_single_call(dataset: Dataset) -> bool:
    """Returns whether every workflow has one subtask."""
    return bool((dataset.workflows.num_subtasks == 1).all())


def two_workers(dataset: Dataset) -> tuple[int, int]:
    """Returns the weak and the strong worker to route between, by what training queries say.

    The strong one succeeds most on average over task types; the weak one costs least, or, where no
    cost is recorded, is the one in the middle by success.
    """
    success = dataset.statistics.success.mean(axis=0)
    cost_usd = dataset.statistics.cost_usd.mean(axis=0)
    strong = int(success.argmax())
    by_success = np.argsort(success, kind="stable")
    middle = int(by_success[(len(by_success) - 1) // 2])
    return (int(cost_usd.argmin()) if cost_usd.any() else middle), strong


def routing_quality(agents: Sequence[Agent], setting: Setting, *, seed: int) -> dict[str, Any]:
    """Returns the average performance gap recovered (APGR) between a weak and a strong worker.

    Every query of the workflows counts once; queries are ordered by the agent's score of the strong
    worker less that of the weak one. It is the mean over seeds; the interval resamples queries.

    Args:
        agents: one per seed.
        setting: workflows of one subtask each.
        seed: of simulated outcomes.
    Returns:
        {weak, strong, apgr, ci95}; empty where the agents give no scores, or both workers do
        equally well.
    """
    if not all(isinstance(agent, ScoringAgent) for agent in agents):
        return {}
    setting = _each_query_once(setting)
    weak, strong = two_workers(setting.dataset)
    keys = tuple(dict.fromkeys([*KEYS, *getattr(agents[0], "observation_keys", KEYS)]))
    episodes = start_episodes(setting, seed=seed, keys=keys)
    observation = {key: getattr(episodes.out, key) for key in keys}
    won = peek(episodes, np.arange(episodes.n)).success.astype(np.float64)
    if won[:, weak].sum() == won[:, strong].sum():
        return {}
    gains = [_gain(agent, observation, weak, strong) for agent in agents]
    rng = np.random.default_rng(seed)
    draws = [rng.integers(len(won), size=len(won)) for _ in range(_NUM_DRAWS)]
    resampled = [
        np.mean([gap_recovered(gain[d], won[d, weak], won[d, strong]) for gain in gains])
        for d in draws
        if won[d, weak].sum() != won[d, strong].sum()
    ]
    whole = [gap_recovered(gain, won[:, weak], won[:, strong]) for gain in gains]
    names = setting.dataset.pool.names
    return {
        "weak": names[weak],
        "strong": names[strong],
        "apgr": float(np.mean(whole)),
        "ci95": bootstrap_interval(np.array(resampled)),
    }


def _each_query_once(setting: Setting) -> Setting:
    table = setting.dataset.workflows
    query = table.query[:, 0]
    rows = np.unique(query, return_index=True)[1] if (query >= 0).all() else np.arange(len(table))
    return dataclasses.replace(setting, dataset=setting.dataset.with_workflows(table.take(rows)))


def _gain(agent: Agent, observation: Obs, weak: int, strong: int) -> FloatArray:
    assert isinstance(agent, ScoringAgent)
    keys = getattr(agent, "observation_keys", KEYS)
    scores = agent.scores({key: observation[key] for key in keys})
    return np.asarray(scores[:, strong] - scores[:, weak], np.float64)
