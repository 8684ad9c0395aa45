"""What an agent is: anything with Stable-Baselines3's `predict`; and how to read an observation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from orchestai_env.dataset import Dataset
from orchestai_env.features import build_features
from orchestai_env.observation import CONTEXT_FEATURES, WORKER_FEATURES, subtask_features
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


WEIGHT_SCALES = {
    "success_weight": 10.0,
    "cost_weight": 100.0,
    "latency_weight": 1e-3,
    "shaping_weight": 1.0,
}
"""Columns of `context` that hold the reward weights, and where each is 0.5; see
orchestai_env/feature_columns.py."""
_MOST = 1.0 - 2.0**-24
"""The largest float32 below 1."""


class ObservationReader:
    """Reads columns of batched observations by their names, and what is derived from them."""

    def __init__(self, dataset: Dataset, max_attempts: int) -> None:
        """Looks the columns up."""
        names = subtask_features(dataset.task_types)
        self._types = slice(1, 1 + len(dataset.task_types))
        self._subtask = {name: index for index, name in enumerate(names)}
        self._worker = {name: index for index, name in enumerate(WORKER_FEATURES)}
        self._weights = [CONTEXT_FEATURES.index(name) for name in WEIGHT_SCALES]
        self._max_attempts = max_attempts
        self._cost_scale, time_scale_us = build_features(dataset).scale
        self._time_scale_ms = time_scale_us / 1000.0

    def current(self, observation: Obs) -> npt.NDArray[np.float32]:
        """Returns float32 (m, Fs): the row of the current subtask."""
        subtasks = observation["subtasks"]
        here = subtasks[:, :, self._subtask["is_current"]].argmax(axis=1)
        row: npt.NDArray[np.float32] = subtasks[np.arange(len(subtasks)), here]
        return row

    def task_type(self, observation: Obs) -> npt.NDArray[np.int64]:
        """Returns int64 (m,): task type of the current subtask."""
        task_type: npt.NDArray[np.int64] = self.current(observation)[:, self._types].argmax(axis=1)
        return task_type

    def attempt(self, observation: Obs) -> npt.NDArray[np.int64]:
        """Returns int64 (m,): failed calls of the current subtask so far."""
        attempts = self.current(observation)[:, self._subtask["attempts"]] * self._max_attempts
        return np.rint(attempts).astype(np.int64)

    def calls(self, observation: Obs) -> npt.NDArray[np.int64]:
        """Returns int64 (m,): calls that the episode has asked for so far."""
        subtasks = observation["subtasks"]
        ended = np.rint(subtasks[:, :, self._subtask["attempts"]] * self._max_attempts)
        running = subtasks[:, :, self._subtask["status_running"]]
        return np.asarray((ended + running).sum(axis=1), np.int64)

    def slack_ms(self, observation: Obs) -> npt.NDArray[np.float64]:
        """Returns float64 (m,) [ms]: slack of the current subtask; 0 on the critical path."""
        slack = self.current(observation)[:, self._subtask["slack"]]
        return unsquash(slack, self._time_scale_ms)

    def weights(self, observation: Obs) -> npt.NDArray[np.float64]:
        """Returns float64 (m, 4): reward weights of the episode, as RewardWeights.as_array."""
        squashed = observation["context"][:, self._weights]
        return unsquash(squashed, np.array(list(WEIGHT_SCALES.values())))

    def worker_feature(self, observation: Obs, name: str) -> npt.NDArray[np.float32]:
        """Returns float32 (m, W): one column of `workers`."""
        column: npt.NDArray[np.float32] = observation["workers"][:, :, self._worker[name]]
        return column

    def cost_usd(self, observation: Obs) -> npt.NDArray[np.float64]:
        """Returns float64 (m, W) [USD]: mean cost of a call, at the prices of the episode."""
        return unsquash(self.worker_feature(observation, "price"), self._cost_scale)

    def latency_ms(self, observation: Obs) -> npt.NDArray[np.float64]:
        """Returns float64 (m, W) [ms]: mean latency of a call."""
        latency = self.worker_feature(observation, "expected_latency")
        return unsquash(latency, self._time_scale_ms)

    def call_value(
        self,
        observation: Obs,
        success: npt.NDArray[np.floating[Any]],
        latency_ms: npt.NDArray[np.float64] | None = None,
        *,
        success_share: float = 1.0,
    ) -> npt.NDArray[np.float64]:
        """Returns what each call is expected to earn, as if success paid at once.

        Args:
            observation: m rows.
            success: (m, W), 0..1; chance of each call.
            latency_ms: float64 (m, W) [ms]; what each is charged for, its mean latency where None.
            success_share: 0..1; how much of the workflow's success the call's is counted as.
        Returns:
            float64 (m, W) [reward].
        """
        weights = self.weights(observation)[:, :, None]
        latency_ms = self.latency_ms(observation) if latency_ms is None else latency_ms
        value: npt.NDArray[np.float64] = (
            (success_share * weights[:, 0] + weights[:, 3]) * success
            - weights[:, 1] * self.cost_usd(observation)
            - weights[:, 2] * latency_ms
        )
        return value

    def fresh(self, observation: Obs) -> npt.NDArray[np.bool_]:
        """Returns bool (m, W): allowed workers that have not failed on the current subtask.

        Where all of them have, all allowed ones.
        """
        allowed = self.allowed(observation)
        fresh = allowed & (self.worker_feature(observation, "failed") == 0)
        chosen: npt.NDArray[np.bool_] = np.where(fresh.any(axis=1, keepdims=True), fresh, allowed)
        return chosen

    def best_fresh(
        self, observation: Obs, value: npt.NDArray[np.floating[Any]]
    ) -> npt.NDArray[np.int64]:
        """Returns int64 (m,): the worker of `fresh` with the highest value (m, W)."""
        best: npt.NDArray[np.int64] = np.where(self.fresh(observation), value, -np.inf).argmax(1)
        return best

    @staticmethod
    def allowed(observation: Obs) -> npt.NDArray[np.bool_]:
        """Returns bool (m, W): the action mask."""
        mask: npt.NDArray[np.bool_] = observation["action_mask"] > 0
        return mask


def unsquash(
    x: npt.NDArray[np.float32], scale: float | npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Returns what `orchestai_env.features.squash` mapped to x, within 1e-5 (relative)."""
    share = np.minimum(x.astype(np.float64), _MOST)
    return np.asarray(scale * share / (1.0 - share))
