"""EpisodeRules: the settings of an episode, the keyword arguments of OrchestAIEnv."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from orchestai_env.settings import StrictSettings

_MOST = 1_000_000_000_000  # chosen: 31 years of milliseconds; the clock's microseconds hold it
_LEAST_MS = 0.001  # one tick of the clock
_WIDEST = 1_000_000.0

Spread = Annotated[float, pydantic.Field(ge=1, le=_WIDEST, allow_inf_nan=False)]


class EpisodeRules(StrictSettings):
    """Rules of an episode; the keyword arguments of OrchestAIEnv."""

    max_attempts: Annotated[int, pydantic.Field(ge=1, le=1000)] = 3
    """Calls that may fail before a subtask has failed."""
    max_parallel_tasks: Annotated[int, pydantic.Field(ge=1, le=_MOST)] = 5
    """Calls of one workflow that run at once."""
    on_failure: Literal["abort", "continue"] = "abort"
    """What happens when a subtask has failed: end, or finish what does not depend on it."""
    on_masked_action: Literal["replace", "error"] = "replace"
    """What happens when a masked worker is chosen: the next allowed one is called, or an error."""
    cost_budget_usd: Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)] | None = None
    """Most that an episode may spend [USD]; None = no limit."""
    deadline_ms: Annotated[float, pydantic.Field(ge=_LEAST_MS, le=_MOST)] | None = None
    """Time at which an unfinished workflow fails [ms]; None = none."""
    max_steps: Annotated[int, pydantic.Field(ge=1, le=_MOST)] | None = None
    """Decisions after which the episode is truncated; None = max_subtasks * max_attempts, which
    never cuts."""
    preference_spread: Spread = 1.0
    """Cost and latency weight of each episode are multiplied by factors of their own, log-uniform
    over 1/x..x; 1 = the weights given. `context` shows them."""
    price_spread: Spread = 1.0
    """Costs of each worker in each episode are multiplied by a factor of its own, likewise."""
    latency_spread: Spread = 1.0
    """Latencies of each worker in each episode are multiplied by a factor of its own, likewise."""
    min_workers: Annotated[int, pydantic.Field(ge=1)] | None = None
    """Fewest workers of an episode, at most all: a random number from there to all, drawn anew each
    time, and more where a subtask would have none that can serve it; None = all, always."""
    shuffle_workers: bool = False
    """Whether each episode puts its workers on the actions in a random order."""
