"""What executions with a user's own workers are made of."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orchestai_env.dataset import Dataset
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.datasets.calibration.simulated_pool import load_simulated_pool
from orchestai_env.datasets.folder import load_dataset
from orchestai_env.errors import ConfigError, UnknownWorkerError, unknown_name
from orchestai_env.execution.calls.budget import Ledger
from orchestai_env.execution.calls.calls import Caller
from orchestai_env.execution.checks.check_settings import load_checks
from orchestai_env.execution.execution import Means
from orchestai_env.execution.workers.pricing import prices_of
from orchestai_env.execution.workers.worker import Worker
from orchestai_env.execution.workers.worker_settings import LivePool
from orchestai_env.outcomes.live import assumed_statistics, live_tables
from orchestai_env.outcomes.tables import RECORDED
from orchestai_env.settings import read_yaml
from orchestai_env.workers import WorkerPool
from orchestai_env.workflow import Subtask, Workflow
from orchestai_env.workflow_table import WorkflowTable


def live_means(
    pool: LivePool,
    *,
    checks: Mapping[str, Any] | str | Path | None = None,
    budget_usd: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Means, dict[str, Worker]]:
    """Builds what calls the workers of a pool and judges what they write.

    Args:
        pool: workers; called, and to be closed, in the event loop that first calls them.
        checks: settings of the checks, or a YAML file of them; None = an output must not be empty.
        budget_usd: most that all calls may cost [USD]; None = no limit.
        clock: seconds.
    Returns:
        The means, and the workers by name, for whoever closes them.
    Raises:
        ConfigError: a key is missing, or a worker or a check cannot be built; it says why.
        MissingPackageError: a package that one of them needs is not installed.
    """
    workers, ledger = pool.build(), Ledger(budget_usd)
    caller = Caller(workers, pool.call_settings(), ledger, prices_of(pool), clock=clock)
    where, given = "checks", checks
    if isinstance(given, (str, Path)):
        where, given = str(given), read_yaml(given)
    judges = {name: caller.as_worker(name) for name in workers}
    check = load_checks(given or {}, where=where, judges=judges)
    return Means(caller=caller, check=check, ledger=ledger, clock=clock), workers


async def close_workers(workers: Mapping[str, Worker]) -> None:
    """Gives back what workers hold; in the event loop that called them."""
    for worker in workers.values():
        await worker.close()


def known_workers(path: str | Path) -> Dataset:
    """Reads what is known of workers from their calls; its workflows do not matter.

    Args:
        path: YAML of `orchestai calibrate`, or the folder of an imported data set, whose training
            queries count.
    Raises:
        MissingFileError: there is nothing.
        OrchestAIError: it is neither, or broken.
    """
    if Path(path).is_dir():
        return load_dataset(path, "train")
    try:
        pool = load_simulated_pool(path)
    except ConfigError as error:
        raise ConfigError(
            f"{error}; expected the file that `orchestai calibrate` writes, or the folder of "
            "`orchestai import-recorded`"
        ) from None
    return builtin_dataset("train", pool=pool.workers, num_workflows=1, simulation=pool.simulation)


def live_workflows(
    pool: LivePool,
    workflows: Sequence[Workflow],
    known: Dataset | None = None,
    *,
    max_subtasks: int = 1,
) -> Dataset:
    """Returns the data set of workflows that the workers of a pool are to serve.

    A worker is called for a task type where its settings allow it and, with simulated or live
    statistics, where these are of at least one such call: what a simulator masks is masked here.

    Args:
        pool: workers, in action order.
        workflows: at least one.
        known: statistics of at least these workers and task types; None = what prices and speeds
            let assume.
        max_subtasks: padded size, where no workflow is longer.
    Raises:
        UnknownWorkerError: `known` lacks a worker of the pool.
        ConfigError: `known` lacks a task type, or no worker can serve some subtask.
        WorkflowError: a workflow is malformed.
    """
    asked = tuple(sorted({s.type for workflow in workflows for s in workflow.subtasks}))
    task_types = asked if known is None else known.task_types
    for name in asked:
        if name not in task_types:
            raise ConfigError(
                f"{unknown_name('task type', name, task_types)}; nothing is known of its calls: "
                "calibrate on a log that has some"
            )
    table = WorkflowTable.from_workflows(
        list(workflows),
        task_types=task_types,
        max_subtasks=max([max_subtasks, *(len(workflow.subtasks) for workflow in workflows)]),
    )
    return _served(_live(pool, table, known), pool, asked)


def live_vocabulary(
    pool: LivePool, task_types: Sequence[str], known: Dataset | None = None, *, max_subtasks: int
) -> Dataset:
    """Returns a data set for a planner: its plans take the place of the workflows.

    Args:
        pool: workers, in action order.
        task_types: of the plans, at least one; all of them are served.
        known: as in `live_workflows`; where it has more task types, so has the result.
        max_subtasks: padded size, and largest size of a plan.
    Raises:
        OrchestAIError: as in `live_workflows`.
    """
    parts = [
        Workflow(id=name, instruction="", subtasks=(Subtask(name=name, type=name),), links=())
        for name in task_types
    ]
    return live_workflows(pool, parts, known, max_subtasks=max_subtasks)


def _live(pool: LivePool, table: WorkflowTable, known: Dataset | None) -> Dataset:
    capable, workers = pool.capable(table.task_types), pool.pool()
    if known is None:
        statistics = assumed_statistics(workers, capable)
    else:
        chosen = np.array([_known_index(known.pool, name) for name in workers.names], np.int64)
        statistics = dataclasses.replace(known.statistics.select(chosen), predicted_success=None)
        workers = WorkerPool(tuple(known.pool.workers[index] for index in chosen.tolist()))
        if known.outcomes.kind[0] != RECORDED:  # recorded statistics fill what they lack
            capable &= known.outcomes.capable[:, chosen] > 0
    return Dataset(
        name="live",
        pool=workers,
        workflows=table,
        outcomes=live_tables(capable),
        statistics=statistics,
        latency_label="recorded",
    )


def _known_index(known: WorkerPool, name: str) -> int:
    try:
        return known.index(name)
    except UnknownWorkerError as error:
        raise UnknownWorkerError(
            f"{error}; nothing is known of its calls: calibrate on a log that has some, or take it "
            "out of the file of workers"
        ) from None


def _served(dataset: Dataset, pool: LivePool, asked: Sequence[str]) -> Dataset:
    """Returns the data set, once every task type that is asked for has a worker.

    Raises:
        ConfigError: one has none.
    """
    allowed = pool.capable(dataset.task_types).max(axis=1)
    capable = dataset.outcomes.capable.max(axis=1)
    for name in asked:
        index = dataset.task_types.index(name)
        if not allowed[index]:
            raise ConfigError(
                f"task type {name!r}: no worker serves it; add it to the capabilities of one"
            )
        if not capable[index]:
            raise ConfigError(
                f"task type {name!r}: nothing is known of calls of it by a worker that serves it; "
                "calibrate on a log that has some"
            )
    return dataset
