"""What executions with a user's own workers are made of."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestai_env.dataset import Dataset
from orchestai_env.errors import ConfigError
from orchestai_env.execution.budget import Ledger
from orchestai_env.execution.calls import Caller
from orchestai_env.execution.check_settings import load_checks
from orchestai_env.execution.execution import Means
from orchestai_env.execution.pricing import prices_of
from orchestai_env.execution.worker import Worker
from orchestai_env.execution.worker_settings import LivePool
from orchestai_env.outcomes.live import assumed_statistics, live_dataset, live_tables
from orchestai_env.settings import read_yaml
from orchestai_env.workflow import Workflow
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


def live_workflows(
    pool: LivePool,
    workflows: Sequence[Workflow],
    known: Dataset | None = None,
    *,
    max_subtasks: int = 1,
) -> Dataset:
    """Returns the data set of workflows that the workers of a pool are to serve.

    Args:
        pool: workers, in action order.
        workflows: at least one.
        known: statistics of at least these workers; None = what prices and speeds let assume.
        max_subtasks: padded size, where no workflow is longer.
    Raises:
        UnknownWorkerError: `known` lacks a worker of the pool.
        ConfigError: no worker can serve some subtask.
        WorkflowError: a workflow is malformed.
    """
    asked = tuple(sorted({s.type for workflow in workflows for s in workflow.subtasks}))
    capable = pool.capable(asked)
    for name, served in zip(asked, capable, strict=True):
        if not served.any():
            raise ConfigError(
                f"task type {name!r}: no worker serves it; add it to the capabilities of one"
            )
    task_types = asked if known is None else known.task_types
    table = WorkflowTable.from_workflows(
        list(workflows),
        task_types=task_types,
        max_subtasks=max(max_subtasks, *(len(workflow.subtasks) for workflow in workflows)),
    )
    capable = pool.capable(task_types)
    if known is not None:
        return live_dataset(known.with_workers(pool.pool().names).with_workflows(table), capable)
    return Dataset(
        name="live",
        pool=pool.pool(),
        workflows=table,
        outcomes=live_tables(capable),
        statistics=assumed_statistics(pool.pool(), capable),
        latency_label="recorded",
    )
