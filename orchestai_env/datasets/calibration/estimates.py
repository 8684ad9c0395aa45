"""Estimates: what was fitted, as numbers with their 95 % intervals."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np

from orchestai_env.datasets.calibration.log_table import BoolArray, FloatArray, LogTable
from orchestai_env.datasets.calibration.price_fit import PriceFit
from orchestai_env.datasets.calibration.shared_prior import (
    CORRELATION,
    COUPLING,
    KINSHIP_SD,
    SPREAD,
    UNSOLVABLE,
)
from orchestai_env.datasets.calibration.speed_fit import SpeedFit
from orchestai_env.datasets.calibration.success_fit import SuccessFit
from orchestai_env.datasets.calibration.token_fit import TokenFit
from orchestai_env.datasets.calibration.token_links import TokenLinks

MOSTLY_PRIOR = 0.5
"""A pair whose own calls gave less of its information than this rests on its worker and type."""
_Z = 1.959964
_CLOCK_MS = 1e-3
_TINY = 1e-6  # what is fitted without any residual is known to about so much
_SUREST = 1e-5  # successes are kept so far from certainty, which a skill may not have
_NEARLY_SURE = 0.99
_MOST_LOG_SD = 1.0
_MOST_SLOWDOWN, _MOST_TOKEN_SPREAD = 10.0, 3.0  # that SimulationSettings takes
_KEPT = "the log cannot tell: {}; the documented default is kept"


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A fitted number and its 95 % interval."""

    value: float
    low: float
    high: float
    note: str = ""
    """Why it is not fitted; empty where it is."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairEstimate:
    """What is known of a worker on a task type."""

    worker: str
    task_type: str
    calls: int
    successes: int
    success: Estimate
    difficulty_spread: Estimate
    input_tokens: Estimate
    output_tokens: Estimate
    token_spread: Estimate
    tokens_by_difficulty: Estimate
    tokens_by_luck: Estimate
    data_share: float
    """0..1; share of what is known of its success that its own calls gave."""

    @property
    def is_mostly_prior(self) -> bool:
        """Whether the estimate rests mostly on the worker's and the type's other calls."""
        return self.data_share < MOSTLY_PRIOR


def shared_estimates(
    success: SuccessFit, tokens: TokenFit, speed: SpeedFit, *, has_parents: bool
) -> dict[str, Estimate]:
    """Returns the fields of SimulationSettings, and why one is not fitted.

    The interval of one that is not is what is likely beforehand, or all that the settings take.
    """
    slowdown = float(np.clip(speed.load_slowdown, 0.0, _MOST_SLOWDOWN))
    reach = float(_Z * speed.deviation[-1]) + _TINY
    load = Estimate(slowdown, max(0.0, slowdown - reach), min(slowdown + reach, _MOST_SLOWDOWN))
    if not speed.is_load_known:
        note = _KEPT.format("no calls of a worker overlapped")
        load = Estimate(slowdown, 0.0, _MOST_SLOWDOWN, note)
    reach = _Z * tokens.spread_deviation
    spread = Estimate(tokens.spread, max(0.0, tokens.spread - reach), tokens.spread + reach)
    if tokens.is_untold:
        note = _KEPT.format("no pair has two calls with tokens")
        spread = Estimate(tokens.spread, 0.0, _MOST_TOKEN_SPREAD, note)
    return _of_success(success, has_parents=has_parents) | {
        "load_slowdown": load,
        "token_spread": spread,
    }


def _of_success(success: SuccessFit, *, has_parents: bool) -> dict[str, Estimate]:
    """Returns the shared parameters of success; those not fitted have the prior's interval."""
    place, free = success.layout.shared, success.is_fitted
    center, deviation = success.point[place], success.deviations()[place]
    alone = "no subtask was tried by two workers"
    found = {}
    for k, name, function, why in (
        (SPREAD, "difficulty_spread", _spread, alone),
        (CORRELATION, "retry_correlation", _expit, "no worker was tried twice on a subtask"),
        (COUPLING, "quality_coupling", _coupling, "no subtask depends on another"),
        (UNSOLVABLE, "unsolvable_share", _share, alone),
    ):
        of = _spread_estimate if k == SPREAD else functools.partial(_transformed, function)
        estimate = of(float(center[k]), float(deviation[k]))
        note = "" if free[k] else _KEPT.format(why)
        found[name] = dataclasses.replace(estimate, note=note)
    if has_parents and not free[COUPLING]:
        note = "all parents have quality 1 in the log; 0 is what meets its success"
        found["quality_coupling"] = Estimate(0.0, 0.0, 0.0, note)
    return found


def kinship_estimates(log: LogTable, success: SuccessFit) -> dict[str, Estimate]:
    """Returns the kinship of each worker with calls; its sign is a convention."""
    layout = success.layout
    names = [log.workers[w] for w in np.unique(success.cell % len(log.workers))]
    if not success.has_kinship:
        note = "kinships do not explain the log better; 0 is kept, within what is likely beforehand"
        prior = _Z * KINSHIP_SD
        return {name: Estimate(0.0, -prior, prior, note) for name in names}
    center, deviation = success.point[layout.kinship], success.deviations()[layout.kinship]
    return {
        name: _transformed(_kinship, float(center[v]), float(deviation[v]))
        for v, name in enumerate(names)
    }


