"""TokenFit: how many tokens a call of each pair of task type and worker puts out."""

from __future__ import annotations

import dataclasses
import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from orchestai_env.datasets.calibration.crossed import CrossedPrior
from orchestai_env.datasets.calibration.log_table import BoolArray, FloatArray, IntArray, LogTable
from orchestai_env.datasets.calibration.speed_fit import SpeedFit
from orchestai_env.outcomes.simulated import SimulationSettings

_LEVELS = np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)])
_LEVEL_SD = float(_LEVELS.std())
"""Standard deviation of the simulator's 256 levels of a normal variable: 0.998."""
_LARGEST_SPREAD = 3.0  # that SimulationSettings takes
_ROUNDS = 20
_EDGE = 8.0
_MOST_KEPT = 1e4
_PSEUDO_CALLS = 20.0  # of the shared spread, in that of a pair while calls are filled in; chosen


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenFit:
    """Output tokens by pair: log-normal.

    The median is the one whose log-normal has the logged mean, as costs and times follow the mean;
    where the tokens are log-normal, it is the logged median too. Spreads of pairs are shrunk
    towards the shared one as far as they differ by chance (empirical Bayes on log variances).
    """

    log_median: FloatArray
    """float64 (P,); posterior mean."""
    deviation: FloatArray
    """float64 (P,); its standard deviation."""
    calls: IntArray
    """int64 (P,); answered calls with tokens."""
    pair_spread: FloatArray
    """float64 (P,); standard deviation of the logarithm."""
    pair_spread_deviation: FloatArray
    """float64 (P,); its standard error."""
    spread: float
    """Shared standard deviation of the logarithm."""
    spread_deviation: float
    """Its standard error."""
    is_untold: bool
    """Whether no pair has two calls with tokens, so that the spread is the default."""
    num_empty: int
    """Answered calls of 0 tokens, which have no logarithm and are left out."""


class _Moments(NamedTuple):
    """Of each pair's tokens, and of all logarithms around their pair's mean."""

    log_mean: FloatArray
    mean_log: FloatArray
    squares: FloatArray
    """Of logarithms around the mean, per pair."""
    rms: float


def fit_tokens(
    log: LogTable, mask: BoolArray, cells: IntArray, speed: SpeedFit, log_excess: FloatArray
) -> TokenFit:
    """Fits log-normal tokens, the medians shrunk towards worker and task type.

    Args:
        log: the log.
        mask: bool (C,); calls that count.
        cells: int64 (P,); pairs, task type * W + worker, ascending.
        speed: tells how many tokens a call that was cut off had at least.
        log_excess: float64 (P,); logarithm of the mean of the calls in the log by that of any.
    """
    calls, num_workers = log.calls, len(log.workers)
    answered = mask & calls.has_answer
    used = answered & (calls.output_tokens > 0)
    cell = log.task_type[calls.subtask[used]] * num_workers + calls.worker[used]
    pair, tokens = np.searchsorted(cells, cell), calls.output_tokens[used]
    count = np.bincount(pair, minlength=len(cells))
    freedom = len(tokens) - int((count > 0).sum())
    if freedom <= 0:
        return _untold(tokens, pair, count, int(answered.sum()))
    executions = np.unique(calls.execution[mask])
    open_pair, bound = _lower_bounds(log, executions, cells, speed)
    kept = count[open_pair] > 0
    moments = _moments(pair, tokens, freedom, open_pair[kept], bound[kept], len(cells))
    cut = np.bincount(open_pair[kept], minlength=len(cells))
    spread, spread_deviation = _pair_spreads(moments, count, cut)
    log_mean = moments.log_mean - log_excess
    median, deviation = _shrunk_medians(log_mean, spread, count, cells, num_workers)
    return TokenFit(
        log_median=median,
        deviation=deviation,
        calls=count,
        pair_spread=spread,
        pair_spread_deviation=spread_deviation,
        spread=min(moments.rms / _LEVEL_SD, _LARGEST_SPREAD),
        spread_deviation=moments.rms / math.sqrt(2.0 * freedom),
        is_untold=False,
        num_empty=int(answered.sum() - used.sum()),
    )


def _shrunk_medians(
    log_mean: FloatArray, spread: FloatArray, count: IntArray, cells: IntArray, num_workers: int
) -> tuple[FloatArray, FloatArray]:
    """Returns logarithms of the medians, shrunk towards worker and task type, and standard errors.

    Shrinking logarithms lowers the mean of a worker's calls, which costs follow: it is put back.
    """
    to_median, worker = _log_mean_of_levels(spread), cells % num_workers
    own = log_mean - to_median
    prior = CrossedPrior(
        worker=worker,
        task_type=cells // num_workers,
        center=float(count @ own / count.sum()),
        center_sd=3.0,
    )
    # The variance of the logarithm of a mean of log-normals, by the delta method.
    precision = np.diag(count / np.maximum(np.expm1(spread**2), 1e-6))
    prior = prior.fitted(own, precision + 1e-6 * np.eye(len(cells)))
    median, covariance = prior.posterior(own, precision)
    met = np.bincount(worker, count * np.exp(median + to_median), num_workers)
    total = np.bincount(worker, count * np.exp(log_mean), num_workers)
    put_back = np.log(np.where(met > 0, total / np.where(met > 0, met, 1.0), 1.0))
    return median + put_back[worker], np.sqrt(np.diag(covariance))


