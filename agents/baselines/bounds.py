"""Bounds: agents that know what none can know when it decides."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agents.agent import Actions, Obs, Setting, State
from orchestai_env.episodes import Episodes
from orchestai_env.oracle import hindsight_utility, peek


class HindsightAgent:
    """Knows the outcome of every call and picks the best one: a bound, not an agent to deploy."""

    def __init__(self, setting: Setting) -> None:
        """Takes the weights that the calls are judged by."""
        self._weights = setting.weights.as_array()
        self._episodes: Episodes | None = None

    def attach(self, episodes: Episodes) -> None:
        """Gives it the running episodes whose outcomes it looks up."""
        self._episodes = episodes

    def predict(
        self,
        observation: Obs,
        state: State = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Actions, State]:
        """Returns int64 (m,) workers for the rows that have not ended; see Agent.

        Raises:
            RuntimeError: `attach` was not called.
        """
        if self._episodes is None:
            raise RuntimeError("HindsightAgent needs attach(episodes) before predict")
        rows = np.flatnonzero(self._episodes.ended == 0)
        value = hindsight_utility(peek(self._episodes, rows), self._weights)
        return value.argmax(axis=1), state
