"""Tables: the worker is looked up by task type, or by task type and attempt."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agents.agent import Actions, Obs, ObservationReader, Setting, State


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
