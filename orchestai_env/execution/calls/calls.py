"""Caller: makes one call of many tries, and always says how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping

from orchestai_env.errors import ConfigError, UnknownWorkerError, unknown_name
from orchestai_env.execution.calls.breaker import CircuitBreaker
from orchestai_env.execution.calls.budget import Ledger, Reservation
from orchestai_env.execution.calls.call_records import (
    CallFault,
    CallOutcome,
    CallProgress,
    CallSettings,
    Prices,
)
from orchestai_env.execution.calls.side_calls import paying_calls
from orchestai_env.execution.workers.worker import (
    PASSING_FAULTS,
    Answer,
    CallRequest,
    Usage,
    Worker,
    WorkerCallError,
)


class Caller:
    """Calls workers for all workflows of one event loop.

    A call waits for a slot of its worker, first come first served, and holds it until the worker
    has answered or is given up, waits between tries included: as in the simulated environment a
    call occupies its worker from its start to its end, and a worker in trouble is sent less.

    Before every try the circuit breaker of the worker is asked, and the upper estimate of the try's
    cost is reserved; after it the cost of its tokens is charged. A try waits while running calls
    hold the money that it may need, and is refused where what is spent leaves too little. A try
    whose tokens are not known, as after a timeout, is charged nothing, though a provider may bill
    it.

    After a passing fault the next try waits a random time, uniform from 0 to
    min(backoff_cap_s, backoff_base_s * 2^(tries - 1)), on top of the Retry-After of the worker
    where it sent one. The fallback of a worker takes over where its tries are exhausted, it
    refuses, it asks for a longer Retry-After than is waited for, its breaker is open, or the budget
    does not allow it.

    Source of the wait: "full jitter" in M. Brooker, Exponential Backoff And Jitter, AWS
    Architecture Blog, 2015.
    """

    def __init__(
        self,
        workers: Mapping[str, Worker],
        settings: Mapping[str, CallSettings],
        ledger: Ledger,
        prices: Prices,
        *,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        """Takes the workers; it does not close them.

        Args:
            workers: by name.
            settings: of every worker, by name.
            ledger: charged with all calls that bring no ledger of their own.
            prices: what calls cost.
            clock: seconds, from any origin; never runs back.
            rng: draws the waits; freshly seeded where None.
        Raises:
            ConfigError: a worker has no settings or settings have no worker, or fallbacks name an
                unknown worker or form a cycle.
        """
        _check(workers, settings)
        self._lanes = {
            name: _Lane(worker, settings[name], CircuitBreaker(settings[name].breaker, clock), name)
            for name, worker in workers.items()
        }
        self._ledger, self._prices, self._clock = ledger, prices, clock
        self._rng = rng or random.Random()

    async def call(
        self,
        name: str,
        request: CallRequest,
        *,
        ledger: Ledger | None = None,
        progress: CallProgress | None = None,
    ) -> CallOutcome:
        """Calls a worker, or its fallbacks, until there is an answer or none is left.

        A call that is cancelled gives back its slot and its reservation; what its ended tries have
        cost stays charged, and its running try is charged nothing, since its cost is not known.

        Args:
            name: worker.
            request: passed on as it is.
            ledger: charged with this call; a child of the ledger of the caller, so that the whole
                is charged too. That ledger itself where None.
            progress: filled in while the call runs; a fresh one.
        Raises:
            UnknownWorkerError: there is no such worker.
        """
        if name not in self._lanes:
            raise UnknownWorkerError(unknown_name("worker", name, self._lanes))
        call = _Call(request, ledger or self._ledger, progress or CallProgress())
        asked: str | None = name
        while asked is not None:
            lane = self._lanes[asked]
            end = await self._ask(lane, call)
            if isinstance(end, Answer):
                return self._outcome(name, call, end)
            asked = lane.settings.fallback
        return self._outcome(name, call, None)

    def as_worker(self, name: str) -> Worker:
        """Returns a worker whose calls go through this caller and are charged to its ledger.

        It is for calls beside those of agents: a judge's or a planner's; where they are made for an
        execution, its `SideCalls` are charged. Where there is no answer, it raises a
        `WorkerCallError`, with fault "refused" where the budget does not allow the call.

        Raises:
            UnknownWorkerError: there is no such worker.
        """
        if name not in self._lanes:
            raise UnknownWorkerError(unknown_name("worker", name, self._lanes))
        return _CalledWorker(self, name)

    def running(self, name: str) -> int:
        """Returns the number of calls that hold a slot of a worker."""
        return self._lanes[name].running

    async def _ask(self, lane: _Lane, call: _Call) -> Answer | _NoAnswer:
        """Tries one worker until it answers or is given up."""
        if lane.breaker.refuses():  # no need to queue for it
            return call.noted(lane.left_alone())
        async with lane.slot() as running:
            tries = 0
            while True:
                end = await self._try(lane, call, running)
                tries += 1
                if isinstance(end, Answer):
                    return end
                call.noted(end)
                wait_s = self._wait_s(lane, end, tries)
                if wait_s is None:
                    return end
                await asyncio.sleep(wait_s)

    async def _try(self, lane: _Lane, call: _Call, running: int) -> Answer | _NoAnswer:
        """Sends one request, if the worker's breaker and the budget allow it."""
        upper_usd = self._prices.upper_cost_usd(lane.name, call.request)
        reservation = await call.reserved(lane.name, upper_usd)
        if reservation is None:
            message = f"{lane.name}: the budget does not allow a call of up to {upper_usd:.6g} USD"
            return _NoAnswer("budget", message)
        ticket = lane.breaker.enter()
        if ticket is None:
            call.ledger.settle(reservation, 0.0)
            return lane.left_alone()
        call.begin_try(lane.name, running, self._clock())
        cost_usd = 0.0
        try:
            end, usage = await _send(lane, call.request)
            lane.report(ticket, end)
            if usage is not None:
                cost_usd = self._prices.cost_usd(lane.name, usage)
                call.progress.usages.append(usage)
                call.progress.costs_usd.append(cost_usd)
            return end
        finally:
            lane.breaker.abandoned(ticket)  # void where it has been reported
            call.ledger.settle(reservation, cost_usd)

    def _wait_s(self, lane: _Lane, end: _NoAnswer, tries: int) -> float | None:
        """Returns the time until the next try of a worker [s]; None where it is given up."""
        settings = lane.settings
        is_passing = end.fault in PASSING_FAULTS and tries < settings.max_tries
        asked_s = max(0.0, end.retry_after_s or 0.0)
        if not is_passing or asked_s > settings.retry_after_limit_s or lane.breaker.refuses():
            return None
        ceiling_s = min(settings.backoff_cap_s, settings.backoff_base_s * 2.0 ** (tries - 1))
        return asked_s + self._rng.uniform(0.0, ceiling_s)

    def _outcome(self, name: str, call: _Call, answer: Answer | None) -> CallOutcome:
        progress = call.progress
        return CallOutcome(
            called=progress.called or name,
            answer=answer,
            fault=None if answer else call.fault,
            message="; then ".join(call.messages),
            cost_usd=progress.cost_usd,
            usage=progress.usage,
            tries=progress.tries,
            started_s=progress.started_s,
            ended_s=self._clock(),
            running=progress.running,
            refused_by=call.refused_by,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class _CalledWorker:
    """A worker behind a caller."""

    caller: Caller
    name: str

    async def call(self, request: CallRequest) -> Answer:
        """Answers one call; tries and fallbacks are the caller's."""
        with paying_calls() as side:
            ledger = None if side is None else side.ledger
            outcome = await self.caller.call(self.name, request, ledger=ledger)
            if side is not None and outcome.answer is None and outcome.refused_by is not None:
                side.was_refused = True
        if outcome.answer is not None:
            return outcome.answer
        fault = outcome.fault
        raise WorkerCallError(
            outcome.message, fault="refused" if fault is None or fault == "budget" else fault
        )

    async def close(self) -> None:
        """Leaves the worker open; it is its owner's."""


@dataclasses.dataclass(frozen=True, slots=True)
class _NoAnswer:
    """Why a worker gave no answer."""

    fault: CallFault
    message: str
    retry_after_s: float | None = None


@dataclasses.dataclass(slots=True)
class _Call:
    """One call on its way."""

    request: CallRequest
    ledger: Ledger
    progress: CallProgress
    messages: list[str] = dataclasses.field(default_factory=list)
    fault: CallFault | None = None
    refused_by: Ledger | None = None

    async def reserved(self, name: str, upper_usd: float) -> Reservation | None:
        """Reserves the cost of a try; waits while only running calls forbid it."""
        while (reservation := self.ledger.reserve(name, upper_usd)) is None:
            self.refused_by = self.ledger.refusing(upper_usd)
            if self.refused_by is not None:
                return None
            await self.ledger.settled()
        return reservation

    def begin_try(self, name: str, running: int, now_s: float) -> None:
        """Notes that a request is sent."""
        progress = self.progress
        if progress.started_s is None:
            progress.started_s = now_s
        progress.called, progress.running = name, running
        progress.tries += 1

    def noted(self, end: _NoAnswer) -> _NoAnswer:
        """Notes why a worker gave no answer; a try that was sent tells more than one that was not.

        Returns:
            The same.
        """
        if self.messages[-1:] != [end.message]:
            self.messages.append(end.message)
        if self.progress.tries == 0 or end.fault not in ("circuit_open", "budget"):
            self.fault = end.fault
        return end


class _Lane:
    """One worker, with what limits its calls."""

    def __init__(
        self, worker: Worker, settings: CallSettings, breaker: CircuitBreaker, name: str
    ) -> None:
        self.worker, self.settings, self.breaker, self.name = worker, settings, breaker, name
        self.running = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._slots = asyncio.Semaphore(settings.concurrency)

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[int]:
        """Waits for a slot and holds it; gives the number of calls that run already."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # a semaphore serves one loop; no call outlives an earlier one
            self._loop, self._slots = loop, asyncio.Semaphore(self.settings.concurrency)
        async with self._slots:
            running = self.running
            self.running += 1
            try:
                yield running
            finally:
                self.running -= 1

    def report(self, ticket: int, end: Answer | _NoAnswer) -> None:
        """Tells the breaker how a try ended."""
        if isinstance(end, _NoAnswer) and end.fault in PASSING_FAULTS:
            self.breaker.failed(ticket)
        else:
            self.breaker.succeeded(ticket)

    def left_alone(self) -> _NoAnswer:
        """Returns why a worker with an open breaker is not tried."""
        return _NoAnswer("circuit_open", f"{self.name}: left alone, since its last tries failed")


async def _send(lane: _Lane, request: CallRequest) -> tuple[Answer | _NoAnswer, Usage | None]:
    """Sends one request; returns what came back, and the tokens that are charged."""
    try:
        async with asyncio.timeout(lane.settings.timeout_s):
            answer = await lane.worker.call(request)
    except WorkerCallError as error:
        return _NoAnswer(error.fault, str(error), error.retry_after_s), error.usage
    except TimeoutError:
        message = f"{lane.name}: no answer within {lane.settings.timeout_s:g} s"
        return _NoAnswer("timeout", message), None
    return answer, answer.usage


def _check(workers: Mapping[str, Worker], settings: Mapping[str, CallSettings]) -> None:
    """Checks that workers, settings and fallbacks fit together."""
    if set(workers) != set(settings):
        apart = ", ".join(sorted(set(workers) ^ set(settings)))
        raise ConfigError(f"expected settings of every worker and of no other, apart are: {apart}")
    for name in settings:
        chain = [name]
        while (fallback := settings[chain[-1]].fallback) is not None:
            if fallback not in settings:
                place = f"worker {chain[-1]!r}, fallback"
                raise ConfigError(f"{place}: {unknown_name('worker', fallback, settings)}")
            if fallback in chain:
                circle = " -> ".join([*chain, fallback])
                raise ConfigError(f"expected fallbacks that end, got a cycle: {circle}")
            chain.append(fallback)