def _pair_spreads(
    moments: _Moments, count: IntArray, cut: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Returns the spread of each pair's logarithms and its standard error.

    Calls that were cut off count for the spread, as they are filled in, and not for its error.
    """
    freedom = np.maximum(count + cut - 1, 0)
    told = (freedom >= 2) & (moments.squares > 0)
    shared = max(moments.rms, 1e-9)
    kept = _MOST_KEPT
    if told.sum() > 1:
        own = np.log(moments.squares[told] / freedom[told] / shared**2)
        noise, weight = 2.0 / freedom[told], freedom[told] / freedom[told].sum()
        center = float(weight @ own)
        between = float(weight @ ((own - center) ** 2 - noise))
        kept = float(np.clip(2.0 / max(between, 1e-9), 2.0, _MOST_KEPT))
    variance = (moments.squares + kept * shared**2) / (freedom + kept)
    spread = np.sqrt(variance)
    return (
        np.minimum(spread / _LEVEL_SD, _LARGEST_SPREAD),
        spread / np.sqrt(2.0 * (np.maximum(freedom - cut, 0) + kept)),
    )


def _log_mean_of_levels(spread: FloatArray) -> FloatArray:
    """Returns the logarithm of mean by median of the simulator's tokens."""
    logs: FloatArray = np.log(np.exp(spread[:, None] * _LEVELS).mean(axis=1))
    return logs


def _untold(tokens: FloatArray, pair: IntArray, count: IntArray, answered: int) -> TokenFit:
    """Returns what can be said where no pair has two calls with tokens: no spread."""
    logs = np.bincount(pair, np.log(tokens), len(count)) / np.maximum(count, 1)
    spread = SimulationSettings().token_spread
    return TokenFit(
        log_median=logs,
        deviation=np.where(count > 0, spread, np.inf),
        calls=count,
        pair_spread=np.full(len(count), spread),
        pair_spread_deviation=np.zeros(len(count)),
        spread=spread,
        spread_deviation=0.0,
        is_untold=True,
        num_empty=answered - len(tokens),
    )


def _lower_bounds(
    log: LogTable, executions: IntArray, cells: IntArray, speed: SpeedFit
) -> tuple[IntArray, FloatArray]:
    """Returns pairs and logarithms of the fewest tokens of the calls that were cut off."""
    cut = log.open_calls
    cell = log.task_type[cut.subtask] * len(log.workers) + cut.worker
    per_token = speed.token_ms[cut.worker]
    chosen = np.isin(cut.execution, executions) & np.isin(cell, cells) & (per_token > 0)
    alone = cut.elapsed_ms / (1.0 + speed.load_slowdown * cut.running)
    written = (alone - speed.first_token_ms[cut.worker])[chosen] / per_token[chosen]
    return np.searchsorted(cells, cell[chosen]), np.log(np.maximum(written, 1e-3))


def _moments(
    pair: IntArray,
    tokens: FloatArray,
    freedom: int,
    open_pair: IntArray,
    bound: FloatArray,
    num_pairs: int,
) -> _Moments:
    """Returns the moments; EM fills in what is expected of calls that were cut off.

    Source: Dempster, Laird and Rubin, "Maximum likelihood from incomplete data via the EM
    algorithm", J. R. Stat. Soc. B 1977, section 4.2 (censored data).
    """
    from scipy.special import ndtr

    logs = np.log(tokens)
    count = np.maximum(np.bincount(pair, minlength=num_pairs), 1)
    total = np.bincount(pair, tokens, num_pairs)
    sum_log = np.bincount(pair, logs, num_pairs)
    all_count = count + np.bincount(open_pair, minlength=num_pairs)
    mean_log = sum_log / count
    rms = math.sqrt(float(((logs - mean_log[pair]) ** 2).sum()) / freedom)
    log_mean = np.log(np.where(total > 0, total / count, 1.0))
    own = np.bincount(pair, (logs - mean_log[pair]) ** 2, num_pairs).astype(float)
    for _ in range(_ROUNDS if len(open_pair) and rms > 0 else 0):
        sd = np.sqrt((own + _PSEUDO_CALLS * rms**2) / (all_count + _PSEUDO_CALLS))[open_pair]
        z = np.clip((bound - mean_log[open_pair]) / sd, -_EDGE, _EDGE)
        tail = ndtr(-z)
        hazard = np.exp(-0.5 * z**2) / math.sqrt(2.0 * math.pi) / tail
        expected = mean_log[open_pair] + sd * hazard
        variance = sd**2 * np.maximum(1.0 + z * hazard - hazard**2, 0.0)
        longer = np.exp(log_mean[open_pair]) * ndtr(sd - z) / tail
        mean_log = (sum_log + np.bincount(open_pair, expected, num_pairs)) / all_count
        log_mean = np.log(
            np.maximum(total + np.bincount(open_pair, longer, num_pairs), 1.0) / all_count
        )
        squares = variance + (expected - mean_log[open_pair]) ** 2
        own = np.bincount(pair, (logs - mean_log[pair]) ** 2, num_pairs).astype(float)
        own += np.bincount(open_pair, squares, num_pairs)
        rms = math.sqrt(float(own.sum()) / (freedom + len(open_pair)))
    return _Moments(log_mean, mean_log, own, rms)
