"""Simple rules: one look at the workers, no tuning."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agents.agent import Actions, Obs, ObservationReader, Setting, State
from orchestai_env.episodes import Episodes


class RandomAgent:
    """Picks an allowed worker uniformly."""

    def __init__(self, seed: int) -> None:
        """Seeds the picks."""
        self._seed = seed
        self._rng = np.random.default_rng(seed)

    def attach(self, episodes: Episodes) -> None:
        """Starts its picks anew, so that an evaluation does not depend on earlier ones."""
        self._rng = np.random.default_rng(self._seed)

    def predict(
        self,
        observation: Obs,
        state: State = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Actions, State]:
        """Returns int64 (m,) workers; see Agent."""
        allowed = ObservationReader.allowed(observation)
        return np.where(allowed, self._rng.random(allowed.shape), -1.0).argmax(axis=1), state


class LowestFeatureAgent:
    """Picks the allowed worker with the lowest value of one worker feature: price or latency."""

    def __init__(self, setting: Setting, feature: str) -> None:
        """Names the feature, see orchestai_env.observation.WORKER_FEATURES."""
        self._read = ObservationReader(setting.dataset, setting.rules.max_attempts)
        self._feature = feature

    def predict(
        self,
        observation: Obs,
        state: State = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Actions, State]:
        """Returns int64 (m,) workers; see Agent."""
        values = self._read.worker_feature(observation, self._feature)
        return np.where(self._read.allowed(observation), values, np.inf).argmin(axis=1), state


class RoundRobinAgent:
    """Gives the calls of an episode to the workers in turn; a masked one is passed over."""

    def __init__(self, setting: Setting) -> None:
        """Prepares to count calls."""
        self._read = ObservationReader(setting.dataset, setting.rules.max_attempts)

    def predict(
        self,
        observation: Obs,
        state: State = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Actions, State]:
        """Returns int64 (m,) workers; see Agent."""
        allowed = self._read.allowed(observation)
        count = allowed.shape[1]
        turn = (np.arange(count) - self._read.calls(observation)[:, None]) % count
        return np.where(allowed, turn, count).argmin(axis=1), state
