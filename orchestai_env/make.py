"""make_env: the entry point of `gym.make("OrchestAI-v0")`."""

from __future__ import annotations

from typing import Any

from orchestai_env.env import OrchestAIEnv
from orchestai_env.errors import ConfigError, shown


def make_env(*, outcomes: str = "dataset", **arguments: Any) -> OrchestAIEnv:
    """Makes an environment.

    Args:
        outcomes: "dataset" = those of the data set, simulated or recorded; "live" = real calls, see
            LiveOrchestAIEnv.
        **arguments: of the environment.
    Raises:
        ConfigError: an argument is unknown or out of range.
    """
    if outcomes == "dataset":
        return OrchestAIEnv(**arguments)
    if outcomes != "live":
        raise ConfigError(f'outcomes: expected "dataset" or "live", got {shown(outcomes)}')
    from orchestai_env.execution.live_env import LiveOrchestAIEnv

    return LiveOrchestAIEnv(**arguments)


make_env.metadata = OrchestAIEnv.metadata  # type: ignore[attr-defined]  # gym.make reads it
