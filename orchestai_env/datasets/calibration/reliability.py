"""Reliability: predicted against logged success of the calls of held-out executions."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from orchestai_env.datasets.calibration.likelihood import Parameters, log_chances
from orchestai_env.datasets.calibration.log_table import BoolArray, FloatArray, IntArray, LogTable
from orchestai_env.datasets.calibration.patterns import Patterns, prefix_patterns
from orchestai_env.datasets.calibration.simulated_pool import SimulatedPool

NUM_BINS = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reliability:
    """How predictions of success agree with what happened; bins of equal width over 0..1."""

    num_calls: int
    bin_calls: tuple[int, ...]
    bin_predicted: tuple[float, ...]
    """Mean prediction of each bin; 0 where it is empty."""
    bin_logged: tuple[float, ...]
    """Share of successes of each bin; 0 where it is empty."""
    calibration_error: float
    """Expected calibration error: mean gap of the bins, weighted by calls (Naeini, Cooper and
    Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015)."""
    chance_error: float
    """Its mean if the predictions were the true probabilities, by the normal approximation."""
    brier: float
    """Mean squared error of the predictions."""
    brier_of_base_rate: float
    """The same for predicting the held-out success rate of all calls, always."""


def pool_parameters(pool: SimulatedPool, cells: IntArray, log: LogTable) -> Parameters:
    """Returns a pool's parameters as the likelihood takes them.

    Args:
        pool: has a skill for every pair.
        cells: int64 (P,); pairs, task type * W + worker.
        log: which names the workers and types.
    """
    from scipy.special import ndtri

    settings, workers = pool.simulation, {worker.name: worker for worker in pool.workers.workers}
    owners = [workers[log.workers[c % len(log.workers)]] for c in cells.tolist()]
    kinds = [log.task_types[c // len(log.workers)] for c in cells.tolist()]
    skills = [owner.skills[kind] for owner, kind in zip(owners, kinds, strict=True)]
    spread = [
        settings.difficulty_spread if skill.difficulty_spread is None else skill.difficulty_spread
        for skill in skills
    ]
    correlation = min(max(settings.retry_correlation, 1e-3), 1.0 - 1e-3)
    solvable = 1.0 - settings.unsolvable_share
    return Parameters(
        ndtri(np.array([skill.success for skill in skills]) / solvable),
        np.log(np.maximum(spread, 1e-6)),
        np.array([owner.kinship for owner in owners]),
        np.array(
            [
                math.log(correlation / (1.0 - correlation)),
                settings.quality_coupling,
                settings.unsolvable_share,
            ]
        ),
    )


def predict_success(
    log: LogTable, mask: BoolArray, pool: SimulatedPool, cells: IntArray
) -> tuple[FloatArray, BoolArray]:
    """Predicts each call's success from what was seen before it on its subtask.

    Args:
        log: executions.
        mask: bool (C,); calls to predict, all of an execution or none.
        pool: the simulator.
        cells: int64 (P,); pairs that the pool has a skill for, ascending.
    Returns:
        Probabilities, and the mask of the calls that they are of: subtasks with a call of another
        pair are left out.
    """
    calls, num_workers = log.calls, len(log.workers)
    cell = log.task_type[calls.subtask] * num_workers + calls.worker
    strange = np.zeros(len(log.task_type), bool)
    strange[calls.subtask[~np.isin(cell, cells)]] = True
    known = mask & ~strange[calls.subtask]
    if not known.any():
        return np.zeros(0), known
    parameters = pool_parameters(pool, cells, log)
    before, after, is_later = prefix_patterns(log, known)
    log_chance = log_chances(_compact(after, cells), parameters)
    if is_later.any():
        log_chance[is_later] -= log_chances(_compact(before, cells), parameters)
    return np.exp(np.minimum(log_chance, 0.0)), known


def _compact(patterns: Patterns, cells: IntArray) -> Patterns:
    return dataclasses.replace(patterns, cell=np.searchsorted(cells, patterns.cell))


def reliability(predicted: FloatArray, success: BoolArray) -> Reliability:
    """Compares predictions with what happened.

    Args:
        predicted: float64 (C,), 0..1.
        success: bool (C,).
    """
    place = np.minimum((predicted * NUM_BINS).astype(np.int64), NUM_BINS - 1)
    count = np.bincount(place, minlength=NUM_BINS)
    mean = np.bincount(place, predicted, NUM_BINS) / np.maximum(count, 1)
    rate = np.bincount(place, success, NUM_BINS) / np.maximum(count, 1)
    variance = np.bincount(place, predicted * (1.0 - predicted), NUM_BINS)
    total = max(len(predicted), 1)
    base = float(success.mean()) if len(success) else 0.0
    return Reliability(
        num_calls=len(predicted),
        bin_calls=tuple(count.tolist()),
        bin_predicted=tuple(mean.tolist()),
        bin_logged=tuple(rate.tolist()),
        calibration_error=float((count * np.abs(mean - rate)).sum() / total),
        chance_error=math.sqrt(2.0 / math.pi) * float(np.sqrt(variance).sum()) / total,
        brier=float(((predicted - success) ** 2).sum() / total),
        brier_of_base_rate=base * (1.0 - base),
    )
