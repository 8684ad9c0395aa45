"""fit_pool: all parameters of the simulator from a log, with intervals."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from orchestai_env.datasets.calibration.likelihood import CORRELATION, COUPLING, SPREAD
from orchestai_env.datasets.calibration.log_table import BoolArray, FloatArray, LogTable
from orchestai_env.datasets.calibration.patterns import count_patterns
from orchestai_env.datasets.calibration.simulated_pool import SimulatedPool
from orchestai_env.datasets.calibration.speed_fit import (
    PriceFit,
    SpeedFit,
    fit_concurrency,
    fit_prices,
    fit_speed,
)
from orchestai_env.datasets.calibration.success_fit import SuccessFit, fit_success
from orchestai_env.datasets.calibration.token_fit import TokenFit, fit_tokens
from orchestai_env.errors import DataError
from orchestai_env.execution.extra import needs_extra
from orchestai_env.outcomes.simulated import SimulationSettings
from orchestai_env.workers import TaskSkill, WorkerPool, WorkerSpec

MIN_CALLS = 50
"""Fewest ended calls for a fit; chosen: below, even one success probability is +- 0.14."""
MOSTLY_PRIOR = 0.5
"""A pair whose own calls gave less of its information than this rests on its worker and type."""
_Z = 1.959964
_CLOCK_MS = 1e-3
_TINY = 1e-6  # what is fitted without any residual is known to about so much
_KEPT = "the log cannot tell: {}; the documented default is kept"
_FASTEST = 1e9
_UNLIMITED = int(WorkerSpec.model_fields["concurrency"].default)


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
    output_tokens: Estimate
    data_share: float
    """0..1; share of what is known of its success that its own calls gave."""

    @property
    def is_mostly_prior(self) -> bool:
        """Whether the estimate rests mostly on the worker's and the type's other calls."""
        return self.data_share < MOSTLY_PRIOR


@dataclasses.dataclass(frozen=True, kw_only=True)
class FittedPool:
    """A simulator fitted from a log."""

    pool: SimulatedPool
    shared: dict[str, Estimate]
    """Fields of SimulationSettings."""
    pairs: tuple[PairEstimate, ...]
    speeds: dict[str, tuple[Estimate, Estimate]]
    """Worker -> time to the first token [ms], and time per token [ms]."""
    prior_deviations: tuple[float, float, float]
    """Of the rest, of workers and of task types, in probits."""
    success: SuccessFit
    num_calls: int
    num_empty: int
    """Answered calls without tokens."""
    unseen: tuple[tuple[str, str], ...]
    """(worker, task type) without any call: the worker is left out of the type."""


def fit_pool(
    log: LogTable, mask: BoolArray | None = None, *, on_step: Callable[[], None] = lambda: None
) -> FittedPool:
    """Fits every parameter of the simulator.

    Args:
        log: executions.
        mask: bool (C,); calls to fit to, all of an execution or none; all where None.
        on_step: called after each of 6 steps.
    Raises:
        DataError: fewer than MIN_CALLS calls.
        MissingPackageError: scipy is not there.
    """
    mask = np.ones(len(log.calls), bool) if mask is None else mask
    if mask.sum() < MIN_CALLS:
        raise DataError(
            f"execution log: expected at least {MIN_CALLS} calls that ended to fit to, got "
            f"{int(mask.sum())}; log more executions, or hold out fewer"
        )
    with needs_extra("data", what="calibrations"):
        import scipy.optimize  # noqa: F401  # says at once that it is missing
    patterns = count_patterns(log, mask)
    on_step()
    has_parents = bool((log.num_parents[log.calls.subtask[mask]] > 0).any())
    success = fit_success(patterns, len(log.workers), has_parents=has_parents, on_round=on_step)
    speed, prices = fit_speed(log, mask), fit_prices(log, mask)
    on_step()
    tokens = fit_tokens(log, mask, success.cell, speed)
    on_step()
    shared = _shared(success, tokens, speed, has_parents=has_parents)
    pairs = _pairs(log, mask, success, tokens)
    seen = {(pair.worker, pair.task_type) for pair in pairs}
    return FittedPool(
        pool=_pool(log, mask, shared, pairs, speed, prices),
        shared=shared,
        pairs=pairs,
        speeds=_speeds(log, speed),
        prior_deviations=success.prior.deviations,
        success=success,
        num_calls=int(mask.sum()),
        num_empty=tokens.num_empty,
        unseen=tuple(
            (worker, kind)
            for worker in sorted({pair.worker for pair in pairs})
            for kind in log.task_types
            if (worker, kind) not in seen
        ),
    )


def _shared(
    success: SuccessFit, tokens: TokenFit, speed: SpeedFit, *, has_parents: bool
) -> dict[str, Estimate]:
    """Returns the shared parameters as estimates, and why one is not fitted."""
    slowdown = float(np.clip(speed.load_slowdown, 0.0, 10.0))
    reach = float(_Z * speed.deviation[-1]) + _TINY
    return _of_success(success, has_parents=has_parents) | {
        "load_slowdown": Estimate(
            value=slowdown,
            low=max(0.0, slowdown - reach),
            high=slowdown + reach,
            note="" if speed.is_load_known else _KEPT.format("no calls of a worker overlapped"),
        ),
        "token_spread": Estimate(
            value=tokens.spread,
            low=max(0.0, tokens.spread - _Z * tokens.spread_deviation),
            high=tokens.spread + _Z * tokens.spread_deviation,
            note=_KEPT.format("no pair has two calls with tokens") if tokens.is_untold else "",
        ),
    }


def _of_success(success: SuccessFit, *, has_parents: bool) -> dict[str, Estimate]:
    """Returns the shared parameters of success; those not fitted have the prior's interval."""
    deviation = success.deviations()[len(success.cell) :]
    center, free = success.parameters.shared, success.is_fitted
    spread, correlation, coupling = (
        (float(center[k]), float(deviation[k])) for k in (SPREAD, CORRELATION, COUPLING)
    )
    notes = (
        _KEPT.format("no subtask was tried by two workers"),
        _KEPT.format("no worker was tried twice on a subtask"),
        _KEPT.format("no subtask depends on another"),
    )
    found = {
        "difficulty_spread": _transformed(_spread, *spread),
        "retry_correlation": _transformed(_expit, *correlation),
        "quality_coupling": _transformed(_coupling, *coupling),
    }
    for (name, estimate), is_free, note in zip(list(found.items()), free, notes, strict=True):
        if not is_free:
            found[name] = dataclasses.replace(estimate, note=note)
    if has_parents and not free[COUPLING]:
        note = "all parents have quality 1 in the log; 0 is what meets its success"
        found["quality_coupling"] = Estimate(0.0, 0.0, 0.0, note)
    return found


