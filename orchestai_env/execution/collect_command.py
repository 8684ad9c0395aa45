"""`orchestai collect`: executes many instructions with the user's workers, into a log."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from orchestai_env.datasets.builtin import builtin_workflows
from orchestai_env.errors import ConfigError
from orchestai_env.execution.collection import (
    claim_settings,
    collect,
    execution_id,
    logged_before,
)
from orchestai_env.execution.execution_log import ExecutionLogger
from orchestai_env.execution.extra import needs_extra
from orchestai_env.execution.live_arguments import add_live_arguments, orchestrator_of
from orchestai_env.execution.live_setup import live_means
from orchestai_env.execution.record import ExecutionRecord
from orchestai_env.execution.worker_settings import LivePool, load_workers
from orchestai_env.run_folder import claim
from orchestai_env.workflow import Workflow, read_workflows

_DECIDING = (
    *("workers", "workflows", "planner", "task_types", "checks", "chooser", "exploration", "seed"),
    *("rewards", "max_attempts", "timeout_s", "workflow_budget_usd"),
)
"""Arguments that decide what an execution is."""


def add_collect_command(commands: Any) -> None:
    """Adds the command to the subparsers of `orchestai`."""
    add = commands.add_parser("collect", help="execute many instructions, into an execution log")
    add.add_argument("--num_executions", type=int, required=True, help="of the whole collection")
    add.add_argument("--output_dir", type=Path, required=True, help="folder of the log")
    add.add_argument("--num_parallel", type=int, default=8, help="workflows at once")
    add_live_arguments(add)
    add.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    for name in ("num_executions", "num_parallel"):
        if getattr(args, name) < 1:
            raise ConfigError(f"--{name}: expected a whole number >= 1, got {getattr(args, name)}")
    pool = load_workers(args.workers)
    with claim(args.output_dir):
        given = {name: getattr(args, name) for name in _DECIDING}
        claim_settings(args.output_dir, {k: _plain(v) for k, v in given.items()})
        print(asyncio.run(_collect(args, pool)))


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def instructions_of(args: argparse.Namespace, pool: LivePool) -> Sequence[Workflow]:
    """Returns the workflows of the collection: those of the file in turn, else made-up ones.

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


async def _collect(args: argparse.Namespace, pool: LivePool) -> str:
    """Executes what is not logged yet; returns one line on what there is then."""
    workflows = instructions_of(args, pool)
    means, workers = live_means(pool, checks=args.checks, budget_usd=args.budget_usd)
    log = ExecutionLogger(args.output_dir)
    orchestrator = orchestrator_of(args, pool, means, workflows, log)
    found = logged_before(args.output_dir, means.ledger)
    left = [
        (name, workflow.instruction)
        for i, workflow in enumerate(workflows)
        if (name := execution_id(args.seed, i)) not in found
    ]
    succeeded, logged = sum(found.values()), len(found)

    def may_go_on() -> bool:
        return args.budget_usd is None or means.ledger.spent_usd < args.budget_usd

    with _progress_bar(len(workflows), logged) as show:

        def note(record: ExecutionRecord) -> None:
            nonlocal succeeded, logged
            succeeded, logged = succeeded + record.success, logged + 1
            show(logged, f"{means.ledger.spent_usd:.4f} USD, {succeeded} succeeded")

        try:
            await collect(
                orchestrator,
                left,
                num_parallel=args.num_parallel,
                may_go_on=may_go_on,
                on_record=note,
            )
        finally:
            log.close()
            for worker in workers.values():
                await worker.close()
    text = f"{args.output_dir}: {logged} of {len(workflows)} executions, {succeeded} succeeded"
    text += f", {means.ledger.spent_usd:.4f} USD"
    return text if may_go_on() else f"{text}; stopped at the budget of {args.budget_usd:g} USD"


@contextlib.contextmanager
def _progress_bar(total: int, done: int) -> Iterator[Callable[[int, str], None]]:
    """Shows a bar; yields what moves it on, called with a count and a text."""
    with needs_extra("live", what="progress bars"):
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(TextColumn("collecting"), *columns, TextColumn("{task.fields[text]}")) as bar:
        task = bar.add_task("", total=total, completed=done, text="")
        yield lambda count, text: bar.update(task, completed=count, text=text)
