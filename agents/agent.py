"""What an agent is: anything with Stable-Baselines3's `predict`; and how to read an observation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from orchestai_env.dataset import Dataset
from orchestai_env.observation import WORKER_FEATURES, subtask_features
from orchestai_env.reward import RewardWeights
from orchestai_env.rules import EpisodeRules

Obs = Mapping[str, npt.NDArray[Any]]
Actions = npt.NDArray[np.int64]
State = tuple[npt.NDArray[Any], ...] | None


class Agent(Protocol):
    """Picks a worker for each of m observations."""

    def predict(
        self,
        observation: Any,  # an Obs; SB3 states a dict
        state: State = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[npt.NDArray[Any], State]:
        """Returns int64 (m,) workers and the next recurrent state."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """One decision problem: the data, the rules of an episode and what is rewarded."""

    dataset: Dataset
    rules: EpisodeRules
    weights: RewardWeights


class ObservationReader:
    """Reads columns of batched observations by their names."""

    def __init__(self, dataset: Dataset, max_attempts: int) -> None:
        """Looks the columns up."""
        names = subtask_features(dataset.task_types)
        self._types = slice(1, 1 + len(dataset.task_types))
        self._attempts = names.index("attempts")
        self._is_current = names.index("is_current")
        self._worker = {name: index for index, name in enumerate(WORKER_FEATURES)}
        self._max_attempts = max_attempts

    def current(self, observation: Obs) -> npt.NDArray[np.float32]:
        """Returns float32 (m, Fs): the row of the current subtask."""
        subtasks = observation["subtasks"]
        here = subtasks[:, :, self._is_current].argmax(axis=1)
        row: npt.NDArray[np.float32] = subtasks[np.arange(len(subtasks)), here]
        return row

    def task_type(self, observation: Obs) -> npt.NDArray[np.int64]:
        """Returns int64 (m,): task type of the current subtask."""
        task_type: npt.NDArray[np.int64] = self.current(observation)[:, self._types].argmax(axis=1)
        return task_type

    def attempt(self, observation: Obs) -> npt.NDArray[np.int64]:
        """Returns int64 (m,): failed calls of the current subtask so far."""
        attempts = self.current(observation)[:, self._attempts] * self._max_attempts
        return np.rint(attempts).astype(np.int64)

    def worker_feature(self, observation: Obs, name: str) -> npt.NDArray[np.float32]:
        """Returns float32 (m, W): one column of `workers`."""
        column: npt.NDArray[np.float32] = observation["workers"][:, :, self._worker[name]]
        return column

    @staticmethod
    def allowed(observation: Obs) -> npt.NDArray[np.bool_]:
        """Returns bool (m, W): the action mask."""
        mask: npt.NDArray[np.bool_] = observation["action_mask"] > 0
        return mask