def pair_estimates(
    log: LogTable,
    mask: BoolArray,
    success: SuccessFit,
    tokens: TokenFit,
    links: TokenLinks,
    prices: PriceFit,
) -> tuple[PairEstimate, ...]:
    """Returns what is known of each pair with calls."""
    calls, num_workers = log.calls, len(log.workers)
    cell = log.task_type[calls.subtask[mask]] * num_workers + calls.worker[mask]
    pair = np.searchsorted(success.cell, cell)
    count = np.bincount(pair, minlength=len(success.cell))
    won = np.bincount(pair, calls.success[mask], len(success.cell))
    chance = _success(success)
    log_spread, spread_deviation = _log_spread(success)
    log_median, log_deviation = tokens.log_median, tokens.deviation
    own, own_deviation = tokens.pair_spread, tokens.pair_spread_deviation
    sent, sent_deviation = prices.input_tokens, prices.deviation
    by = (links.by_difficulty, links.by_luck)
    return tuple(
        PairEstimate(
            worker=log.workers[c % num_workers],
            task_type=log.task_types[c // num_workers],
            calls=int(count[p]),
            successes=int(won[p]),
            success=chance[p],
            difficulty_spread=_spread_estimate(log_spread[p], spread_deviation[p]),
            input_tokens=_transformed(_not_negative, sent[p], sent_deviation[p] + _TINY * sent[p]),
            output_tokens=_transformed(_tokens, log_median[p], log_deviation[p]),
            token_spread=_transformed(_not_negative, own[p], own_deviation[p]),
            tokens_by_difficulty=_transformed(float, by[0][p], links.deviation[p, 0]),
            tokens_by_luck=_transformed(float, by[1][p], links.deviation[p, 1]),
            data_share=float(success.data_share[p]),
        )
        for p, c in enumerate(success.cell.tolist())
    )


def _success(success: SuccessFit) -> list[Estimate]:
    """Returns the success of first calls, unsolvable subtasks included, by the delta method."""
    from scipy.special import ndtr, ndtri

    layout = success.layout
    last = layout.shared.start + UNSOLVABLE
    probit, unsolvable = success.point[layout.probit], float(success.point[last])
    chance = np.clip((1.0 - unsolvable) * ndtr(probit), _SUREST, (1.0 - unsolvable) - _SUREST)
    center = ndtri(chance)
    density = np.exp(-0.5 * center**2)
    by_probit = (1.0 - unsolvable) * np.exp(-0.5 * probit**2) / density
    by_share = -ndtr(probit) * math.sqrt(2.0 * math.pi) / density
    covariance, p = success.covariance, np.arange(len(probit))
    own, shared, both = covariance[p, p], covariance[last, last], covariance[p, last]
    variance = by_probit**2 * own + by_share**2 * shared + 2.0 * by_probit * by_share * both
    # Near certainty the chance is far from linear in the share, which hardly matters there: a pair
    # that nearly always succeeds has met nearly no unsolvable subtask.
    held = by_probit**2 * (own - both**2 / max(shared, 1e-300))
    variance = np.where(chance > _NEARLY_SURE, held, variance)
    deviation = np.sqrt(np.maximum(variance, 0.0))
    return [
        _transformed(lambda y: float(np.clip(ndtr(y), _TINY, 1.0 - _TINY)), c, d)
        for c, d in zip(center.tolist(), deviation.tolist(), strict=True)
    ]


def _log_spread(success: SuccessFit) -> tuple[FloatArray, FloatArray]:
    """Returns the logarithm of each pair's difficulty spread and its standard error."""
    layout, covariance = success.layout, success.covariance
    own, shared = np.arange(layout.own_spread.start, layout.own_spread.stop), layout.shared.start
    variance = covariance[own, own] + covariance[shared, shared] + 2.0 * covariance[own, shared]
    return success.parameters.log_spread, np.sqrt(np.maximum(variance, 0.0))


def _transformed(function: Callable[[float], float], center: float, deviation: float) -> Estimate:
    center, reach = float(center), _Z * float(deviation)
    return Estimate(
        value=function(center), low=function(center - reach), high=function(center + reach)
    )


def _spread(logarithm: float) -> float:
    return math.exp(min(logarithm, math.log(10.0)))


def _spread_estimate(center: float, deviation: float) -> Estimate:
    """Returns a spread; near 0, where its logarithm is unbounded, with an interval of its own."""
    if deviation <= _MOST_LOG_SD:
        return _transformed(_spread, center, deviation)
    value = _spread(float(center))
    return Estimate(value, 0.0, min(value * (1.0 + _Z * float(deviation)), 10.0))


def _coupling(value: float) -> float:
    return min(max(value, 0.0), 10.0)


def _kinship(value: float) -> float:
    return min(max(value, -10.0), 10.0)


def _share(value: float) -> float:
    return min(max(value, 0.0), 0.5)


def _not_negative(value: float) -> float:
    return max(value, 0.0)


def _expit(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(min(logit, 500.0), -500.0)))


def _tokens(log_median: float) -> float:
    return math.exp(float(np.clip(log_median, 0.0, 20.0)))


def speed_estimates(log: LogTable, speed: SpeedFit) -> dict[str, tuple[Estimate, Estimate]]:
    """Returns times to the first token and per token; intervals are a clock tick wide at least."""
    n = len(log.workers)

    def estimate(value: float, deviation: float) -> Estimate:
        reach = _Z * deviation + _CLOCK_MS
        return Estimate(value=value, low=max(0.0, value - reach), high=value + reach)

    return {
        name: (
            estimate(float(speed.first_token_ms[w]), float(speed.deviation[w])),
            estimate(float(speed.token_ms[w]), float(speed.deviation[n + w])),
        )
        for w, name in enumerate(log.workers)
        if speed.calls[w]
    }
