"""Posterior: the density of all parameters of success, its maximum and its information."""

from __future__ import annotations

import math
from typing import NamedTuple, Self

import numpy as np

from orchestai_env.datasets.calibration.crossed import CrossedPrior
from orchestai_env.datasets.calibration.likelihood import (
    Parameters,
    log_chances,
    log_likelihood,
)
from orchestai_env.datasets.calibration.log_table import BoolArray, FloatArray, IntArray
from orchestai_env.datasets.calibration.patterns import Patterns
from orchestai_env.datasets.calibration.shared_prior import (
    HIGHEST,
    KINSHIP_SD,
    LOWEST,
    OWN_SPREAD_SD,
    SPREAD,
    UNSOLVABLE,
    UNSOLVABLE_RATE,
    shared_penalty,
)

_STEP = 1e-3
_FIRST_KINSHIP = 0.3  # where the search begins; chosen
_MOST_OWN = 3.0  # six prior deviations and more


class Layout(NamedTuple):
    """Places of all parameters in one vector.

    P probits, P logarithms of a pair's spread by the shared one, V kinships, 4 shared parameters.
    """

    kin: IntArray
    """int64 (P,), 0..V-1; whose kinship a pair has."""
    probit: slice
    own_spread: slice
    kinship: slice
    shared: slice

    @classmethod
    def of(cls, cells: IntArray, num_workers: int) -> Self:
        """Lays out the parameters of some pairs.

        Args:
            cells: int64 (P,); task type * W + worker.
            num_workers: W.
        """
        workers, kin = np.unique(cells % num_workers, return_inverse=True)
        p, v = len(cells), len(workers)
        return cls(
            kin,
            slice(0, p),
            slice(p, 2 * p),
            slice(2 * p, 2 * p + v),
            slice(2 * p + v, 2 * p + v + len(LOWEST)),
        )

    @property
    def size(self) -> int:
        """Number of all parameters."""
        return int(self.shared.stop)

    @property
    def num_kin(self) -> int:
        """V, the number of workers."""
        return int(self.kinship.stop - self.kinship.start)

    def parameters(self, point: FloatArray) -> Parameters:
        """Returns the parameters as the likelihood takes them, per pair."""
        shared = point[self.shared]
        return Parameters(
            point[self.probit],
            shared[SPREAD] + point[self.own_spread],
            point[self.kinship][self.kin],
            shared[SPREAD + 1 :],
        )

    def gradient(self, by: Parameters) -> FloatArray:
        """Returns the gradient by the vector, of one by the parameters per pair."""
        kinship = np.bincount(self.kin, by.kinship, self.num_kin)
        spread = [float(by.log_spread.sum())]
        return np.concatenate([by.probit, by.log_spread, kinship, spread, by.shared])


