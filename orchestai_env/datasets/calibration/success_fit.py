"""SuccessFit: skills, difficulty spread, retry correlation and quality coupling from a log."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from orchestai_env.datasets.calibration.crossed import CrossedPrior
from orchestai_env.datasets.calibration.likelihood import (
    CORRELATION,
    COUPLING,
    SPREAD,
    Parameters,
    log_likelihood,
)
from orchestai_env.datasets.calibration.log_table import BoolArray, FloatArray, IntArray
from orchestai_env.datasets.calibration.patterns import Patterns
from orchestai_env.outcomes.simulated import SimulationSettings

_ROUNDS = 3
"""Of fitting the pairs and their prior in turn; the fourth moves no success by 0.001 (tested)."""
_STEP = 1e-3
_DEFAULTS = SimulationSettings()
SHARED_PRIOR = np.array(
    [
        [math.log(_DEFAULTS.difficulty_spread), 1.0],
        [math.log(_DEFAULTS.retry_correlation / (1.0 - _DEFAULTS.retry_correlation)), 1.5],
        [_DEFAULTS.quality_coupling, 1.0],
    ]
)
"""Means and standard deviations of a normal prior of the shared parameters: the documented
defaults, and so wide that a hundred retries outweigh it; chosen."""
_LOGIT_LIMIT = 6.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class SuccessFit:
    """What a log tells of success; P observed pairs of task type and worker."""

    cell: IntArray
    """int64 (P,); task type * W + worker, ascending."""
    parameters: Parameters
    """Most probable values; `probit` is float64 (P,)."""
    covariance: FloatArray
    """float64 (P + 3, P + 3); inverse of the observed information, prior included."""
    data_share: FloatArray
    """float64 (P,), 0..1; share of each pair's information that its own calls gave."""
    prior: CrossedPrior
    """Prior of the pairs."""
    is_fitted: BoolArray
    """bool (3,); which shared parameters the log could tell; the others keep their default."""

    def deviations(self) -> FloatArray:
        """Returns standard deviations of the P probits and 3 shared parameters, (P + 3,)."""
        return np.sqrt(np.diag(self.covariance))


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
    shared = SHARED_PRIOR[:, 0].copy()
    if has_parents and not free[COUPLING]:
        shared[COUPLING] = 0.0
    prior = CrossedPrior(
        worker=cells % num_workers, task_type=cells // num_workers, center=0.0, center_sd=1.0
    )
    problem = _Posterior(patterns, prior, free, shared)
    point = np.concatenate([np.zeros(len(cells)), shared])
    for _ in range(_ROUNDS):
        point = problem.maximum(point)
        hessian = problem.data_information(point)
        own = hessian[: len(cells), : len(cells)]
        gradient = problem.data_gradient(point)[: len(cells)]
        estimate = point[: len(cells)] + np.linalg.pinv(own, hermitian=True) @ gradient
        problem.prior = problem.prior.fitted(estimate, own)
        on_round()
    point = problem.maximum(point)
    hessian = problem.data_information(point)
    covariance: FloatArray = np.linalg.inv(hessian + problem.prior_information()).astype(float)
    own = np.diag(hessian)[: len(cells)]
    prior_variance = np.diag(problem.prior.covariance())
    return SuccessFit(
        cell=cells,
        parameters=Parameters(point[: len(cells)], point[len(cells) :]),
        covariance=covariance,
        data_share=own / (own + 1.0 / prior_variance),
        prior=problem.prior,
        is_fitted=free,
    )


def _identified(patterns: Patterns) -> BoolArray:
    """Tells which shared parameters the courses can tell."""
    several_workers = np.diff([*patterns.starts, len(patterns.row)]) > 1
    several_calls = patterns.failures + patterns.successes > 1
    free = np.zeros(3, bool)
    free[SPREAD] = several_workers.any()
    free[CORRELATION] = several_calls.any()
    free[COUPLING] = patterns.lost_quality.any()
    return free


