"""CircuitBreaker: leaves a worker alone for a while after many faults in a row.

closed     every try may go; `faults` passing faults in a row open it
open       no try may go, for `recovery_s`
half-open  one try may go, the probe: its success closes, its failure opens again
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import pydantic

from orchestai_env.settings import StrictSettings
from orchestai_env.workers import Positive

State = Literal["closed", "open", "half_open"]


class BreakerSettings(StrictSettings):
    """When a breaker opens, and for how long."""

    faults: Annotated[int, pydantic.Field(ge=1)] = 10
    """Passing faults in a row that open it. Chosen: where 15 % of all tries fail independently,
    ten in a row come once in 10^8 tries, five in a row once in 15,000."""
    recovery_s: Positive = 30.0
    """Time until it lets a probe through [s]; chosen."""


class CircuitBreaker:
    """Decides whether one worker may be called.

    A try takes a ticket before it goes and reports with it how it ended. A ticket is void once the
    breaker has changed its state, so that a try that began before an outage says nothing about
    what came after it.
    """

    def __init__(self, settings: BreakerSettings, clock: Callable[[], float]) -> None:
        """Starts closed.

        Args:
            settings: when it opens, and for how long.
            clock: seconds, from any origin; never runs back.
        """
        self._settings, self._clock = settings, clock
        self._state: State = "closed"
        self._ticket = 0
        self._faults = 0
        self._recovers_s = 0.0

    @property
    def state(self) -> State:
        """Current state; "half_open" while a probe runs."""
        return self._state

    def refuses(self) -> bool:
        """Tells whether a try that came now would not be let through."""
        return self._state == "half_open" or (self._state == "open" and not self._has_recovered())

    def enter(self) -> int | None:
        """Returns a ticket for a try that goes now; None where none may go."""
        if self.refuses():
            return None
        if self._state == "open":
            self._change("half_open")
        return self._ticket

    def succeeded(self, ticket: int) -> None:
        """Notes that the worker answered; a request that it refused counts as answered."""
        if ticket != self._ticket:
            return
        self._faults = 0
        if self._state == "half_open":
            self._change("closed")

    def failed(self, ticket: int) -> None:
        """Notes a passing fault."""
        if ticket != self._ticket:
            return
        self._faults += 1
        if self._state == "half_open" or self._faults >= self._settings.faults:
            self._faults = 0
            self._recovers_s = self._clock() + self._settings.recovery_s
            self._change("open")

    def abandoned(self, ticket: int) -> None:
        """Notes that a try ended without a result; where it was the probe, the next one is."""
        if ticket == self._ticket and self._state == "half_open":
            self._change("open")

    def _has_recovered(self) -> bool:
        # Not a difference of clock readings: rounding could keep it below recovery_s.
        return self._clock() >= self._recovers_s

    def _change(self, state: State) -> None:
        self._state = state
        self._ticket += 1
