"""Tuning of the table baselines inside the training environment, by coordinate ascent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from agents.agent import Agent, Setting
from agents.baselines import FixedTableAgent, TableAgent
from agents.evaluate import evaluate

Table = npt.NDArray[np.int64]
MakeAgent = Callable[[Table], Agent]


def coordinate_ascent(
    make_agent: MakeAgent,
    start: Table,
    num_workers: int,
    setting: Setting,
    *,
    seed: int,
    max_sweeps: int = 10,
) -> tuple[Table, float]:
    """Improves a table cell by cell until no change of one cell raises the mean return.

    Returns:
        The table, and its mean return over the workflows of the setting.
    """
    table = start.copy()
    best = _mean_return(make_agent(table), setting, seed)
    for _ in range(max_sweeps):
        before = best
        for cell in np.ndindex(*table.shape):
            for worker in range(num_workers):
                if worker == table[cell]:
                    continue
                candidate = table.copy()
                candidate[cell] = worker
                value = _mean_return(make_agent(candidate), setting, seed)
                if value > best:
                    table, best = candidate, value
        if best <= before:
            break
    return table, best


def tune_escalation_table(setting: Setting, *, seed: int, restarts: int = 3) -> TableAgent:
    """Tunes the task type x attempt table, from the lookup table and from random starts.

    Args:
        setting: training workflows; a few thousand suffice.
        seed: of the random starts and the outcomes.
        restarts: starts in all, at least 3 by the project's design.
    """
    rng = np.random.default_rng(seed)
    num_workers = len(setting.dataset.pool)
    shape = (len(setting.dataset.task_types), setting.rules.max_attempts)
    lookup = tune_lookup_table(setting, seed=seed).worker_of_type
    starts = [np.repeat(lookup[:, None], shape[1], axis=1)]
    starts += [rng.integers(num_workers, size=shape) for _ in range(restarts - 1)]
    tuned = [
        coordinate_ascent(
            lambda table: TableAgent(setting, table), start, num_workers, setting, seed=seed
        )
        for start in starts
    ]
    return TableAgent(setting, max(tuned, key=lambda pair: pair[1])[0])


def tune_lookup_table(setting: Setting, *, seed: int) -> FixedTableAgent:
    """Tunes the task type -> worker table, from the best single worker."""
    num_workers = len(setting.dataset.pool)
    single = best_single_worker(setting, seed=seed).worker_of_type
    table, _ = coordinate_ascent(
        lambda table: FixedTableAgent(setting, table), single, num_workers, setting, seed=seed
    )
    return FixedTableAgent(setting, table)


def best_single_worker(setting: Setting, *, seed: int) -> FixedTableAgent:
    """Finds the one worker that serves all task types best."""
    agents = [
        FixedTableAgent(setting, np.full(len(setting.dataset.task_types), worker, np.int64))
        for worker in range(len(setting.dataset.pool))
    ]
    return max(agents, key=lambda agent: _mean_return(agent, setting, seed))


def _mean_return(agent: Agent, setting: Setting, seed: int) -> float:
    return float(evaluate(agent, setting, seed=seed).episode_return.mean())
