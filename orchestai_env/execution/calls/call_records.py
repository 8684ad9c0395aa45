"""The records of a call: how it is made, how far it is, and how it ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated, Literal

import pydantic

from orchestai_env.execution.calls.breaker import BreakerSettings
from orchestai_env.execution.calls.budget import Ledger, sum_usd
from orchestai_env.execution.workers.worker import Answer, CallRequest, Fault, Usage
from orchestai_env.settings import StrictSettings
from orchestai_env.workers import NonNegative, Positive

CallFault = Literal[Fault, "budget"]
"""Why a call gave no answer: a fault of the worker, or no money left for it."""


class CallSettings(StrictSettings):
    """How one worker is called."""

    timeout_s: Positive = 60.0
    """Longest time of one try [s]."""
    concurrency: Annotated[int, pydantic.Field(ge=1)] = 8
    """Calls that run at once; further ones wait, first come first served."""
    max_tries: Annotated[int, pydantic.Field(ge=1, le=100)] = 4
    """Requests that one call sends to this worker, the first included."""
    backoff_base_s: NonNegative = 0.5
    """Longest wait after the first fault [s]; twice as long after every further one."""
    backoff_cap_s: NonNegative = 30.0
    """Longest wait of its own accord [s]."""
    retry_after_limit_s: NonNegative = 120.0
    """Longest Retry-After that is waited for [s]; a worker that asks for more is given up."""
    fallback: str | None = None
    """Worker that takes over where this one gives no answer; None for none."""
    breaker: BreakerSettings = BreakerSettings()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Prices:
    """What calls cost, asked once before and once after every try."""

    cost_usd: Callable[[str, Usage], float]
    """(worker, tokens of a try) -> its cost [USD], >= 0."""
    upper_cost_usd: Callable[[str, CallRequest], float]
    """(worker, request) -> what a try costs at most [USD], >= 0."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CallOutcome:
    """How a call ended, all its tries and fallbacks together."""

    called: str
    """Worker that answered or was tried last; the one that was asked for where none was tried."""
    answer: Answer | None
    fault: CallFault | None
    """Why the worker that was tried last gave no answer, or why none was tried; None where there
    is an answer."""
    message: str
    """Why tries gave no answer, in their order, as one line; empty where the first one did."""
    cost_usd: float
    """Of all tries, those without an answer included as far as their tokens are known [USD]."""
    usage: Usage
    """Tokens of all tries, likewise."""
    tries: int
    """Requests that were sent."""
    started_s: float | None
    """When the first try went [s], on the clock of the `Caller`; None where none did."""
    ended_s: float
    """When this outcome was known [s], on the same clock."""
    running: int
    """Calls that the called worker ran already when it was first tried."""
    refused_by: Ledger | None = None
    """Ledger whose budget did not allow a try; None where every try was allowed."""


@dataclasses.dataclass(slots=True)
class CallProgress:
    """How far a call is; whoever cancels it reads here what it has cost."""

    called: str = ""
    started_s: float | None = None
    running: int = 0
    tries: int = 0
    usages: list[Usage] = dataclasses.field(default_factory=list)
    costs_usd: list[float] = dataclasses.field(default_factory=list)

    @property
    def cost_usd(self) -> float:
        """Cost of the tries that have ended [USD], as the ledger has it."""
        return sum_usd(self.costs_usd)

    @property
    def usage(self) -> Usage:
        """Tokens of the tries that have ended."""
        return Usage(
            input_tokens=sum(usage.input_tokens for usage in self.usages),
            output_tokens=sum(usage.output_tokens for usage in self.usages),
            cached_tokens=sum(usage.cached_tokens for usage in self.usages),
            reasoning_tokens=sum(usage.reasoning_tokens for usage in self.usages),
            is_estimated=any(usage.is_estimated for usage in self.usages),
        )
