"""Statistics of a comparison, as pure functions of arrays.

The measures over runs are those of Agarwal et al., Deep Reinforcement Learning at the Edge of the
Statistical Precipice, NeurIPS 2021 (package rliable), for one task; a run is a seed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import trim_mean

FloatArray = npt.NDArray[np.float64]
Interval = tuple[float, float]


def interquartile_mean(returns: FloatArray) -> FloatArray:
    """Returns the mean of the middle half of the runs: a quarter is cut off at either end.

    Of n runs the lowest and the highest int(n / 4) are left out, so with 5 seeds 3 count.

    Args:
        returns: float64 (..., runs).
    Returns:
        float64 (...).
    Source: rliable, metrics.aggregate_iqm: scipy.stats.trim_mean(x, 0.25).
    """
    return np.asarray(trim_mean(returns, 0.25, axis=-1), np.float64)


def probability_of_improvement(x: FloatArray, y: FloatArray) -> FloatArray:
    """Returns how often a run of X is better than a run of Y, over all pairs; a tie counts half.

    Args:
        x: float64 (..., runs of X).
        y: float64 (..., runs of Y), with the same leading axes.
    Returns:
        float64 (...), 0..1.
    Source: rliable, metrics.probability_of_improvement (Mann-Whitney U / number of pairs).
    """
    difference = x[..., :, None] - y[..., None, :]
    wins = (difference > 0) + 0.5 * (difference == 0)
    return np.asarray(wins.mean(axis=(-1, -2)), np.float64)


def gap_closed(agent: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """Returns the share (agent - low) / (high - low) of the gap that an agent closes.

    Args:
        agent: float64 (...), mean returns.
        low: those of the reference, where the share is 0.
        high: those of the bound, where it is 1.
    Returns:
        float64 (...); NaN where the bound is not above the reference, so that there is no gap.
    """
    gap = np.asarray(high - low, np.float64)
    share = np.full(np.broadcast(agent, gap).shape, np.nan)
    np.divide(agent - low, gap, out=share, where=gap > 0)
    return share


def bootstrap_interval(values: FloatArray) -> Interval | None:
    """Returns the 95 % percentile interval over replicates; None where one of them has no value.

    Args:
        values: float64 (replicates,).
    """
    if not np.isfinite(values).all():
        return None
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def bootstrap_p(differences: FloatArray) -> float:
    """Returns a two-sided bootstrap p value of the hypothesis that a difference is 0.

    Twice the smaller of the shares of replicates at or below 0 and at or above 0, at most 1. What
    replicates never show may still happen, so it is at least 1 / (replicates + 1).

    Args:
        differences: float64 (replicates,).
    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 15.4 (the level at
        which the percentile interval touches 0).
    """
    smaller = min(float((differences <= 0).mean()), float((differences >= 0).mean()))
    return float(np.clip(2 * smaller, 1 / (len(differences) + 1), 1.0))
