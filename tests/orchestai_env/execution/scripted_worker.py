"""Workers that do what a test tells them to, and count what they are asked."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable

from orchestai_env.execution.calls.budget import Ledger
from orchestai_env.execution.calls.call_records import CallSettings, Prices
from orchestai_env.execution.calls.calls import Caller
from orchestai_env.execution.workers.worker import (
    Answer,
    CallRequest,
    Fault,
    Usage,
    WorkerCallError,
)

USAGE = Usage(input_tokens=100, output_tokens=50)
REQUEST = CallRequest(instruction="do it", subtask="first", task_type="math")

Step = Answer | Fault | WorkerCallError
"""What one try does; a fault's name stands for an error without tokens."""


class ScriptedWorker:
    """Does the steps in turn, and answers once they are used up."""

    def __init__(self, name: str, steps: Iterable[Step] = (), *, seconds: float = 1.0) -> None:
        self.name, self.seconds = name, seconds
        self._steps = iter(steps)
        self.tries = self.running = self.most_running = 0
        self.served: list[int] = []
        """Subtasks, in the order in which their tries began."""

    async def call(self, request: CallRequest) -> Answer:
        self.tries += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.served.append(request.index)
        try:
            return await self._step(next(self._steps, None))
        finally:
            self.running -= 1

    async def _step(self, step: Step | None) -> Answer:
        if step == "timeout":
            await asyncio.sleep(1e6)
        await asyncio.sleep(self.seconds)
        if step is None:
            return Answer(text=f"answer of {self.name}", usage=USAGE)
        if isinstance(step, Answer):
            return step
        if isinstance(step, WorkerCallError):
            raise step
        raise WorkerCallError(f"{self.name}: scripted {step}", fault=step)

    async def close(self) -> None:
        pass


def caller_of(
    *workers: ScriptedWorker,
    ledger: Ledger | None = None,
    cost_usd: Callable[[str, Usage], float] = lambda name, usage: usage.output_tokens / 1000,
    upper_usd: float = 1.0,
    **settings: CallSettings,
) -> Caller:
    """Returns a caller in the running loop's time; a worker without settings has the default."""
    return Caller(
        {worker.name: worker for worker in workers},
        {worker.name: settings.get(worker.name, CallSettings()) for worker in workers},
        ledger or Ledger(),
        Prices(cost_usd=cost_usd, upper_cost_usd=lambda name, request: upper_usd),
        clock=asyncio.get_running_loop().time,
        rng=random.Random(0),
    )
