"""`orchestai run`: executes one instruction with the user's workers, before the user's eyes."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestai_env.errors import ConfigError
from orchestai_env.execution.calls.budget import BudgetError, sum_usd
from orchestai_env.execution.execution import Execution
from orchestai_env.execution.extra import needs_extra
from orchestai_env.execution.live_arguments import add_live_arguments, logger_of, orchestrator_of
from orchestai_env.execution.live_setup import close_workers, live_means
from orchestai_env.execution.log.record import ExecutionRecord
from orchestai_env.execution.workers.worker_settings import load_workers
from orchestai_env.render.text import dollars, render_text, seconds
from orchestai_env.schedule import ScheduleRecorder
from orchestai_env.workflow import read_workflows

_REFRESHES_PER_S = 8


def add_run_command(commands: Any) -> None:
    """Adds the command to the subparsers of `orchestai`."""
    add = commands.add_parser("run", help="execute one instruction with your own workers")
    add.add_argument("instruction", help="what is to be done")
    add_live_arguments(add)
    add.add_argument("--log", type=Path, help="folder of the execution log")
    add.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    if (args.workflows is None) == (args.planner is None):
        raise ConfigError(
            "expected either --workflows FILE or --planner, a worker or the file of a trained "
            "planner, to plan by"
        )
    view = _View()
    record = asyncio.run(_execute(args, view))
    if record.execution_result.subtasks:  # else the budget did not suffice to plan
        print(render_text(view.recorder.schedule))
    for line in _beside(record, view):
        print(line)
    for i, text in sorted(record.execution_result.outputs.items()):
        print(f"\n--- {i}: {record.execution_result.subtasks[i].name}\n{text}")
    if record.interrupted:
        raise BudgetError(
            f"interrupted: --budget_usd {args.budget_usd:g} does not suffice for the next call; "
            "give more"
        )


def _beside(record: ExecutionRecord, view: _View) -> Iterator[str]:
    """Yields what the schedule does not say: other costs, and what went wrong."""
    judging_usd = sum_usd(decision.check_cost for decision in record.decisions)
    if record.planning_cost > 0.0 or judging_usd > 0.0:
        yield f"\nbeside: planning {dollars(record.planning_cost)}, judging {dollars(judging_usd)}"
    rules, troubles = record.rules, view.troubles
    assert rules is not None  # only records of other people's executions have none
    is_late = rules.deadline_ms is not None and record.latency_ms >= rules.deadline_ms
    if is_late and not record.success:
        troubles.append(f"out of time after {seconds(record.latency_ms)}; see --timeout_s")
    parts = record.execution_result.subtasks
    if any(part.status == "failed" and part.attempts < rules.max_attempts for part in parts):
        troubles.append("no worker may be called any more; see --workflow_budget_usd")
    if troubles:
        yield "\nwhat went wrong:"
        yield from troubles


async def _execute(args: argparse.Namespace, view: _View) -> ExecutionRecord:
    pool = load_workers(args.workers)
    means, workers = live_means(pool, checks=args.checks, budget_usd=args.budget_usd)
    workflows = [] if args.workflows is None else read_workflows(args.workflows)
    log = contextlib.nullcontext() if args.log is None else logger_of(args, args.log)
    try:
        with view.shown(), log as opened:
            orchestrator = orchestrator_of(args, pool, means, workflows, opened)
            record, _ = await orchestrator.execute_async(args.instruction, watch=view.watch)
    finally:
        await close_workers(workers)
    return record


class _View:
    """The subtasks as a table that is drawn anew while the workflow runs."""

    def __init__(self) -> None:
        self.recorder = ScheduleRecorder()
        self._execution: Execution | None = None

    def watch(self, execution: Execution) -> None:
        """Notes how an execution stands."""
        if self._execution is None:
            self._execution = execution
            self.recorder.begin(execution.episodes)
        else:
            self.recorder.update(execution.episodes)

    @property
    def troubles(self) -> list[str]:
        """What went wrong so far, one line each."""
        return [] if self._execution is None else list(self._execution.troubles)

    def shown(self) -> Any:
        """Returns a context in which the table is on the terminal.

        Raises:
            MissingPackageError: rich is not installed.
        """
        with needs_extra("live", what="live progress"):
            from rich.live import Live
        return Live(get_renderable=self._table, refresh_per_second=_REFRESHES_PER_S, transient=True)

    def _table(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        execution = self._execution
        if execution is None:
            return "planning ..."
        result, now_ms = execution.result(), execution.now_ms()
        title = f"{seconds(now_ms)}, {dollars(result.total_cost)}"
        table = Table("subtask", "type", "status", "worker", "calls", "time", "cost", title=title)
        for subtask in result.subtasks:
            begun = subtask.start_ms
            until = subtask.end_ms if subtask.status in ("succeeded", "failed") else now_ms
            cells = (
                " ".join(subtask.name.split()),
                subtask.type,
                subtask.status,
                subtask.worker or "",
                str(subtask.attempts),
                "" if begun is None or until is None else seconds(until - begun),
                dollars(subtask.cost),
            )
            table.add_row(*map(Text, cells))  # as plain strings they would be markup
        return table
