"""fit_pool: all parameters of the simulator from a log, with intervals."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from orchestai_env.datasets.calibration.estimates import (
    Estimate,
    PairEstimate,
    kinship_estimates,
    pair_estimates,
    shared_estimates,
    speed_estimates,
)
from orchestai_env.datasets.calibration.log_table import BoolArray, FloatArray, LogTable
from orchestai_env.datasets.calibration.patterns import located_patterns
from orchestai_env.datasets.calibration.price_fit import PriceFit, fit_prices
from orchestai_env.datasets.calibration.simulated_pool import SimulatedPool
from orchestai_env.datasets.calibration.speed_fit import (
    SpeedFit,
    fit_concurrency,
    fit_speed,
    times_for_tokens,
)
from orchestai_env.datasets.calibration.success_fit import SuccessFit, fit_success
from orchestai_env.datasets.calibration.token_fit import fit_tokens
from orchestai_env.datasets.calibration.token_links import fit_token_links, within_spread
from orchestai_env.errors import DataError
from orchestai_env.execution.extra import needs_extra
from orchestai_env.outcomes.simulated import SimulationSettings
from orchestai_env.workers import TaskSkill, WorkerPool, WorkerSpec

MIN_CALLS = 50
"""Fewest ended calls for a fit; chosen: below, even one success probability is +- 0.14."""
_FASTEST = 1e9
_UNLIMITED = int(WorkerSpec.model_fields["concurrency"].default)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FittedPool:
    """A simulator fitted from a log."""

    pool: SimulatedPool
    shared: dict[str, Estimate]
    """Fields of SimulationSettings."""
    kinship: dict[str, Estimate]
    """Worker -> its kinship."""
    pairs: tuple[PairEstimate, ...]
    speeds: dict[str, tuple[Estimate, Estimate]]
    """Worker -> time to the first token [ms], and time per token [ms]."""
    silent: tuple[str, ...]
    """Workers whose calls were never answered, so that neither cost nor time is known."""
    timed: tuple[str, ...]
    """Workers that log no tokens; milliseconds stand for them."""
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
    located = located_patterns(log, mask)
    on_step()
    has_parents = bool((log.num_parents[log.calls.subtask[mask]] > 0).any())
    success = fit_success(located[0], len(log.workers), has_parents=has_parents, on_round=on_step)
    prices = fit_prices(log, mask, success.cell)
    timed, speed, is_timed = times_for_tokens(log, mask, fit_speed(log, mask))
    on_step()
    links = fit_token_links(timed, mask, success, located)
    tokens = fit_tokens(timed, mask, success.cell, speed, links.log_excess)
    on_step()
    shared = shared_estimates(success, tokens, speed, has_parents=has_parents)
    pairs = pair_estimates(log, mask, success, tokens, within_spread(links, tokens), prices)
    kinship = kinship_estimates(log, success)
    return FittedPool(
        pool=_pool(shared, pairs, _workers(log, mask, speed, prices, kinship)),
        shared=shared,
        kinship=kinship,
        pairs=pairs,
        speeds=speed_estimates(log, speed),
        silent=_silent(log, mask),
        timed=tuple(name for name, w in zip(log.workers, is_timed, strict=True) if w),
        prior_deviations=success.prior.deviations,
        success=success,
        num_calls=int(mask.sum()),
        num_empty=tokens.num_empty,
        unseen=_unseen(log, pairs),
    )


def _silent(log: LogTable, mask: BoolArray) -> tuple[str, ...]:
    called, answered = log.calls.worker[mask], log.calls.worker[mask & log.calls.has_answer]
    return tuple(log.workers[w] for w in np.setdiff1d(called, answered))


def _unseen(log: LogTable, pairs: tuple[PairEstimate, ...]) -> tuple[tuple[str, str], ...]:
    seen = {(pair.worker, pair.task_type) for pair in pairs}
    return tuple(
        (worker, kind)
        for worker in sorted({pair.worker for pair in pairs})
        for kind in log.task_types
        if (worker, kind) not in seen
    )


def _workers(
    log: LogTable,
    mask: BoolArray,
    speed: SpeedFit,
    prices: PriceFit,
    kinship: dict[str, Estimate],
) -> tuple[WorkerSpec, ...]:
    """Returns the workers with calls, without their skills."""
    most = fit_concurrency(log, mask)
    return tuple(
        WorkerSpec(
            name=name,
            input_usd_per_mtok=_rounded(prices.input_usd[w] * 1e6),
            output_usd_per_mtok=_rounded(prices.token_usd[w] * 1e6),
            first_token_ms=_rounded(speed.first_token_ms[w]),
            tokens_per_s=_rounded(min(1e3 / max(speed.token_ms[w], 1e-12), _FASTEST)),
            concurrency=int(most[w]) if most[w] else _UNLIMITED,
            kinship=_rounded(kinship[name].value),
            source="orchestai calibrate",
        )
        for w, name in enumerate(log.workers)
        if name in kinship
    )


def _pool(
    shared: dict[str, Estimate], pairs: tuple[PairEstimate, ...], workers: tuple[WorkerSpec, ...]
) -> SimulatedPool:
    """Puts the estimates into the records that the environment reads."""
    settings = {name: _rounded(estimate.value) for name, estimate in shared.items()}
    skills: dict[str, dict[str, TaskSkill]] = {}
    for pair in pairs:
        skills.setdefault(pair.worker, {})[pair.task_type] = TaskSkill(
            success=_rounded(pair.success.value),
            input_tokens=_rounded(pair.input_tokens.value),
            output_tokens=_rounded(pair.output_tokens.value),
            difficulty_spread=_rounded(pair.difficulty_spread.value),
            token_spread=_rounded(pair.token_spread.value),
            tokens_by_difficulty=_rounded(pair.tokens_by_difficulty.value),
            tokens_by_luck=_rounded(pair.tokens_by_luck.value),
            source=_source(pair),
        )
    return SimulatedPool(
        task_types=tuple(sorted({pair.task_type for pair in pairs})),
        simulation=SimulationSettings(**settings),
        workers=WorkerPool(
            tuple(one.model_copy(update={"skills": skills[one.name]}) for one in workers)
        ),
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
