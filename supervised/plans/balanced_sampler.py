"""BalancedSampler: workflows drawn so that every task type is met about as often."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from supervised.plans.dataset import WorkflowDataset

_MOST_ROUNDS = 200
_CLOSE_ENOUGH = 0.01
"""Scaling stops when every type's share is within 1 % of the equal share."""


class BalancedSampler(Sampler[int]):
    """Draws as many rows as there are, so that each task type has about the same share of subtasks.

    The order is a function of seed and epoch alone, so that a run cut in two equals one run: call
    `set_epoch` before each epoch. Rows of common types are left out of some epochs and rows of rare
    ones come several times. With one type throughout every row comes once. Types that only occur
    together cannot be told apart, and get the nearest to equal shares that is possible.
    """

    def __init__(self, dataset: WorkflowDataset, *, seed: int) -> None:
        """Computes the odds of each row.

        Args:
            dataset: R workflows.
            seed: of the order, >= 0.
        """
        self._cumulative = np.cumsum(balanced_odds(*_subtasks(dataset)))
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch, >= 0, whose order comes next."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Returns the number of draws in an epoch."""
        return len(self._cumulative)

    def __iter__(self) -> Iterator[int]:
        """Yields rows; a row of probability p comes floor(R p) or ceil(R p) times."""
        rng = np.random.default_rng([self._seed, self._epoch])
        # One point for all, in R equal steps (systematic sampling): independent draws would leave
        # out a third of the rows even where all types are equally common.
        points = (np.arange(len(self)) + rng.random()) / len(self) * self._cumulative[-1]
        yield from rng.permutation(np.searchsorted(self._cumulative, points)).tolist()


def balanced_odds(
    row: npt.NDArray[np.int64], task_type: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Returns the probability of each row under which all types have the same expected count.

    Of all such distributions it is the one that changes the shares of rows the least, found by
    generalized iterative scaling. Where there is none, it is one whose shares are closer to equal.

    Args:
        row: int64 (S,), each of 0..R-1 at least once; row that each subtask belongs to.
        task_type: int64 (S,), >= 0; type of each subtask.
    Returns:
        float64 (R,), > 0, sums to 1.
    Source: J. Darroch, D. Ratcliff, Generalized iterative scaling for log-linear models, 1972.
    """
    found, kind = np.unique(task_type, return_inverse=True)
    lengths = np.bincount(row).astype(np.float64)
    mass = lengths / lengths.sum()
    for _ in range(_MOST_ROUNDS):
        shares = np.bincount(kind, weights=(mass / lengths)[row]) * len(found)
        if np.abs(shares - 1.0).max() < _CLOSE_ENOUGH:
            break
        mass *= np.exp(-np.bincount(row, weights=np.log(shares)[kind]) / lengths)
        mass /= mass.sum()
    odds: npt.NDArray[np.float64] = mass / lengths
    odds /= odds.sum()
    return odds


def _subtasks(dataset: WorkflowDataset) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    types = [dataset[row].task_types.numpy() for row in range(len(dataset))]
    return np.repeat(np.arange(len(types)), [len(part) for part in types]), np.concatenate(types)
