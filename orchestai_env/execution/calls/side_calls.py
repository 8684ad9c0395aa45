"""SideCalls: calls that an execution pays beside those of its agent, to plan or to judge."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

from orchestai_env.execution.calls.budget import Ledger
from orchestai_env.execution.calls.to_the_end import to_the_end
from orchestai_env.execution.workers.worker import WorkerCallError


class SideCalls:
    """What planning one workflow, or judging one output, asks of workers.

    Calls of `Caller.as_worker` are charged here where they are made within `paying`, or by a task
    or thread that was started there with its context. So neither planners nor checks have to know
    for which execution they work.
    """

    def __init__(self, parent: Ledger) -> None:
        """Starts without a call.

        Args:
            parent: ledger of the caller.
        """
        self.ledger = Ledger(parent=parent)
        self.was_refused = False
        """Whether a call gave no answer because a budget did not allow it."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_over = False

    @property
    def cost_usd(self) -> float:
        """Cost of the calls that have ended [USD]."""
        return self.ledger.spent_usd

    @contextlib.contextmanager
    def paying(self) -> Iterator[None]:
        """Has calls that are made within the block charged here."""
        token = _PAYING.set(self)
        try:
            yield
        finally:
            _PAYING.reset(token)

    async def stop(self) -> None:
        """Cancels the calls that run and refuses further ones; returns when all have ended."""
        self._is_over = True
        for task in self._tasks:
            task.cancel()
        await to_the_end(*self._tasks)

    @contextlib.contextmanager
    def _noted(self) -> Iterator[SideCalls]:
        """Notes that the current task makes a call.

        Raises:
            WorkerCallError: they are stopped.
        """
        if self._is_over:
            raise WorkerCallError(
                "expected no call after the execution was cut short", fault="refused"
            )
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            yield self
        finally:
            self._tasks.discard(task)


_PAYING: contextvars.ContextVar[SideCalls | None] = contextvars.ContextVar("paying", default=None)


@contextlib.contextmanager
def paying_calls() -> Iterator[SideCalls | None]:
    """Gives the `SideCalls` that a call is charged to while the block lasts; None where none are.

    Raises:
        WorkerCallError: they are stopped.
    """
    side = _PAYING.get()
    with contextlib.nullcontext() if side is None else side._noted():
        yield side
