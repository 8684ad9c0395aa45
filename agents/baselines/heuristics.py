"""Heuristics: a formula over what the observation tells of each worker."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agents.agent import Actions, Obs, ObservationReader, Setting, State


class CriticalPathAgent:
    """Hurries on the critical path and saves money off it, in the manner of HEFT.

    It picks the worker whose call is expected to earn most, where only the time beyond the
    subtask's slack is charged for: all of it on the critical path, none where the subtask can
    wait. A worker without a free slot is expected to take one call longer. Workers that have
    failed on the subtask are passed over. The order of subtasks is the environment's own, so of
    HEFT the choice of the processor is left.

    Source: H. Topcuoglu, S. Hariri and M.-Y. Wu, "Performance-effective and low-complexity task
        scheduling for heterogeneous computing", IEEE Transactions on Parallel and Distributed
        Systems 13 (2002).
    """

    def __init__(self, setting: Setting, *, success_share: float = 1.0) -> None:
        """Prepares to read observations; for the share see ObservationReader.call_value."""
        self._success_share = success_share
        self._read = ObservationReader(setting.dataset, setting.rules.max_attempts)

    def predict(
        self,
        observation: Obs,
        state: State = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Actions, State]:
        """Returns int64 (m,) workers; see Agent."""
        read = self._read
        latency_ms = read.latency_ms(observation)
        is_full = read.worker_feature(observation, "free_slots") <= 0.0
        finish_ms = np.where(is_full, 2.0, 1.0) * latency_ms
        late_ms = np.maximum(0.0, finish_ms - read.slack_ms(observation)[:, None])
        success = read.worker_feature(observation, "predicted_success")
        value = read.call_value(observation, success, late_ms, success_share=self._success_share)
        return read.best_fresh(observation, value), state
