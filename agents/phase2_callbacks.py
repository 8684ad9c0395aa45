"""Callbacks of phase 2: evaluation on validation queries, checkpoints, and the end by episodes."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from agents.agent import Setting
from agents.checkpoint import write_whole
from agents.evaluate import evaluate

BEST, LAST, CURVE = "phase2_best.zip", "phase2_last.zip", "curve.csv"
"""Files of a phase-2 run folder."""
CURVE_COLUMNS = (
    "step",
    "validation_return",
    "train_return",
    "success_rate",
    "cost_usd",
    "latency_s",
)


class ValidationCallback(BaseCallback):
    """Evaluates at fixed intervals, logs to TensorBoard and curve.csv, keeps best and last."""

    def __init__(
        self,
        validation: Setting,
        train: Setting,
        *,
        output_dir: Path,
        every: int,
        seed: int,
        resume: bool,
    ) -> None:
        """Sets what to evaluate on, and how often [steps over all environments]."""
        super().__init__()
        self._validation, self._train = validation, train
        self._dir, self._every, self._seed = output_dir, every, seed
        self._next = 0
        self.best: dict[str, Any] = {"step": 0, "validation_return": float("-inf")}
        if resume:
            self._read_curve()
        else:
            with (output_dir / CURVE).open("w", newline="") as file:
                csv.writer(file).writerow(CURVE_COLUMNS)

    def _read_curve(self) -> None:
        """Takes up where the curve of the resumed run ends."""
        with (self._dir / CURVE).open(newline="") as file:
            rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
        if rows:
            best = max(rows, key=lambda row: row["validation_return"])
            self.best = best | {"step": int(best["step"])}
            self._next = int(rows[-1]["step"]) + self._every

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        """Evaluates between roll-outs, where the policy is whole."""
        if self.num_timesteps >= self._next:
            self._next = self.num_timesteps + self._every
            self._evaluate()

    def _on_training_end(self) -> None:
        self._evaluate()

    def _evaluate(self) -> None:
        found = evaluate(self.model.policy, self._validation, seed=self._seed).summary()
        train = evaluate(self.model.policy, self._train, seed=self._seed).summary()
        row = {
            "step": self.model.num_timesteps,
            "validation_return": found["return_mean"],
            "train_return": train["return_mean"],
            "success_rate": found["success_rate"],
            "cost_usd": found["cost_usd"],
            "latency_s": found["latency_s"],
        }
        with (self._dir / CURVE).open("a", newline="") as file:
            csv.DictWriter(file, CURVE_COLUMNS).writerow(row)
        for name, value in row.items():
            if name != "step":
                self.logger.record(f"eval/{name}", value)
        self.logger.dump(self.model.num_timesteps)
        if row["validation_return"] > self.best["validation_return"]:
            self.best = row
            write_whole(self._dir / BEST, self.model.save)
        write_whole(self._dir / LAST, self.model.save)


class StopAfterEpisodes(BaseCallback):
    """Ends training after so many episodes, counted over all environments; None = never.

    The roll-out that reaches the number is finished and learned from. The count is saved with the
    model, so a resumed run goes on with it.
    """

    def __init__(self, episodes: int | None) -> None:
        """Sets the number of episodes."""
        super().__init__()
        self._episodes = episodes
        self._is_done = False

    def _on_rollout_start(self) -> None:
        self._is_done = self._episodes is not None and self.model._episode_num >= self._episodes

    def _on_step(self) -> bool:
        if self._is_done:
            self.model.num_timesteps -= self.training_env.num_envs  # a step not learned from
            return False
        self.model._episode_num += int(self.locals["dones"].sum())
        return True
