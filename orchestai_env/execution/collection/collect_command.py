"""`orchestai collect`: executes many instructions with the user's workers, into a log."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from orchestai_env.engine import ENGINES, num_ray_cores, open_executor
from orchestai_env.errors import ConfigError, unknown_name
from orchestai_env.execution.collection.collection import Collection, Share, claim_settings
from orchestai_env.execution.collection.collection_batch import Assignment, start
from orchestai_env.execution.collection.collection_dealing import Dealer, num_slots
from orchestai_env.execution.collection.stop_signals import stop_signals
from orchestai_env.execution.collection.tally import Tally
from orchestai_env.execution.collection.tenure import tenure
from orchestai_env.execution.extra import needs_extra
from orchestai_env.execution.live_arguments import add_live_arguments, contents
from orchestai_env.run_folder import claim

_DECIDING = (
    *("workers", "workflows", "planner", "task_types", "checks", "chooser", "exploration", "seed"),
    *("rewards", "max_attempts", "timeout_s", "workflow_budget_usd", "known", "sample"),
    "redaction",
)
"""Arguments that decide what an execution is, and what the log keeps of it."""

_REFRESH_S = 0.1


def add_collect_command(commands: Any) -> None:
    """Adds the command to the subparsers of `orchestai`."""
    add = commands.add_parser("collect", help="execute many instructions, into an execution log")
    add.add_argument("--num_executions", type=int, required=True, help="of the whole collection")
    add.add_argument("--output_dir", type=Path, required=True, help="folder of the log")
    add.add_argument(
        "--num_parallel",
        type=int,
        default=8,
        help="workflows at once, over all machines; default: %(default)s",
    )
    add.add_argument(
        "--engine",
        default="local",
        help="local = this process; ray = the cluster that RAY_ADDRESS names, else this machine's "
        "cores",
    )
    add_live_arguments(add)
    add.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    for name in ("num_executions", "num_parallel"):
        if getattr(args, name) < 1:
            raise ConfigError(f"--{name}: expected a whole number >= 1, got {getattr(args, name)}")
    if args.engine not in ENGINES:
        raise ConfigError("--engine: " + unknown_name("engine", args.engine, ENGINES))
    if args.budget_usd is not None and not args.budget_usd >= 0.0:
        raise ConfigError(f"--budget_usd: expected an amount >= 0, got {args.budget_usd}")
    collection = Collection.of(args)
    with claim(args.output_dir):
        given = {name: getattr(args, name) for name in _DECIDING}
        claim_settings(args.output_dir, {k: _plain(v) for k, v in given.items()} | contents(args))
        with tenure(args.output_dir) as token:
            tally = Tally(args.output_dir, collection.names())
            stopped_by = None
            if tally.missing():
                stopped_by = _ENGINES[args.engine](collection, tally, token)
    line = _summary(args, tally)
    if stopped_by is None:
        if tally.missing() and args.budget_usd is not None:
            line += f"; stopped at the budget of {args.budget_usd:g} USD, a larger one goes on"
        print(line)
        return
    line += "; stopped, the same command goes on from there"
    if stopped_by == signal.SIGINT:
        raise KeyboardInterrupt(line)
    print(line, file=sys.stderr)
    sys.exit(128 + stopped_by)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _summary(args: argparse.Namespace, tally: Tally) -> str:
    """Returns one line on what is there."""
    line = f"{args.output_dir}: {tally.num_done} of {args.num_executions} executions"
    line += f", {tally.num_succeeded} succeeded, {tally.spent_usd:.4f} USD"
    if tally.num_interrupted:
        line += f", {tally.num_interrupted} interrupted in this run"
    return line


def _collect_locally(collection: Collection, tally: Tally, _: str) -> signal.Signals | None:
    """Executes what is missing in this process; returns what told it to stop, if anything did."""
    return asyncio.run(_collect_async(collection, tally))


async def _collect_async(collection: Collection, tally: Tally) -> signal.Signals | None:
    args, loop = collection.args, asyncio.get_running_loop()
    left_usd = None if args.budget_usd is None else max(0.0, args.budget_usd - tally.spent_usd)
    share = Share(num_parallel=args.num_parallel, budget_usd=left_usd, pool=collection.pool)
    work = asyncio.create_task(collection.execute(tally.missing(), share))
    with (
        _progress_bar(tally, args.num_executions) as show,
        stop_signals(lambda: loop.call_soon_threadsafe(work.cancel)) as stop,
    ):
        try:
            while not (await asyncio.wait([work], timeout=_REFRESH_S))[0]:
                tally.catch_up()
                show()
            with contextlib.suppress(asyncio.CancelledError):
                await work
        finally:
            tally.catch_up()
            show()
    return stop.signal


def _collect_on_ray(collection: Collection, tally: Tally, token: str) -> signal.Signals | None:
    """Executes what is missing on a cluster; returns what told it to stop, if anything did."""
    args = collection.args
    num_jobs = min(args.num_parallel, os.cpu_count() or 1)
    assignment = Assignment.of(args, token)
    with (
        stop_signals() as early,  # Ray that is interrupted while it starts may crash
        # Whether a batch whose process died is done again is for the dealer to say, by the log.
        open_executor("ray", num_jobs, start, (assignment,), num_retries=0) as pool,
        _progress_bar(tally, args.num_executions) as show,
        stop_signals() as late,  # Ray has set a handler of its own
    ):
        slots = num_slots(args.num_parallel, collection.pool, num_ray_cores())
        dealer = Dealer(collection, tally, pool, slots)
        dealer.run(lambda: bool(early.signal or late.signal), show)
    return early.signal or late.signal


_ENGINES: dict[str, Callable[[Collection, Tally, str], signal.Signals | None]] = {
    "local": _collect_locally,
    "ray": _collect_on_ray,
}


@contextlib.contextmanager
def _progress_bar(tally: Tally, total: int) -> Iterator[Callable[[], None]]:
    """Shows a bar; yields what draws it as the tally stands."""
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
        task = bar.add_task("", total=total, text="")

        def show() -> None:
            text = f"{tally.spent_usd:.4f} USD, {tally.num_succeeded} succeeded"
            bar.update(task, completed=tally.num_done, text=text)

        show()
        yield show
