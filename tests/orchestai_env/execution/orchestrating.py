"""Executions in virtual time: a planner, a log and workers that do what a test tells them."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from orchestai_env.dataset import Dataset
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.errors import PlanningError
from orchestai_env.execution.calls.budget import Ledger
from orchestai_env.execution.calls.calls import Caller
from orchestai_env.execution.checks.check_settings import Checks
from orchestai_env.execution.checks.checks import Check
from orchestai_env.execution.chooser import Chooser, RandomChooser
from orchestai_env.execution.execution import Means
from orchestai_env.execution.log.record import ExecutionRecord
from orchestai_env.execution.orchestrator import Orchestrator, OrchestratorSettings
from orchestai_env.execution_result import ExecutionResult
from orchestai_env.outcomes.live import live_dataset
from orchestai_env.planning.planner import Plan, Planner
from orchestai_env.workflow import Subtask, Workflow
from tests.orchestai_env.execution import virtual_time
from tests.orchestai_env.execution.scripted_worker import ScriptedWorker, caller_of

DIAMOND = ((0, 1), (0, 2), (1, 3), (2, 3))


class FixedPlanner:
    """Gives every instruction the same shape."""

    name = "fixed"

    def __init__(self, size: int = 4, links: tuple[tuple[int, int], ...] = DIAMOND) -> None:
        self._size, self._links = size, links
        self.task_types = ("planning",)

    def plan(self, instructions: Sequence[str]) -> list[Plan]:
        if any(not text for text in instructions):
            raise PlanningError("nothing to plan")
        subtasks = tuple(Subtask(name=f"step {i}", type="planning") for i in range(self._size))
        return [
            Plan(
                workflow=Workflow(id="w", instruction=text, subtasks=subtasks, links=self._links),
                planner=self.name,
                confidence=1.0,
            )
            for text in instructions
        ]


class MemoryLog:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.records: list[ExecutionRecord] = []

    def append(self, *records: ExecutionRecord) -> None:
        self.records += records


def known(num_workers: int = 2) -> Dataset:
    """Returns a live data set of the first workers of the built-in pool."""
    data = builtin_dataset("validation", num_workflows=2)
    data = data.with_workers(data.pool.names[:num_workers])
    return live_dataset(data, np.ones((len(data.task_types), num_workers), np.bool_))


NAMES = known().pool.names


@dataclasses.dataclass
class Bench:
    """An orchestrator with what it charges and logs to, in the running loop's time."""

    orchestrator: Orchestrator
    ledger: Ledger
    log: MemoryLog


def bench(
    workers: Sequence[ScriptedWorker],
    *,
    chooser: Chooser | None = None,
    planner: Callable[[Caller], Planner] = lambda caller: FixedPlanner(),
    check: Callable[[Caller], Check] = lambda caller: Checks(),
    settings: OrchestratorSettings | None = None,
    budget_usd: float | None = None,
    log: MemoryLog | None = None,
) -> Bench:
    """Returns one; each call costs 0.05 USD, and one of up to 1 USD is held against the budget."""
    ledger, log, clock = Ledger(budget_usd), log or MemoryLog(), asyncio.get_running_loop().time
    caller = caller_of(*workers, ledger=ledger)
    orchestrator = Orchestrator(
        known(),
        planner=planner(caller),
        chooser=chooser or RandomChooser(),
        means=Means(caller=caller, check=check(caller), ledger=ledger, clock=clock),
        log=log,
        settings=settings,
    )
    return Bench(orchestrator, ledger, log)


@dataclasses.dataclass
class Run:
    """What an execution left."""

    record: ExecutionRecord
    result: ExecutionResult
    ledger: Ledger
    log: MemoryLog


def execute(
    workers: Callable[[], Sequence[ScriptedWorker]], *, instruction: str = "do it all", **given: Any
) -> Run:
    """Executes one instruction in virtual time.

    Args:
        workers: makes them.
        instruction: text.
        **given: of `bench`.
    """

    async def main() -> Run:
        made = bench(workers(), **given)
        record, result = await made.orchestrator.execute_async(instruction)
        return Run(record, result, made.ledger, made.log)

    return virtual_time.run(main())


def both(**seconds: float) -> list[ScriptedWorker]:
    """Returns a worker for each name that always answers."""
    return [ScriptedWorker(name, seconds=seconds.get("seconds", 1.0)) for name in NAMES]
