"""LiveEpisode: one workflow on wall-clock time, its calls running side by side."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable

from orchestai_env.episodes import Episodes
from orchestai_env.errors import ConfigError
from orchestai_env.execution.calls.to_the_end import to_the_end
from orchestai_env.live_clock import LiveClock, OpenCall
from orchestai_env.outcomes.tables import LIVE
from orchestai_env.state import TERMINATED, TRUNCATED


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CallEnd:
    """How a live call ended."""

    success: bool
    """Whether its output passed the check."""
    quality: float
    """0..1; score of the check."""
    cost_usd: float
    """[USD], >= 0; of all its tries."""
    error: Exception | None = None
    """Why the episode cannot go on, so that the call counts neither as a success nor as a failure;
    None where it can."""


class LiveEpisode:
    """Runs the calls that the transition starts, and tells it when they end.

    The rules are those of the simulated environment: what may start, when a decision is due, what
    ends the episode. Only the time is the wall clock's: the time that a decision takes counts too.
    When the episode ends, calls that still run are cancelled and charged for what they had cost.
    """

    def __init__(
        self,
        episodes: Episodes,
        call: Callable[[OpenCall], Awaitable[CallEnd]],
        *,
        clock: Callable[[], float] = time.monotonic,
        on_end: Callable[[int, int], None] = lambda subtask, now_us: None,
    ) -> None:
        """Takes one episode, not yet begun, and what runs a call.

        Args:
            episodes: one row over a live source.
            call: runs a call and says all that happens by its result; cancelled, it may raise
                CancelledError, and a result in its place is charged.
            clock: seconds.
            on_end: called with the subtask and the time [us] when the transition is told that the
                call of a subtask has ended.
        Raises:
            ConfigError: the source is not live, there are several rows, or prices or latencies
                vary, which only simulated calls can obey.
        """
        if episodes.dataset.outcomes.kind[0] != LIVE or episodes.n != 1:
            raise ConfigError("episodes: expected one episode over a live source; see live_dataset")
        spread = max(episodes.rules.price_spread, episodes.rules.latency_spread)
        if spread > 1.0:
            raise ConfigError(
                f"price_spread, latency_spread: expected 1 with live workers, got {spread:g}; "
                "they cost and take what they do"
            )
        self.episodes = episodes
        self._call, self._clock, self._on_end = call, clock, on_end
        self._timeline = LiveClock(episodes)
        self._running: dict[int, asyncio.Task[CallEnd]] = {}
        self._begun_s = 0.0

    @property
    def has_ended(self) -> bool:
        """Whether the episode is over."""
        return self.episodes.ended.item(0) in (TERMINATED, TRUNCATED)

    def now_ms(self) -> float:
        """Returns the time since the episode began [ms]."""
        return self.ms_at(self._clock())

    def ms_at(self, instant_s: float) -> float:
        """Returns the time between the begin of the episode and a reading of its clock [ms]."""
        return 1000.0 * (instant_s - self._begun_s)

    def begin(self) -> None:
        """Starts the clock of an episode that was just reset; the first decision is due."""
        self._timeline.prepare()
        self._begun_s = self._clock()

    def now_us(self) -> int:
        """Returns the same as the transition counts it [us]."""
        return round(1000.0 * self.now_ms())

    async def step(self, action: int, now_us: int) -> None:
        """Calls the worker of an action, and waits until the next decision is due or it is over.

        Args:
            action: 0..W-1; a masked one is replaced as in the simulated environment.
            now_us: time of the decision; see `now_us`.
        Raises:
            Exception: the `error` of a call; all calls are cancelled and charged then, as where
                this task is cancelled.
        """
        try:
            self._timeline.step(action, now_us)
            self._start_calls()
            while self._timeline.is_paused:
                self._timeline.resume(await self._wait())
                self._start_calls()
        except BaseException:
            await self.stop()
            raise
        if self.has_ended:
            await self.stop()

    async def stop(self) -> None:
        """Cancels the calls that run, and charges what they had cost."""
        running, self._running = self._running, {}
        for task in running.values():
            task.cancel()
        try:
            await to_the_end(*running.values())
        finally:
            for subtask, task in running.items():
                if not task.cancelled():
                    self._timeline.charge(subtask, task.result().cost_usd)

    def _start_calls(self) -> None:
        if self.has_ended:
            return
        for opened in self._timeline.open_calls():
            if opened.subtask not in self._running:
                self._running[opened.subtask] = asyncio.ensure_future(self._call(opened))

    async def _wait(self) -> int:
        """Waits until a call ends or the deadline passes; tells what has ended, returns when."""
        deadline_ms = self.episodes.rules.deadline_ms
        left_s = None if deadline_ms is None else max(0.0, deadline_ms - self.now_ms()) / 1000.0
        await asyncio.wait(
            self._running.values(), timeout=left_s, return_when=asyncio.FIRST_COMPLETED
        )
        now_us = self.now_us()
        ends = {i: task.result() for i, task in self._running.items() if task.done()}
        for end in ends.values():
            if end.error is not None:
                raise end.error  # all are still among those that `stop` charges
        for subtask, end in ends.items():
            del self._running[subtask]
            self._timeline.end_call(
                subtask,
                success=end.success,
                quality=end.quality,
                cost_usd=end.cost_usd,
                now_us=now_us,
            )
            self._on_end(subtask, now_us)
        return now_us
