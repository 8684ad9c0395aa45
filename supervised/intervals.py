"""Means over seeds with bootstrap intervals over what is drawn and seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

REPLICATES = 1000
"""Bootstrap draws of an interval."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean over seeds with its bootstrap interval over what was drawn and seeds."""

    mean: float
    low: float
    """2.5 % quantile."""
    high: float
    """97.5 % quantile."""


def bootstrap(
    figure: Callable[[npt.NDArray[np.int64], int], float], num_rows: int, num_seeds: int
) -> Interval:
    """Returns a figure's mean over seeds, and its interval over rows and seeds.

    Args:
        figure: (rows, such as queries; seed) -> value.
        num_rows: n; a draw takes n of them with replacement, and one seed.
        num_seeds: number of seeds.
    """
    rng = np.random.default_rng(0)
    draws = [
        figure(rng.integers(num_rows, size=num_rows), int(rng.integers(num_seeds)))
        for _ in range(REPLICATES)
    ]
    low, high = np.quantile(draws, (0.025, 0.975))
    mean = np.mean([figure(np.arange(num_rows), seed) for seed in range(num_seeds)])
    return Interval(mean=float(mean), low=float(low), high=float(high))


def mean_intervals(values: FloatArray) -> list[Interval]:
    """Returns means over seeds and rows, with bootstrap intervals over both together.

    A draw takes as many rows as there are, with replacement, and one of the seeds, so that the
    interval is that of a planner trained once. Equally many rows get equal draws of them.

    Args:
        values: float64 (S, R, F), R >= 1.
    Returns:
        One interval for each of the F figures.
    """
    num_seeds, num_rows, _ = values.shape
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(num_rows, np.full(num_rows, 1 / num_rows), REPLICATES)
    seed_of = rng.integers(num_seeds, size=REPLICATES)
    sums = np.einsum("dr,srf->dsf", drawn.astype(np.float64), values, optimize=True)
    draws = sums[np.arange(REPLICATES), seed_of] / num_rows
    low, high = np.quantile(draws, (0.025, 0.975), axis=0)
    return [
        Interval(mean=float(m), low=float(a), high=float(b))
        for m, a, b in zip(values.mean(axis=(0, 1)), low, high, strict=True)
    ]
