"""What phase 2 logs beside SB3's own curves: outcomes of training episodes, and hyperparameters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import HParam

from orchestai_env.reward import REWARD_TERMS

_METRICS = ("eval/mean_reward", "eval/success_rate", "eval/cost_usd", "eval/latency_s")


class EpisodeScalars(BaseCallback):
    """Logs the means of the episodes that ended in a roll-out, under `rollout/`.

    cost_usd [USD], makespan_s [s], masked_actions (replaced by the environment, per episode) and
    reward_success, reward_cost, reward_latency, reward_shaping, whose sum is the return.
    """

    def __init__(self) -> None:
        """Starts with no episode."""
        super().__init__()
        self._values: dict[str, list[float]] = defaultdict(list)

    def _on_step(self) -> bool:
        for r in np.flatnonzero(self.locals["dones"]):
            info = self.locals["infos"][r]
            self._values["cost_usd"].append(info["total_cost"])
            self._values["makespan_s"].append(info["total_latency_ms"] / 1000.0)
            self._values["masked_actions"].append(info["masked_actions"])
            for name, value in zip(REWARD_TERMS, info["reward_terms"], strict=True):
                self._values[f"reward_{name}"].append(value)
        return True

    def _on_rollout_end(self) -> None:
        for name, values in self._values.items():
            self.logger.record_mean(f"rollout/{name}", float(np.mean(values)))
        self._values.clear()


class HyperParameters(BaseCallback):
    """Puts the settings of a run into TensorBoard's `hparams`, beside its evaluations."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Takes the settings by name; what is neither number, bool nor text is written as text."""
        super().__init__()
        self._settings = {
            name: value if isinstance(value, (bool, int, float, str)) else str(value)
            for name, value in settings.items()
        }

    def _on_training_start(self) -> None:
        hparam = HParam(self._settings, dict.fromkeys(_METRICS, 0.0))
        self.logger.record("hparams", hparam, exclude=("stdout", "log", "json", "csv"))
        self.logger.record("run/device", str(self.model.device))

    def _on_step(self) -> bool:
        return True