class _Posterior:
    """The log posterior over (pairs, shared), and its maximum."""

    def __init__(
        self, patterns: Patterns, prior: CrossedPrior, free: BoolArray, shared: FloatArray
    ) -> None:
        self.patterns, self.prior, self.free = patterns, prior, free
        self.num_pairs = len(prior.worker)
        self.center = np.concatenate([np.full(self.num_pairs, prior.center), shared])
        weight = patterns.weight[patterns.row] * (patterns.failures + patterns.successes)
        calls = np.bincount(patterns.cell, weight, self.num_pairs)
        shared_scale = np.full(3, 0.3 / math.sqrt(1.0 + weight.sum() / 1000.0))
        self.scale = np.concatenate([1.0 / np.sqrt(1.0 + 0.5 * calls), shared_scale])
        self.movable = np.concatenate([np.ones(self.num_pairs, bool), free])

    def _parameters(self, point: FloatArray) -> Parameters:
        return Parameters(point[: self.num_pairs], point[self.num_pairs :])

    def data_gradient(self, point: FloatArray) -> FloatArray:
        """Returns the gradient of the log-likelihood, without the prior."""
        gradient = log_likelihood(self.patterns, self._parameters(point))[1]
        moved: FloatArray = np.concatenate(gradient) * self.movable
        return moved

    def prior_information(self) -> FloatArray:
        """Returns the precision of the prior over all parameters."""
        size = len(self.center)
        precision = np.zeros((size, size))
        precision[: self.num_pairs, : self.num_pairs] = np.linalg.inv(self.prior.covariance())
        shared = np.arange(self.num_pairs, size)
        precision[shared, shared] = 1.0 / SHARED_PRIOR[:, 1] ** 2
        return precision

    def data_information(self, point: FloatArray) -> FloatArray:
        """Returns minus the second derivatives of the log-likelihood, by central differences.

        Pairs of different task types never meet in a course, so that one difference serves a worker
        on all of them.
        """
        size, worker = len(self.center), self.prior.worker
        information = np.zeros((size, size))
        same_type = self.prior.task_type[:, None] == self.prior.task_type
        for w in np.unique(worker):
            moved = np.flatnonzero(worker == w)
            change = self._gradient_change(point, moved)
            for c in moved:
                rows = np.flatnonzero(same_type[c])
                information[rows, c] = change[rows]
        for k in np.flatnonzero(self.free) + self.num_pairs:
            change = self._gradient_change(point, np.array([k]))
            information[:, k] = change
            information[k, : self.num_pairs] = change[: self.num_pairs]
        return 0.5 * (information + information.T)

    def _gradient_change(self, point: FloatArray, moved: IntArray) -> FloatArray:
        step = np.zeros(len(point))
        step[moved] = _STEP
        change = self.data_gradient(point - step) - self.data_gradient(point + step)
        return change / (2.0 * _STEP)

    def maximum(self, start: FloatArray) -> FloatArray:
        """Returns the point of highest posterior density."""
        from scipy.optimize import minimize

        precision = self.prior_information()

        def loss(step: FloatArray) -> tuple[float, FloatArray]:
            point = start + step * self.scale
            value, gradient = log_likelihood(self.patterns, self._parameters(point))
            away = precision @ (point - self.center)
            total = 0.5 * float((point - self.center) @ away) - value
            slope = (away - np.concatenate(gradient)) * self.scale * self.movable
            return total, slope

        bounds: list[Any] = [(None, None)] * len(start)
        place = self.num_pairs + CORRELATION
        reach = (np.array([-_LOGIT_LIMIT, _LOGIT_LIMIT]) - start[place]) / self.scale[place]
        bounds[place] = tuple(reach)
        options = {"maxiter": 500, "maxcor": 20, "ftol": 1e-11, "gtol": 1e-4}
        found = minimize(
            loss, np.zeros(len(start)), jac=True, method="L-BFGS-B", bounds=bounds, options=options
        )
        point: FloatArray = start + found.x * self.scale
        return point
