"""SuccessFit: all that decides a call's success, fitted to a log."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from orchestai_env.datasets.calibration.crossed import CrossedPrior
from orchestai_env.datasets.calibration.likelihood import Parameters
from orchestai_env.datasets.calibration.log_table import BoolArray, FloatArray, IntArray
from orchestai_env.datasets.calibration.patterns import Patterns
from orchestai_env.datasets.calibration.posterior import Layout, Posterior
from orchestai_env.datasets.calibration.shared_prior import (
    CORRELATION,
    COUPLING,
    SPREAD,
    START,
    UNSOLVABLE,
)

_ROUNDS = 3
"""Of fitting the pairs and their prior in turn; the fourth moves no success by 0.001 (tested)."""
_FEWEST_KIN = 4
"""Workers from which on more pairs of them than kinships can be told apart."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SuccessFit:
    """What a log tells of success; P observed pairs of task type and worker, V their workers."""

    cell: IntArray
    """int64 (P,); task type * W + worker, ascending."""
    layout: Layout
    """Where each parameter stands in `point`."""
    point: FloatArray
    """float64 (2 P + V + 4,); most probable values."""
    covariance: FloatArray
    """Of `point`; inverse of the observed information, prior included."""
    data_share: FloatArray
    """float64 (P,), 0..1; share of each pair's information that its own calls gave."""
    prior: CrossedPrior
    """Prior of the pairs' probits."""
    is_fitted: BoolArray
    """bool (4,); which shared parameters the log could tell; the others keep their default."""
    has_kinship: bool
    """Whether some workers fail together beyond what difficulty explains."""

    @property
    def parameters(self) -> Parameters:
        """As the likelihood takes them."""
        return self.layout.parameters(self.point)

    def deviations(self) -> FloatArray:
        """Returns the standard deviations of `point`."""
        return np.sqrt(np.maximum(np.diag(self.covariance), 0.0))


def fit_success(
    patterns: Patterns,
    num_workers: int,
    *,
    has_parents: bool,
    on_round: Callable[[], None] = lambda: None,
) -> SuccessFit:
    """Maximises the posterior of all parameters; intervals come from the observed information.

    Args:
        patterns: courses of the subtasks.
        num_workers: W, which splits cells into task type and worker.
        has_parents: whether some subtask depends on another. Where all parents' qualities are 1
            although there are some, the coupling is 0: simulated parents' qualities lie below 1,
            and the log's success is to be met all the same.
        on_round: called after each of the rounds.
    """
    cells, compact = np.unique(patterns.cell, return_inverse=True)
    patterns = dataclasses.replace(patterns, cell=compact)
    free = _identified(patterns)
    layout = Layout.of(cells, num_workers)
    point = np.zeros(layout.size)
    point[layout.shared] = START
    if has_parents and not free[COUPLING]:
        point[layout.shared][COUPLING] = 0.0
    worker, kind = cells % num_workers, cells // num_workers
    prior = CrossedPrior(worker=worker, task_type=kind, center=0.0, center_sd=1.0)
    problem = Posterior(patterns, layout, prior, free)
    for _ in range(_ROUNDS):
        point = problem.maximum(point)
        problem.fit_prior(point)
        on_round()
    if free[SPREAD] and layout.num_kin >= _FEWEST_KIN:
        point = _with_kinship(problem, problem.maximum(point))
    point = problem.maximum(point)
    information = problem.data_information(point)
    own = np.diag(information)[layout.probit]
    return SuccessFit(
        cell=cells,
        layout=layout,
        point=point,
        covariance=problem.covariance(point, information),
        data_share=own / (own + 1.0 / np.diag(problem.prior.covariance())),
        prior=problem.prior,
        is_fitted=free,
        has_kinship=bool(point[layout.kinship].any()),
    )


def _with_kinship(problem: Posterior, plain: FloatArray) -> FloatArray:
    """Returns the point with kinships, where these explain enough to be worth their number.

    Source: H. Akaike, "A new look at the statistical model identification", IEEE Trans. Automatic
        Control 19 (1974).
    """
    problem.free_kinship(True)
    start = problem.start_of_kinship(plain)
    found = plain if start is None else problem.maximum(start)
    gain = problem.log_likelihood(found) - problem.log_likelihood(plain)
    if gain > problem.layout.num_kin:
        return found
    problem.free_kinship(False)
    return plain


def _identified(patterns: Patterns) -> BoolArray:
    """Tells which shared parameters the courses can tell."""
    several_workers = np.bincount(patterns.row) > 1
    several_calls = patterns.failures + patterns.successes > 1
    free = np.zeros(4, bool)
    free[SPREAD] = free[UNSOLVABLE] = several_workers.any()
    free[CORRELATION] = several_calls.any()
    free[COUPLING] = patterns.lost_quality.any()
    return free
