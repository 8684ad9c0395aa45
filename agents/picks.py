"""Picks: who is called for which task type in training, and an alarm when that collapses."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from stable_baselines3.common.callbacks import BaseCallback

from agents.vec_env import OrchestAIVecEnv
from orchestai_env.dataset import Dataset

_LOG = logging.getLogger(__name__)
_FEWEST_CALLS = 100
"""Calls of a task type below which its shares are not judged."""
_CALLS_OF_A_REPORT = 1000
"""Calls that are gathered before shares are reported; an on-policy roll-out has about as many."""


def pick_shares(picks: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Returns float64 (T, W): shares of the workers in each task type's calls; 0 without calls."""
    calls = picks.sum(axis=1, keepdims=True)
    shares: npt.NDArray[np.float64] = picks / np.maximum(calls, 1)
    return shares


def entropies(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns float64 (T,) [nats]: entropy of each row of shares."""
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    entropy: npt.NDArray[np.float64] = -(shares * logs).sum(axis=1)
    return entropy


def pick_figure(
    picks: npt.NDArray[np.int64], task_types: Sequence[str], workers: Sequence[str]
) -> Figure:
    """Draws the shares of the workers in each task type's calls as a heat map.

    Args:
        picks: int64 (T, W); calls.
        task_types: names of the rows.
        workers: names of the columns.
    """
    shares = pick_shares(picks)
    figure = Figure(figsize=(2.5 + 0.6 * len(workers), 1.8 + 0.35 * len(task_types)))
    axes = figure.subplots()
    image = axes.imshow(shares, vmin=0.0, vmax=1.0, cmap="Blues", aspect="auto")
    axes.set_xticks(range(len(workers)), workers, rotation=45, ha="right")
    axes.set_yticks(range(len(task_types)), task_types)
    for t, w in zip(*np.nonzero(shares >= 0.01), strict=True):
        colour = "white" if shares[t, w] > 0.6 else "black"
        axes.text(w, t, f"{shares[t, w]:.0%}", ha="center", va="center", color=colour, fontsize=7)
    figure.colorbar(image, label="share of the calls")
    figure.tight_layout()
    return figure


class PickMonitor(BaseCallback):
    """Logs who is called in roll-outs, and warns where a task type has one worker left.

    It counts decisions that had a choice. TensorBoard gets `rollout/picks/<task type>/<worker>`
    (shares), `picks/entropy/<task type>` [nats] and `picks/largest_share/<task type>`. A policy
    that explores no more learns no more: the warning comes once, and again after a recovery.
    """

    def __init__(self, dataset: Dataset, collapse_share: float) -> None:
        """Sets the names, and the share, 0..1, above which the alarm is raised."""
        super().__init__()
        self._task_types, self._workers = dataset.task_types, dataset.pool.names
        self._limit = collapse_share
        self._picks = np.zeros((len(self._task_types), len(self._workers)), np.int64)
        self._collapsed: set[str] = set()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        env: Any = self.training_env.unwrapped
        assert isinstance(env, OrchestAIVecEnv)
        self._picks += env.take_picks()
        if self._picks.sum() >= _CALLS_OF_A_REPORT:
            self._report()
            self._picks[:] = 0

    def _report(self) -> None:
        shares = pick_shares(self._picks)
        entropy, calls = entropies(shares), self._picks.sum(axis=1)
        for t in np.flatnonzero(calls):
            name = self._task_types[t]
            self.logger.record(f"picks/entropy/{name}", entropy[t])
            self.logger.record(f"picks/largest_share/{name}", shares[t].max())
            for w, worker in enumerate(self._workers):
                self.logger.record(f"rollout/picks/{name}/{worker}", shares[t, w])
            if calls[t] >= _FEWEST_CALLS:
                self._check(name, shares[t], int(calls[t]))

    def _check(self, task_type: str, shares: npt.NDArray[np.float64], calls: int) -> None:
        if shares.max() <= self._limit:
            self._collapsed.discard(task_type)
        elif task_type not in self._collapsed:
            self._collapsed.add(task_type)
            _LOG.warning(
                "step %d: picks for task type %r have collapsed: %.1f %% of %d calls with a choice "
                "go to %r (alarm above %.1f %%); if it is not by far the best there, raise "
                "ent_coef or entropy_floor, or lower learning_rate",
                self.model.num_timesteps,
                task_type,
                100.0 * shares.max(),
                calls,
                self._workers[int(shares.argmax())],
                100.0 * self._limit,
            )
