"""Fit: one network's training, epoch by epoch, with a schedule, early stopping and best weights."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from orchestai_env.errors import OrchestAIError

Losses = dict[str, float]
"""Named losses and metrics over some data; "total" is what training minimises."""
Weights = dict[str, Tensor]
"""A module's state_dict."""


class DivergenceError(OrchestAIError, FloatingPointError):
    """The loss of a training step is not finite."""


class Learner(Protocol):
    """A network, its optimizer and its data."""

    @property
    def module(self) -> torch.nn.Module:
        """The network; its state_dict is what checkpoints hold."""

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """What trains it."""

    def train_epoch(self, epoch: int) -> Losses:
        """Goes once through the training part.

        Args:
            epoch: 0, 1, ...; it and the learner's seed alone decide the order of the data. Torch's
                random numbers are seeded by Fit before the call.
        Raises:
            DivergenceError: the loss is not finite; the message names the batch.
        """

    def measure(self) -> Losses:
        """Measures the validation part under the same names, without training."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitSettings:
    """When training ends."""

    max_epochs: int
    """>= 1."""
    patience: int
    """>= 1; epochs without a better `monitor` before training stops. The learning rate is
    halved after half as many."""
    seed: int
    """Of torch's random numbers, such as dropout, anew in each epoch."""
    monitor: str = "total"
    """What has to fall on the validation part: it decides on the learning rate, the end of training
    and the best weights."""


@dataclasses.dataclass(frozen=True)
class Best:
    """The best weights so far, by the validation part."""

    epoch: int
    """Epochs that they were trained for."""
    losses: Losses
    """Of the validation part."""
    weights: Weights


class Fit:
    """Trains one learner; state_dict and load_state_dict make resuming exact, bit for bit."""

    def __init__(self, learner: Learner, settings: FitSettings) -> None:
        """Takes the learner as it is; nothing is trained yet."""
        self.learner = learner
        self.settings = settings
        self.epoch = 0
        """Finished epochs."""
        self.val_loss = math.inf
        """Validation total of the last epoch."""
        self.restart()

    def restart(self) -> None:
        """Forgets schedule, patience and best weights; the learner starts with what it has."""
        self._first_epoch, self._epochs_without_gain = self.epoch, 0
        self._best: Best | None = None
        self._schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.learner.optimizer, factor=0.5, patience=max(1, self.settings.patience // 2)
        )

    @property
    def best(self) -> Best:
        """The best weights; there are some after the first epoch."""
        assert self._best is not None, "no epoch was trained"
        return self._best

    @property
    def is_done(self) -> bool:
        """Tells whether all epochs are over or the validation loss has ceased to fall."""
        over = self.epoch - self._first_epoch >= self.settings.max_epochs
        return over or self._epochs_without_gain >= self.settings.patience

    def run_epoch(self) -> dict[str, Losses]:
        """Trains and measures one epoch.

        Returns:
            Losses under "train" (with the learning rate that was used) and "val".
        Raises:
            DivergenceError: a loss is not finite; the best weights stay as they were.
        """
        seed = np.random.default_rng([self.settings.seed, self.epoch]).integers(1 << 63)
        torch.manual_seed(int(seed))
        rate = float(self.learner.optimizer.param_groups[0]["lr"])
        train = self.learner.train_epoch(self.epoch) | {"learning_rate": rate}
        val = self.learner.measure()
        for side, losses in (("training", train), ("validation", val)):
            if not math.isfinite(losses["total"]):
                raise DivergenceError(
                    f"the {side} loss of epoch {self.epoch} is {losses['total']}; lower the "
                    "learning_rate, or look for such numbers in the data"
                )
        self._note(val)
        return {"train": train, "val": val}

    def _note(self, val: Losses) -> None:
        """Moves schedule, patience and best weights on by one epoch."""
        self.epoch += 1
        self.val_loss = val["total"]
        value = val[self.settings.monitor]
        self._schedule.step(value)
        if self._best is not None and value >= self._best.losses[self.settings.monitor]:
            self._epochs_without_gain += 1
            return
        self._epochs_without_gain = 0
        weights = {name: value.clone() for name, value in self.weights().items()}
        self._best = Best(self.epoch, val, weights)

    def weights(self) -> Weights:
        """Returns the weights of the last epoch; they change when training goes on."""
        return dict(self.learner.module.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Returns all that `load_state_dict` needs, as plain values and tensors.

        There has to be a finished epoch.
        """
        return {
            "weights": self.weights(),
            "optimizer": self.learner.optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "epoch": self.epoch,
            "val_loss": self.val_loss,
            "first_epoch": self._first_epoch,
            "epochs_without_gain": self._epochs_without_gain,
            "best": {
                "epoch": self.best.epoch,
                "losses": self.best.losses,
                "weights": self.best.weights,
            },
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes training up where `state_dict` left it.

        Raises:
            RuntimeError: the weights are those of another network (torch's own error).
        """
        self.learner.module.load_state_dict(state["weights"])
        self.learner.optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self.epoch, self.val_loss = state["epoch"], state["val_loss"]
        self._first_epoch = state["first_epoch"]
        self._epochs_without_gain = state["epochs_without_gain"]
        self._best = Best(**state["best"])
