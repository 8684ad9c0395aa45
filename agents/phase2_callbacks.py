"""Callbacks of phase 2: evaluation on validation queries, checkpoints, and when training ends."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Figure
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from agents.agent import Setting
from agents.anchored_ppo import LossError
from agents.checkpoint import write_whole
from agents.evaluate import evaluate
from agents.picks import pick_figure
from agents.sb3_agent import policy_agent

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
OnEvaluation = Callable[[Mapping[str, float]], None]
"""Told the row of an evaluation, by CURVE_COLUMNS."""
_NOT_ON_TERMINAL = ("stdout", "log", "json", "csv")


class ValidationCallback(BaseCallback):
    """Evaluates at fixed intervals, logs to TensorBoard and curve.csv, keeps best and last.

    It takes the place of SB3's EvalCallback and logs under its names too (`eval/mean_reward`,
    `eval/mean_ep_length`, `eval/success_rate`). EvalCallback plays a number of episodes of whatever
    workflows come; this one plays each validation workflow once, on episodes of its own, with the
    same random outcomes each time, so that checkpoints differ by what they do and not by luck. It
    plays training workflows as well, to show how much is memorised.
    """

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
        self._last_step = -1
        self.best: dict[str, Any] = {"step": 0, "validation_return": float("-inf")}
        self.num_without_gain = 0
        """Evaluations since the best one."""
        self.on_evaluation: OnEvaluation | None = None
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
            self.num_without_gain = len(rows) - 1 - rows.index(best)
            self._last_step = int(rows[-1]["step"])
            self._next = self._last_step + self._every

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        """Evaluates between roll-outs, where the policy is whole."""
        if self.num_timesteps >= self._next:
            self._next = self.num_timesteps + self._every
            self._evaluate()

    def _on_training_end(self) -> None:
        if self.model.num_timesteps != self._last_step:
            self._evaluate()

    def _evaluate(self) -> None:
        self._last_step = self.model.num_timesteps
        agent = policy_agent(self.model.policy)
        outcomes = evaluate(agent, self._validation, seed=self._seed)
        found = outcomes.summary()
        train = evaluate(agent, self._train, seed=self._seed).summary()
        row = {
            "step": self._last_step,
            "validation_return": found["return_mean"],
            "train_return": train["return_mean"],
            "success_rate": found["success_rate"],
            "cost_usd": found["cost_usd"],
            "latency_s": found["latency_s"],
        }
        self._keep(row)
        names = {name: value for name, value in row.items() if name != "step"}
        names |= {"mean_reward": found["return_mean"], "mean_ep_length": found["calls"]}
        for name, value in names.items():
            self.logger.record(f"eval/{name}", value)
        dataset = self._validation.dataset
        picks = pick_figure(outcomes.picks.sum(axis=1), dataset.task_types, dataset.pool.names)
        self.logger.record("eval/picks", Figure(picks, close=True), exclude=_NOT_ON_TERMINAL)
        self.logger.dump(self._last_step)
        if self.on_evaluation is not None:
            self.on_evaluation(row)

    def _keep(self, row: dict[str, Any]) -> None:
        """Writes the checkpoints, then the row.

        In this order a run that ends in between, on a full disk for instance, evaluates its last
        checkpoint again when it is resumed, and the best one is always that of the curve.
        """
        write_whole(self._dir / LAST, self.model.save)
        if row["validation_return"] > self.best["validation_return"]:
            write_whole(self._dir / BEST, self.model.save)
            self.best, self.num_without_gain = row, 0
        else:
            self.num_without_gain += 1
        with (self._dir / CURVE).open("a", newline="") as file:
            csv.DictWriter(file, CURVE_COLUMNS).writerow(row)


class StopCallback(BaseCallback):
    """Ends training after so many episodes, or evaluations without a better one; None = never.

    The roll-out that reaches the number of episodes, counted over all environments, is finished and
    learned from. The count is saved with the model, so a resumed run goes on with it.
    """

    def __init__(
        self, validation: ValidationCallback, *, num_episodes: int | None, patience: int | None
    ) -> None:
        """Sets the limits; the evaluations of `validation` come before this callback."""
        super().__init__()
        self._validation = validation
        self._num_episodes, self._patience = num_episodes, patience
        self._is_done = False
        self._learned: tuple[int, int] | None = None

    def _on_rollout_start(self) -> None:
        episodes, waited = self.model._episode_num, self._validation.num_without_gain
        self._learned = (self.model.num_timesteps, episodes)
        self._is_done = (self._num_episodes is not None and episodes >= self._num_episodes) or (
            self._patience is not None and waited >= self._patience
        )

    def _on_step(self) -> bool:
        if self._is_done:
            self.model.num_timesteps -= self.training_env.num_envs  # a step not learned from
            return False
        if isinstance(self.model, OnPolicyAlgorithm):  # the others count for themselves
            self.model._episode_num += int(self.locals["dones"].sum())
        return True

    def forget_rollout(self) -> None:
        """Sets the counts of the model back to the last roll-out that was learned from whole."""
        if self._learned is not None:
            self.model.num_timesteps, self.model._episode_num = self._learned


class FiniteLosses(BaseCallback):
    """Ends training where a loss is not finite, before that model is evaluated or saved."""

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        """Reads what the algorithm logged of its last update.

        Raises:
            LossError: one of its losses is not finite.
        """
        for name, value in self.logger.name_to_value.items():
            if name.startswith("train/") and "loss" in name and not math.isfinite(value):
                raise LossError(
                    f"phase 2: {name} is {value} at step {self.model.num_timesteps}; lower "
                    "learning_rate, set normalize_reward, or look for such numbers in the data; "
                    "the checkpoints of the run folder are from before"
                )

    def _on_training_end(self) -> None:
        self._on_rollout_start()
