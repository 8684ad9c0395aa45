"""The plain way to the optimum: play every sequence of allowed actions, each in a fork."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from orchestai_env.dataset import Dataset
from orchestai_env.env import OrchestAIEnv
from orchestai_env.outcomes.simulated import SimulationSettings, simulated_tables
from orchestai_env.workers import TaskSkill, WorkerPool, WorkerSpec
from orchestai_env.workflow_table import WorkflowTable
from tests.orchestai_env.strategies import Case

MOST_SEQUENCES = 250
"""Chosen: what the plain way plays within a tenth of a second."""


def best_return(env: OrchestAIEnv) -> float:
    """Returns the most that any sequence of actions earns from the present state on."""
    best = -np.inf
    for action in np.flatnonzero(env.action_masks()):
        twin = env.fork()
        _, reward, terminated, truncated, _ = twin.step(int(action))
        rest = 0.0 if terminated or truncated else best_return(twin)
        best = max(best, reward + rest)
    return best


def count_sequences(num_subtasks: int, num_workers: int, max_attempts: int) -> int:
    """Returns a bound on the sequences of actions that an episode can take."""
    return int(num_workers ** (num_subtasks * max_attempts))


def is_small(case: Case) -> bool:
    """Tells whether the plain way is quick enough for a case of recorded outcomes."""
    decisions = len(case.instance.calls), len(case.concurrency), int(case.rules["max_attempts"])
    return count_sequences(*decisions) <= MOST_SEQUENCES


@st.composite
def simulated_datasets(draw: st.DrawFn, max_subtasks: int = 3, max_workers: int = 2) -> Dataset:
    """Draws a workflow of simulated outcomes, where parents' quality and load may matter."""
    size = draw(st.integers(1, max_subtasks))
    workers = tuple(draw(worker_specs(f"worker-{w}")) for w in range(max_workers))
    settings = SimulationSettings(
        quality_coupling=draw(st.sampled_from([0.0, 0.5, 3.0])),
        retry_correlation=draw(st.sampled_from([0.0, 0.7, 1.0])),
        load_slowdown=draw(st.sampled_from([0.0, 1.0])),
    )
    pool = WorkerPool(workers)
    outcomes, statistics = simulated_tables(pool, ("any",), settings)
    pairs = [(i, j) for j in range(size) for i in range(j)]
    links = sorted(draw(st.sets(st.sampled_from(pairs)))) if pairs else []
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
        success=draw(st.sampled_from([0.2, 0.5, 0.9])),
        output_tokens=draw(st.sampled_from([20.0, 100.0])),
        source="made up",
    )
    return WorkerSpec(
        name=name,
        output_usd_per_mtok=draw(st.sampled_from([0.0, 1000.0, 10_000.0])),
        first_token_ms=draw(st.sampled_from([0.0, 500.0])),
        concurrency=draw(st.integers(1, 2)),
        skills={"any": skill},
    )
