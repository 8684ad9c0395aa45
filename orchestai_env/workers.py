"""WorkerSpec and WorkerPool: the models that can be called, and what a call of them costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal, Self

import pydantic

from orchestai_env.errors import ConfigError, UnknownWorkerError, unknown_name

KINDS = ("llm", "vision", "audio", "code", "document", "data")
"""Kinds of worker, in the order of their one-hot feature."""

Kind = Literal["llm", "vision", "audio", "code", "document", "data"]
NonNegative = Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]


class TaskSkill(pydantic.BaseModel):
    """How one worker fares on one task type; the parameters of the simulated outcomes."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    success: Annotated[float, pydantic.Field(gt=0, lt=1)]
    """Success probability of a first call, over subtasks of this type."""
    output_tokens: Positive
    """Median number of output tokens of a call."""
    input_tokens: NonNegative = 200.0
    """Mean number of input tokens of a call. The default is near the mean prompt of the recorded
    zeroeval queries (176); chosen."""
    difficulty_spread: Annotated[float, pydantic.Field(ge=0, le=10)] | None = None
    """What a standard deviation of a subtask's hidden difficulty takes from the skill, in units of
    a call's noise; None = SimulationSettings.difficulty_spread."""
    token_spread: Annotated[float, pydantic.Field(ge=0, le=3)] | None = None
    """Standard deviation of the logarithm of a call's output tokens; None =
    SimulationSettings.token_spread."""
    tokens_by_difficulty: Annotated[float, pydantic.Field(ge=-3, le=3)] = 0.0
    """What a standard deviation of hidden difficulty adds to the logarithm of the output tokens."""
    tokens_by_luck: Annotated[float, pydantic.Field(ge=-3, le=3)] = 0.0
    """What a standard deviation of a call's noise adds to the logarithm of its output tokens: below
    0 where failed calls are longer than successful ones on equally hard subtasks."""
    source: str
    """Where the figures were read, or "assumed"."""


class WorkerSpec(pydantic.BaseModel):
    """One worker: its kind, prices, speed, concurrency and skills."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: Kind = "llm"
    input_usd_per_mtok: NonNegative = 0.0
    """Price of a million input tokens [USD]."""
    output_usd_per_mtok: NonNegative = 0.0
    """Price of a million output tokens [USD]."""
    first_token_ms: NonNegative = 0.0
    """Time to the first token of a call [ms]."""
    tokens_per_s: Positive = 100.0
    """Output speed after the first token [tokens/s]."""
    concurrency: Annotated[int, pydantic.Field(ge=1)] = 1_000_000
    """Calls that run at once; further ones wait. The default never binds."""
    kinship: Annotated[float, pydantic.Field(ge=-10, le=10)] = 0.0
    """What a standard deviation of a subtask's hidden character takes from the skill, in units of a
    call's noise. Workers with the same sign fail on the same subtasks beyond what difficulty
    explains, as models of one family do."""
    skills: dict[str, TaskSkill] = {}
    """Task type -> skill, for simulated outcomes; a type that is not here is masked."""
    source: str = ""
    """Where price and speed were read, or "assumed"."""


class WorkerPool(pydantic.RootModel[tuple[WorkerSpec, ...]]):
    """The workers that an agent chooses from; an action is an index into it."""

    model_config = pydantic.ConfigDict(frozen=True)

    @pydantic.model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [worker.name for worker in self.root]
        if not names:
            raise ValueError("expected at least one worker, got none")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"worker names must be unique, got twice: {', '.join(twice)}")
        return self

    def __len__(self) -> int:
        """Returns the number of workers."""
        return len(self.root)

    @property
    def workers(self) -> Sequence[WorkerSpec]:
        """The workers, in action order."""
        return self.root

    @property
    def names(self) -> tuple[str, ...]:
        """The worker names, in action order."""
        return tuple(worker.name for worker in self.root)

    def index(self, name: str) -> int:
        """Returns the action that calls the worker of this name.

        Raises:
            UnknownWorkerError: the pool has no such worker; the message suggests the nearest.
        """
        if name not in self.names:
            raise UnknownWorkerError(unknown_name("worker", name, self.names))
        return self.names.index(name)


def milliseconds_to_us(milliseconds: float) -> int:
    """Converts milliseconds to the clock's whole microseconds (half up).

    Raises:
        ConfigError: the time is negative or no finite number.
    """
    if not (milliseconds >= 0 and math.isfinite(milliseconds)):
        raise ConfigError(f"expected a time >= 0 ms, got {milliseconds}")
    return math.floor(milliseconds * 1000.0 + 0.5)
