"""Shrinkage of pairs of task type and worker towards the means of both: empirical Bayes.

The prior of a pair's parameter is normal with the covariance of crossed random effects, mean +
worker + task type + rest. Its three standard deviations maximise the marginal likelihood of what
the data say (Morris, "Parametric empirical Bayes inference", JASA 1983), times a Gamma(2) density
each, which keeps them from 0 where there are few pairs (Chung et al., "A nondegenerate penalized
likelihood estimator for variance parameters in multilevel models", Psychometrika 2013).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from orchestai_env.datasets.calibration.log_table import FloatArray, IntArray

_START = np.log([0.4, 0.3, 0.3])
_BOUNDS = (np.log(0.03), np.log(3.0))
_WIDE = 1.0
"""Scale of the density beside Gamma(2) that keeps the deviations from infinity; chosen."""


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

    def covariance(self, deviations: FloatArray | None = None) -> FloatArray:
        """Returns float64 (C, C), for these standard deviations or the record's own."""
        rest, worker, task_type = self.deviations if deviations is None else deviations
        total = np.full((len(self.worker), len(self.worker)), self.center_sd**2)
        total += worker**2 * (self.worker[:, None] == self.worker)
        total += task_type**2 * (self.task_type[:, None] == self.task_type)
        total[np.diag_indices_from(total)] += rest**2
        return total

    def fitted(self, estimate: FloatArray, precision: FloatArray) -> CrossedPrior:
        """Returns the prior whose standard deviations fit what the data say of the pairs.

        Args:
            estimate: float64 (C,); the data's own estimate of each pair.
            precision: float64 (C, C); of these estimates.
        """
        from scipy.optimize import minimize

        noise = np.linalg.pinv(precision, hermitian=True)

        def loss(log_deviations: FloatArray) -> float:
            deviations = np.exp(log_deviations)
            total = self.covariance(deviations) + noise
            factor = np.linalg.cholesky(total)
            white = np.linalg.solve(factor, estimate - self.center)
            fit = 0.5 * float(white @ white) + float(np.log(np.diag(factor)).sum())
            prior = float(log_deviations.sum()) - 0.5 * float((deviations**2).sum()) / _WIDE**2
            return fit - prior

        start = np.array(_START)
        found = minimize(loss, start, method="L-BFGS-B", bounds=[_BOUNDS] * len(start))
        rest, worker, task_type = np.exp(found.x).tolist()
        return dataclasses.replace(self, deviations=(rest, worker, task_type))

    def posterior(
        self, estimate: FloatArray, precision: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Returns mean (C,) and covariance (C, C) of the pairs, given normal estimates of them."""
        own = np.linalg.inv(self.covariance())
        covariance: FloatArray = np.linalg.inv(own + precision).astype(np.float64)
        mean: FloatArray = covariance @ (precision @ estimate + own.sum(axis=1) * self.center)
        return mean, covariance
