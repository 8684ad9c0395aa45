"""The plain way to the optimum, and random episodes small enough for it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from orchestai_env.dataset import Dataset
from orchestai_env.env import OrchestAIEnv
from orchestai_env.outcomes.simulated import SimulationSettings, simulated_tables
from orchestai_env.workers import TaskSkill, WorkerPool, WorkerSpec
from orchestai_env.workflow_table import WorkflowTable
from tests.orchestai_env.strategies import TRIALS
from tests.orchestai_env.toy import Instance

MOST_STEPS = 1500
"""Chosen: what the plain way plays within some tenths of a second."""


class TooLongError(Exception):
    """The plain way would take too long."""


def best_return(
    env: OrchestAIEnv, check: Callable[[OrchestAIEnv, float], None] = lambda env, best: None
) -> float:
    """Plays every sequence of allowed actions, each in a fork, and returns the most one earns.

    Args:
        env: in the middle of an episode; nothing in it changes.
        check: called with every state that can be reached, and the most that it can still earn.
    Raises:
        TooLongError: it would take more than MOST_STEPS steps.
    """
    budget = itertools.count()

    def most(env: OrchestAIEnv) -> float:
        best = -np.inf
        for action in np.flatnonzero(env.action_masks()):
            if next(budget) >= MOST_STEPS:
                raise TooLongError
            twin = env.fork()
            _, reward, terminated, truncated, _ = twin.step(int(action))
            best = max(best, reward + (0.0 if terminated or truncated else most(twin)))
        check(env, best)
        return best

    return most(env)


def rules(time_unit_ms: float) -> st.SearchStrategy[dict[str, Any]]:
    """Draws rules under which an episode of some time units may meet any of its ends."""
    return st.fixed_dictionaries(
        {
            "max_attempts": st.integers(1, 2),
            "on_failure": st.sampled_from(["abort", "continue"]),
            "max_parallel_tasks": st.integers(1, 3),
            "deadline_ms": st.none() | st.integers(2, 8).map(lambda k: k * time_unit_ms),
            "cost_budget_usd": st.none() | st.integers(8, 40).map(lambda k: k / 64),
            "max_steps": st.none() | st.integers(2, 5),
            "price_spread": st.sampled_from([1.0, 3.0]),
            "latency_spread": st.sampled_from([1.0, 2.0]),
            "min_workers": st.none() | st.just(2),
            "shuffle_workers": st.booleans(),
        }
    )


@st.composite
def recorded_instances(draw: st.DrawFn) -> Instance:
    """Draws a workflow of which most calls are recorded."""
    size, num_workers = draw(st.sampled_from([(2, 3), (3, 2), (3, 3), (4, 2)]))
    pairs = list(itertools.combinations(range(size), 2))
    trials = st.lists(TRIALS, min_size=1, max_size=2).map(tuple)
    call = st.integers(0, 7).flatmap(lambda k: trials if k else st.just(()))
    return Instance(
        calls=tuple(tuple(draw(call) for _ in range(num_workers)) for _ in range(size)),
        links=tuple(sorted(draw(st.sets(st.sampled_from(pairs), max_size=4)))),
    )


@st.composite
def simulated_datasets(draw: st.DrawFn) -> Dataset:
    """Draws a workflow of simulated outcomes, where the parents' quality and load may matter."""
    size = draw(st.integers(2, 4))
    pool = WorkerPool(tuple(draw(worker_specs(f"worker-{w}")) for w in range(2)))
    settings = SimulationSettings(
        quality_coupling=draw(st.sampled_from([0.0, 0.5, 3.0])),
        retry_correlation=draw(st.sampled_from([0.0, 0.7, 1.0])),
        load_slowdown=draw(st.sampled_from([0.0, 1.0])),
    )
    outcomes, statistics = simulated_tables(pool, ("any",), settings)
    pairs = list(itertools.combinations(range(size), 2))
    links = sorted(draw(st.sets(st.sampled_from(pairs))), key=lambda link: link[::-1])
    workflows = WorkflowTable.from_links(
        task_types=("any",),
        num_subtasks=np.array([size], np.int32),
        task_type=np.zeros((1, size), np.int32),
        query=np.full((1, size), -1, np.int32),
        links=np.array(links, np.int32).reshape(-1, 2),
        link_owner=np.zeros(len(links), np.int32),
    )
    return Dataset(
        name="simulated",
        pool=pool,
        workflows=workflows,
        outcomes=outcomes,
        statistics=statistics,
        latency_label="simulated",
    )


@st.composite
def worker_specs(draw: st.DrawFn, name: str) -> WorkerSpec:
    """Draws a worker that serves the one task type."""
    skill = TaskSkill(
        success=draw(st.sampled_from([0.3, 0.5, 0.8])),
        output_tokens=draw(st.sampled_from([20.0, 100.0])),
        source="made up",
    )
    return WorkerSpec(
        name=name,
        output_usd_per_mtok=draw(st.sampled_from([0.0, 1000.0, 5000.0])),
        first_token_ms=draw(st.sampled_from([0.0, 500.0])),
        concurrency=draw(st.integers(1, 2)),
        skills={"any": skill},
    )
