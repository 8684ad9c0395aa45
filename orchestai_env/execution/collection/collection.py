"""Collection: many executions into one log, each of them once."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from orchestai_env.datasets.builtin import builtin_workflows
from orchestai_env.errors import ConfigError, PlanningError
from orchestai_env.execution.live_arguments import logger_of, orchestrator_of
from orchestai_env.execution.live_setup import close_workers, live_means
from orchestai_env.execution.log.log_files import log_files
from orchestai_env.execution.orchestrator import Orchestrator
from orchestai_env.execution.workers.worker_settings import LivePool, load_workers
from orchestai_env.workflow import Workflow, read_workflows

_UNPLANNED = 3
"""Instructions in a row that cannot be planned, after which a collection ends. Chosen."""

SETTINGS = "collection.json"
"""File beside the log that says what it was collected with."""


def claim_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Writes what a folder is collected with, or checks that it is the same as before.

    As long as nothing is logged, other settings take the place of those that were there.

    Args:
        folder: of the log; exists.
        settings: as JSON holds them; those that decide what an execution is.
    Raises:
        ConfigError: the folder was collected with other settings, or nobody can tell with which.
    """
    path, text = folder / SETTINGS, json.dumps(dict(settings), indent=1, sort_keys=True) + "\n"
    if not (path.exists() and log_files(folder)):
        beside = path.with_suffix(f".{os.getpid()}")
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
        return
    try:
        old = dict(json.loads(path.read_bytes()))
    except (ValueError, TypeError):
        raise ConfigError(
            f"{path}: expected the settings of a collection, got text that breaks; name another "
            "--output_dir, or delete the file and give the settings of before"
        ) from None
    changed = sorted(key for key in {*old, *settings} if old.get(key) != settings.get(key))
    if changed:
        raise ConfigError(
            f"{folder}: was collected with another {', '.join(changed)} (see {SETTINGS}); "
            "give the same, or another --output_dir"
        )


def execution_id(seed: int, index: int) -> str:
    """Returns the id of an execution: the same number, the same execution."""
    return f"{seed}-{index:08d}"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """What of a collection's limits one event loop has."""

    num_parallel: int
    """Workflows at once, >= 1."""
    budget_usd: float | None
    """Most that its calls may cost [USD]; None = no limit."""
    pool: LivePool
    """The workers, with the concurrency that it may use."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Collection:
    """What is collected; the same arguments make the same one in every process."""

    args: argparse.Namespace
    """Of the command."""
    pool: LivePool
    """Workers as the user declared them."""
    workflows: Sequence[Workflow]
    """One per execution, in their order."""

    @classmethod
    def of(cls, args: argparse.Namespace) -> Self:
        """Reads what the arguments name.

        Raises:
            OrchestAIError: a file is missing or wrong.
        """
        pool = load_workers(args.workers)
        return cls(args=args, pool=pool, workflows=_workflows(args, pool))

    @property
    def folder(self) -> Path:
        """Folder of the log."""
        return Path(self.args.output_dir)

    def name(self, index: int) -> str:
        """Returns the id of an execution."""
        return execution_id(self.args.seed, index)

    def names(self) -> list[str]:
        """Returns the ids of all executions."""
        return [self.name(index) for index in range(len(self.workflows))]

    async def execute(
        self, indices: Sequence[int], share: Share, on_end: Callable[[int], None] = lambda i: None
    ) -> None:
        """Executes some of the executions, until they are done or the budget is spent.

        Args:
            indices: of those that are to be done.
            share: of the limits.
            on_end: called with the index of each that is done.
        Raises:
            OrchestAIError: an instruction cannot be planned, a worker not be built or the log not
                be written; what runs is cancelled, as it is when this is cancelled.
        """
        args, budget_usd = self.args, share.budget_usd
        means, workers = live_means(share.pool, checks=args.checks, budget_usd=budget_usd)
        log = logger_of(args, self.folder)
        try:
            await collect(
                orchestrator_of(args, self.pool, means, self.workflows, log),
                ((i, self.name(i), self.workflows[i].instruction) for i in indices),
                num_parallel=share.num_parallel,
                may_go_on=lambda: budget_usd is None or means.ledger.spent_usd < budget_usd,
                on_end=on_end,
            )
        finally:
            log.close()
            await close_workers(workers)


def _workflows(args: argparse.Namespace, pool: LivePool) -> Sequence[Workflow]:
    """Returns the workflows of the file in turn, else made-up ones.

    Made-up ones are balanced over task types and shapes; see `builtin_workflows`.
    """
    if args.workflows is not None:
        known = read_workflows(args.workflows)
        return [known[i % len(known)] for i in range(args.num_executions)]
    types = args.task_types or sorted({t for spec in pool.specs for t in spec.capabilities})
    if not types:
        raise ConfigError(
            "expected --workflows FILE, or --task_types or capabilities of workers to make "
            "instructions of"
        )
    return builtin_workflows(args.num_executions, args.seed, types)


async def collect(
    orchestrator: Orchestrator,
    executions: Iterable[tuple[int, str, str]],
    *,
    num_parallel: int,
    may_go_on: Callable[[], bool],
    on_end: Callable[[int], None],
) -> None:
    """Executes instructions side by side; each is logged when it has ended.

    None follows once one was interrupted: the budget of them all is spent then. An instruction that
    cannot be planned is logged as a failure; several in a row are taken for a planner that is gone.

    Args:
        orchestrator: has the log.
        executions: (index, id, instruction) of those that are to be done.
        num_parallel: workflows at once, >= 1.
        may_go_on: asked before each; False ends the collection once those that run have ended.
        on_end: called with the index of each that is done.
    Raises:
        PlanningError: several instructions in a row cannot be planned; what runs is cancelled.
        OrchestAIError: the log cannot be written, or the chooser's answer is no good; likewise.
    """
    waiting, was_cut, num_unplanned = iter(executions), False, 0

    async def work() -> None:
        nonlocal was_cut, num_unplanned
        while may_go_on() and not was_cut:
            index, name, instruction = next(waiting, (None, "", ""))
            if index is None:
                return
            try:
                record, _ = await orchestrator.execute_async(instruction, execution_id=name)
                num_unplanned = 0
            except PlanningError:
                num_unplanned += 1
                if num_unplanned == _UNPLANNED:
                    raise
                on_end(index)
                continue
            if record.interrupted:
                was_cut = True
            else:
                on_end(index)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(num_parallel):
                group.create_task(work())
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
