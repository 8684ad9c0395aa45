"""Baselines: rules and tables that pick a worker without a network."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agents.agent import Actions, Obs, ObservationReader, Setting, State
from orchestai_env.episodes import Episodes
from orchestai_env.oracle import hindsight_utility, peek


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


class TableAgent:
    """Looks the worker up by task type and attempt (failed calls of the subtask so far).

    A cell that is masked, or whose worker has failed on this subtask already, falls to the next
    attempt's worker, and past the last column to the cheapest allowed worker.
    """

    def __init__(self, setting: Setting, table: npt.NDArray[np.int64]) -> None:
        """Takes int64 (T, A): worker per task type and attempt, A = max_attempts."""
        self._read = ObservationReader(setting.dataset, setting.rules.max_attempts)
        self.table = table

    def predict(
        self,
        observation: Obs,
        state: State = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Actions, State]:
        """Returns int64 (m,) workers; see Agent."""
        allowed = self._read.allowed(observation)
        fresh = allowed & (self._read.worker_feature(observation, "failed") == 0)
        price = self._read.worker_feature(observation, "price")
        choice = np.where(allowed, price, np.inf).argmin(axis=1)
        task_type, attempt = self._read.task_type(observation), self._read.attempt(observation)
        rows = np.arange(len(choice))
        for column in reversed(range(self.table.shape[1])):
            worker = self.table[task_type, column]
            usable = (column >= attempt) & fresh[rows, worker]
            choice = np.where(usable, worker, choice)
        return choice, state


class FixedTableAgent:
    """Looks the worker up by task type alone, and retries the same one; cheapest where masked."""

    def __init__(self, setting: Setting, worker_of_type: npt.NDArray[np.int64]) -> None:
        """Takes int64 (T,): worker per task type."""
        self._read = ObservationReader(setting.dataset, setting.rules.max_attempts)
        self.worker_of_type = worker_of_type

    def predict(
        self,
        observation: Obs,
        state: State = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Actions, State]:
        """Returns int64 (m,) workers; see Agent."""
        allowed = self._read.allowed(observation)
        price = self._read.worker_feature(observation, "price")
        cheapest = np.where(allowed, price, np.inf).argmin(axis=1)
        worker = self.worker_of_type[self._read.task_type(observation)]
        return np.where(allowed[np.arange(len(worker)), worker], worker, cheapest), state


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