def _spread(logarithm: float) -> float:
    return min(math.exp(logarithm), 10.0)


def _coupling(value: float) -> float:
    return min(max(value, 0.0), 10.0)


def _expit(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-logit))


def _pairs(
    log: LogTable, mask: BoolArray, success: SuccessFit, tokens: TokenFit
) -> tuple[PairEstimate, ...]:
    calls, num_workers = log.calls, len(log.workers)
    cell = log.task_type[calls.subtask[mask]] * num_workers + calls.worker[mask]
    pair = np.searchsorted(success.cell, cell)
    count = np.bincount(pair, minlength=len(success.cell))
    won = np.bincount(pair, calls.success[mask], len(success.cell))
    probit, deviation = success.parameters.probit, success.deviations()
    log_median, log_deviation = tokens.log_median, tokens.deviation
    return tuple(
        PairEstimate(
            worker=log.workers[c % num_workers],
            task_type=log.task_types[c // num_workers],
            calls=int(count[p]),
            successes=int(won[p]),
            success=_transformed(_chance, probit[p], deviation[p]),
            output_tokens=_transformed(_tokens, log_median[p], log_deviation[p]),
            data_share=float(success.data_share[p]),
        )
        for p, c in enumerate(success.cell.tolist())
    )


def _transformed(function: Callable[[float], float], center: float, deviation: float) -> Estimate:
    reach = _Z * deviation
    return Estimate(
        value=function(center), low=function(center - reach), high=function(center + reach)
    )


def _chance(probit: float) -> float:
    """Returns Phi(probit), kept off 0 and 1, which a skill may not have."""
    return float(np.clip(0.5 * math.erfc(-probit / math.sqrt(2.0)), 1e-6, 1.0 - 1e-6))


def _tokens(log_median: float) -> float:
    return math.exp(float(np.clip(log_median, 0.0, 20.0)))


def _speeds(log: LogTable, speed: SpeedFit) -> dict[str, tuple[Estimate, Estimate]]:
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


def _pool(
    log: LogTable,
    mask: BoolArray,
    shared: dict[str, Estimate],
    pairs: tuple[PairEstimate, ...],
    speed: SpeedFit,
    prices: PriceFit,
) -> SimulatedPool:
    """Puts the estimates into the records that the environment reads."""
    most = fit_concurrency(log, mask)
    skills: dict[str, dict[str, TaskSkill]] = {}
    for pair in pairs:
        skills.setdefault(pair.worker, {})[pair.task_type] = TaskSkill(
            success=_rounded(pair.success.value),
            output_tokens=_rounded(pair.output_tokens.value),
            source=_source(pair),
        )
    workers = tuple(
        WorkerSpec(
            name=name,
            input_usd_per_mtok=_rounded(prices.call_usd[w] * 1e6 / 200.0),
            output_usd_per_mtok=_rounded(prices.token_usd[w] * 1e6),
            first_token_ms=_rounded(speed.first_token_ms[w]),
            tokens_per_s=_rounded(min(1e3 / max(speed.token_ms[w], 1e-12), _FASTEST)),
            concurrency=int(most[w]) if most[w] else _UNLIMITED,
            skills=skills[name],
            source="orchestai calibrate",
        )
        for w, name in enumerate(log.workers)
        if name in skills
    )
    settings = {name: _rounded(estimate.value) for name, estimate in shared.items()}
    served = {pair.task_type for pair in pairs}
    return SimulatedPool(
        task_types=tuple(kind for kind in log.task_types if kind in served),
        simulation=SimulationSettings(**settings),
        workers=WorkerPool(workers),
    )


def _source(pair: PairEstimate) -> str:
    text = (
        f"{pair.successes} of {pair.calls} calls succeeded; "
        f"95 % interval {pair.success.low:.3f} to {pair.success.high:.3f}"
    )
    if pair.is_mostly_prior:
        text += "; mostly from the worker's and the type's other calls"
    return text


def _rounded(value: float | FloatArray) -> float:
    """Returns a number with 6 significant digits."""
    return float(f"{float(value):.6g}")
