"""Shrinkage of pairs of task type and worker towards the means of both: empirical Bayes.

The prior of a pair's parameter is normal with the covariance of crossed random effects, mean +
worker + task type + rest. The rest of each worker has a standard deviation of its own: a worker
that is good at some types and useless at others says little of one type by the others. All standard
deviations maximise the marginal likelihood of what the data say (Morris, "Parametric empirical
Bayes inference", JASA 1983), times a Gamma(2) density each, which keeps them from 0 where there are
few pairs (Chung et al., "A nondegenerate penalized likelihood estimator for variance parameters in
multilevel models", Psychometrika 2013), and a log-normal one of the workers' factors.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from orchestai_env.datasets.calibration.log_table import FloatArray, IntArray

_START = np.log([0.4, 0.3, 0.3])
_BOUNDS = (np.log(0.03), np.log(3.0))
_WIDE = 1.0
"""Scale of the density beside Gamma(2) that keeps the deviations from infinity; chosen."""
_UNEVENNESS_SD = 0.5
"""Standard deviation of the logarithm of a worker's factor; chosen on halves of the training runs
of agbench, where 0 and 1 predict the other halves worse."""
_MOST_UNEVEN = 6.0 * _UNEVENNESS_SD


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossedPrior:
    """A normal prior of C pairs."""

    worker: IntArray
    """int64 (C,); worker of each pair."""
    task_type: IntArray
    """int64 (C,)."""
    center: float
    """Prior mean of the mean."""
    center_sd: float
    """Its standard deviation."""
    deviations: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """Standard deviations of the rest, of workers and of task types."""
    unevenness: FloatArray | float = 1.0
    """float64 (C,), > 0; factor of each pair's worker to the standard deviation of the rest."""

    def covariance(self) -> FloatArray:
        """Returns float64 (C, C)."""
        rest, worker, task_type = self.deviations
        total = np.full((len(self.worker), len(self.worker)), self.center_sd**2)
        total += worker**2 * (self.worker[:, None] == self.worker)
        total += task_type**2 * (self.task_type[:, None] == self.task_type)
        total[np.diag_indices_from(total)] += (rest * self.unevenness) ** 2
        return total

    def fitted(self, estimate: FloatArray, precision: FloatArray) -> CrossedPrior:
        """Returns the prior whose standard deviations fit what the data say of the pairs.

        Args:
            estimate: float64 (C,); the data's own estimate of each pair.
            precision: float64 (C, C); of these estimates.
        """
        from scipy.optimize import minimize

        noise: FloatArray = np.linalg.pinv(precision, hermitian=True).astype(np.float64)
        workers, place = np.unique(self.worker, return_inverse=True)
        shared = len(_START)

        def prior_at(logs: FloatArray) -> CrossedPrior:
            rest, worker, task_type = np.exp(logs[:shared]).tolist()
            factor = np.exp(logs[shared:])[place]
            return dataclasses.replace(
                self, deviations=(rest, worker, task_type), unevenness=factor
            )

        def loss(logs: FloatArray) -> tuple[float, FloatArray]:
            value, by_pair, by_worker, by_type = prior_at(logs)._surprise(estimate, noise)
            by_factor = np.bincount(place, by_pair)
            variances, factors = np.exp(2.0 * logs[:shared]), logs[shared:]
            value += 0.5 * float(variances.sum()) / _WIDE**2 - float(logs[:shared].sum())
            value += 0.5 * float(factors @ factors) / _UNEVENNESS_SD**2
            slope = np.array([by_factor.sum(), by_worker, by_type]) + variances / _WIDE**2 - 1.0
            return value, np.concatenate([slope, by_factor + factors / _UNEVENNESS_SD**2])

        start = np.concatenate([_START, np.zeros(len(workers))])
        bounds = [_BOUNDS] * shared + [(-_MOST_UNEVEN, _MOST_UNEVEN)] * len(workers)
        return prior_at(minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x)

    def _surprise(
        self, estimate: FloatArray, noise: FloatArray
    ) -> tuple[float, FloatArray, float, float]:
        """Returns minus the log density of estimates (C,) with a noise (C, C), and its derivatives.

        These are by the logarithms of the rest's standard deviation of each pair (C,), of workers
        and of task types.
        """
        total, away = self.covariance() + noise, estimate - self.center
        inverse = np.linalg.inv(total)
        pull = inverse @ away
        value = 0.5 * float(away @ pull) + 0.5 * float(np.linalg.slogdet(total)[1])
        by_entry = inverse - np.outer(pull, pull)
        rest, worker, task_type = self.deviations
        same_worker = self.worker[:, None] == self.worker
        same_type = self.task_type[:, None] == self.task_type
        return (
            value,
            np.diag(by_entry) * (rest * self.unevenness) ** 2,
            worker**2 * float(by_entry[same_worker].sum()),
            task_type**2 * float(by_entry[same_type].sum()),
        )

    def posterior(
        self, estimate: FloatArray, precision: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Returns mean (C,) and covariance (C, C) of the pairs, given normal estimates of them."""
        own = np.linalg.inv(self.covariance())
        covariance: FloatArray = np.linalg.inv(own + precision).astype(np.float64)
        mean: FloatArray = covariance @ (precision @ estimate + own.sum(axis=1) * self.center)
        return mean, covariance