class Posterior:
    """The log posterior of a log's courses."""

    def __init__(
        self, patterns: Patterns, layout: Layout, prior: CrossedPrior, free: BoolArray
    ) -> None:
        """Holds the kinships at 0, and what the courses cannot tell where it is.

        Args:
            patterns: courses; cells are 0..P-1.
            layout: of the parameters.
            prior: of the probits, before `fit_prior`.
            free: bool (4,); which shared parameters move.
        """
        self.patterns, self.layout, self.prior = patterns, layout, prior
        weight = patterns.weight[patterns.row] * (patterns.failures + patterns.successes)
        calls = np.bincount(patterns.cell, weight, len(layout.kin))
        self.scale = np.full(layout.size, 0.1)
        self.scale[layout.probit] = 1.0 / np.sqrt(1.0 + 0.5 * calls)
        self.scale[layout.shared] = 0.3 / math.sqrt(1.0 + weight.sum() / 1000.0)
        self.scale[layout.size - 1] *= 0.05  # a share moves less than a logarithm
        self.movable = np.zeros(layout.size, bool)
        self.movable[layout.probit] = True
        self.movable[layout.own_spread] = free[SPREAD]
        self.movable[layout.shared] = free

    def data_gradient(self, point: FloatArray) -> FloatArray:
        """Returns the gradient of the log-likelihood, without the prior."""
        gradient = log_likelihood(self.patterns, self.layout.parameters(point))[1]
        moved: FloatArray = self.layout.gradient(gradient) * self.movable
        return moved

    def log_likelihood(self, point: FloatArray) -> float:
        """Returns the log-likelihood, without the prior."""
        courses = log_chances(self.patterns, self.layout.parameters(point))
        return float(self.patterns.weight @ courses)

    def free_kinship(self, free: bool) -> None:
        """Lets the kinships move, or holds them."""
        self.movable[self.layout.kinship] = free

    def start_of_kinship(self, point: FloatArray) -> FloatArray | None:
        """Returns a point from which to look for kinships; None where the likelihood falls.

        At kinships of 0 its gradient by them is 0, so the search begins where it rises fastest.
        """
        place, near = self.layout.kinship, point.copy()
        curvature = np.zeros((self.layout.num_kin, self.layout.num_kin))
        for k in range(self.layout.num_kin):
            near[place] = 0.0
            near[place.start + k] = _STEP
            curvature[k] = self.data_gradient(near)[place] / _STEP
        height, direction = np.linalg.eigh(0.5 * (curvature + curvature.T))
        if height[-1] <= 0.0:
            return None
        ahead = direction[:, -1] / direction[np.abs(direction[:, -1]).argmax(), -1]
        start = point.copy()
        start[place] = _FIRST_KINSHIP * ahead
        return start

    def fit_prior(self, point: FloatArray) -> None:
        """Fits the prior of the probits to what the data say of them near a point."""
        place = self.layout.probit
        own = self._information(point, [place])[place, place]
        gradient = self.data_gradient(point)[place]
        estimate = point[place] + np.linalg.pinv(own, hermitian=True) @ gradient
        self.prior = self.prior.fitted(estimate, own)

    def data_information(self, point: FloatArray) -> FloatArray:
        """Returns minus the second derivatives of the log-likelihood, by central differences."""
        layout = self.layout
        information = self._information(point, [layout.probit, layout.own_spread])
        for k in np.flatnonzero(self.movable[layout.kinship.start :]) + layout.kinship.start:
            change = self._gradient_change(point, np.array([k]))
            information[:, k] = information[k] = change
        return 0.5 * (information + information.T)

    def _information(self, point: FloatArray, blocks: list[slice]) -> FloatArray:
        """Returns the columns of some parameters of pairs.

        Pairs of different task types never meet in a course, so that one difference serves a worker
        on all of them.
        """
        layout, information = self.layout, np.zeros((self.layout.size, self.layout.size))
        same_type = self.prior.task_type[:, None] == self.prior.task_type
        for block in blocks:
            if not self.movable[block].any():
                continue
            for worker in range(layout.num_kin):
                pairs = np.flatnonzero(layout.kin == worker)
                change = self._gradient_change(point, block.start + pairs)
                for p in pairs:
                    rows = np.flatnonzero(same_type[p])
                    for other in (layout.probit, layout.own_spread):
                        information[other.start + rows, block.start + p] = change[
                            other.start + rows
                        ]
        return information

    def _gradient_change(self, point: FloatArray, moved: IntArray) -> FloatArray:
        step = np.zeros(len(point))
        step[moved] = _STEP
        change = self.data_gradient(point - step) - self.data_gradient(point + step)
        return change / (2.0 * _STEP)

    def covariance(self, point: FloatArray, information: FloatArray) -> FloatArray:
        """Returns the inverse of the information and the prior's; 0 for what is held.

        A parameter that the log cannot tell has its prior's variance.
        """
        precision = information + self._prior_information(point)
        last = self.layout.shared.start + UNSOLVABLE
        # The exponential prior bends nowhere: where the log says less, its deviation counts.
        precision[last, last] = max(precision[last, last], UNSOLVABLE_RATE**2)
        size = np.sqrt(np.maximum(np.diag(precision), 1e-12))
        inverse = np.linalg.pinv(precision / size[:, None] / size, hermitian=True)
        covariance: FloatArray = (inverse / size[:, None] / size).astype(np.float64)
        return covariance

    def _prior_information(self, point: FloatArray) -> FloatArray:
        layout = self.layout
        precision = np.zeros((layout.size, layout.size))
        precision[layout.probit, layout.probit] = np.linalg.inv(self.prior.covariance())
        diagonal = np.zeros(layout.size)
        diagonal[layout.own_spread] = 1.0 / OWN_SPREAD_SD**2
        diagonal[layout.kinship] = 1.0 / KINSHIP_SD**2
        diagonal[layout.shared] = shared_penalty(point[layout.shared])[2]
        return precision + np.diag(diagonal)

    def maximum(self, start: FloatArray) -> FloatArray:
        """Returns the point of highest posterior density."""
        from scipy.optimize import minimize

        layout = self.layout
        inverse = np.linalg.inv(self.prior.covariance())

        def loss(step: FloatArray) -> tuple[float, FloatArray]:
            point = start + step * self.scale
            value, by = log_likelihood(self.patterns, layout.parameters(point))
            away = point[layout.probit] - self.prior.center
            own, kin = point[layout.own_spread], point[layout.kinship]
            penalty, by_shared, _ = shared_penalty(point[layout.shared])
            penalty += 0.5 * float(away @ inverse @ away)
            penalty += 0.5 * float(own @ own) / OWN_SPREAD_SD**2
            penalty += 0.5 * float(kin @ kin) / KINSHIP_SD**2
            slope = np.concatenate(
                [inverse @ away, own / OWN_SPREAD_SD**2, kin / KINSHIP_SD**2, by_shared]
            )
            slope = (slope - layout.gradient(by)) * self.scale * self.movable
            return penalty - value, slope

        low, high = np.full(layout.size, -np.inf), np.full(layout.size, np.inf)
        low[layout.shared], high[layout.shared] = LOWEST, HIGHEST
        for place in (layout.own_spread, layout.kinship):
            low[place], high[place] = -_MOST_OWN, _MOST_OWN
        bounds = np.column_stack([(low - start) / self.scale, (high - start) / self.scale])
        options = {"maxiter": 500, "maxcor": 20, "ftol": 1e-11, "gtol": 1e-4}
        found = minimize(
            loss, np.zeros(layout.size), jac=True, method="L-BFGS-B", bounds=bounds, options=options
        )
        point: FloatArray = start + found.x * self.scale
        return point
