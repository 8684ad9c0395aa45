"""What is believed of the parameters of success that pairs share, before a log is read."""

from __future__ import annotations

import math

import numpy as np

from orchestai_env.datasets.calibration.log_table import FloatArray
from orchestai_env.outcomes.simulated import SimulationSettings

SPREAD, CORRELATION, COUPLING, UNSOLVABLE = range(4)
"""Log of the shared difficulty spread, logit retry correlation, quality coupling, unsolvable
share."""
_DEFAULTS = SimulationSettings()
START = np.array(
    [
        math.log(_DEFAULTS.difficulty_spread),
        math.log(_DEFAULTS.retry_correlation / (1.0 - _DEFAULTS.retry_correlation)),
        _DEFAULTS.quality_coupling,
        _DEFAULTS.unsolvable_share,
    ]
)
"""The documented defaults, which are kept where the log cannot tell."""
LOWEST = np.array([math.log(0.02), -12.0, -np.inf, 0.0])
HIGHEST = np.array([math.log(10.0), 12.0, np.inf, 0.5])
"""Bounds of the fit. A logit of 12 is a correlation of 0.999994: recorded outcomes that a retry
repeats come to it."""
OWN_SPREAD_SD = 0.3
"""Prior standard deviation of the logarithm of a pair's spread around the shared one; chosen on the
training queries of zeroeval, where 0.5 fits as well."""
KINSHIP_SD = 0.5
"""Prior standard deviation of a worker's kinship; chosen."""
UNSOLVABLE_RATE = 50.0
"""Of the exponential prior of the unsolvable share, whose mean and standard deviation are 0.02, as
of wrong labels in benchmarks; chosen."""
_SPREAD_SD = 2.0  # half-normal, so that no spread at all is likely too; chosen
_LOGIT_SD = 4.0  # nearly flat: independence and certainty are within its reach; chosen


def shared_penalty(point: FloatArray) -> tuple[float, FloatArray, FloatArray]:
    """Returns minus the log density of the shared parameters, its gradient and second derivatives.

    Args:
        point: float64 (4,); see SPREAD and the following.
    """
    variance = math.exp(2.0 * float(point[SPREAD])) / _SPREAD_SD**2
    logit, coupling = point[CORRELATION] / _LOGIT_SD, point[COUPLING] - START[COUPLING]
    value = 0.5 * (variance + logit**2 + coupling**2) + UNSOLVABLE_RATE * point[UNSOLVABLE]
    gradient = np.array([variance, logit / _LOGIT_SD, coupling, UNSOLVABLE_RATE])
    return float(value), gradient, np.array([2.0 * variance, 1.0 / _LOGIT_SD**2, 1.0, 0.0])
