"""The likelihood of logged successes under the simulator, and its gradient.

The probability of the calls on a subtask is an integral over its hidden difficulty d, by
Gauss-Hermite quadrature, of a product over workers: Phi(margin) for one call and the integral of
repeats.py for several, with margin = skill - spread * d - coupling * (1 - parents' quality). That a
retry follows only a failure, and that the choice of its worker depends on what was seen, changes no
factor: the choices' own probabilities do not depend on the parameters (Rubin, "Inference and
missing data", Biometrika 1976: ignorable).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from orchestai_env.datasets.calibration.log_table import FloatArray
from orchestai_env.datasets.calibration.patterns import Patterns
from orchestai_env.datasets.calibration.repeats import repeat_table

NODES = 20
"""Of the quadrature over difficulty; 40 change no chance by more than 1e-6 (tested)."""
SPREAD, CORRELATION, COUPLING = range(3)
"""Shared parameters: log difficulty spread, logit retry correlation, quality coupling."""
_HALF_LOG_TAU = 0.5 * math.log(2.0 * math.pi)


class Parameters(NamedTuple):
    """What the likelihood depends on."""

    probit: FloatArray
    """float64 (cells,); Phi of it is the success of a first call with perfect parents."""
    shared: FloatArray
    """float64 (3,): see SPREAD, CORRELATION, COUPLING."""

    @property
    def spread(self) -> float:
        """Difficulty spread."""
        return float(np.exp(self.shared[SPREAD]))

    @property
    def correlation(self) -> float:
        """Retry correlation."""
        return float(1.0 / (1.0 + np.exp(-self.shared[CORRELATION])))

    @property
    def coupling(self) -> float:
        """Quality coupling; below 0 where the log speaks against any."""
        return float(self.shared[COUPLING])


class _Factors(NamedTuple):
    log_chance: FloatArray
    by_margin: FloatArray
    by_logit: FloatArray


def log_chances(patterns: Patterns, parameters: Parameters) -> FloatArray:
    """Returns the log probability of each course, float64 (R,)."""
    nodes, weights = difficulty_nodes()
    factors = _factors(patterns, parameters, nodes)
    total = np.add.reduceat(factors.log_chance, patterns.starts, axis=0) + np.log(weights)
    peak = total.max(axis=1)
    logs: FloatArray = peak + np.log(np.exp(total - peak[:, None]).sum(axis=1))
    return logs


def log_likelihood(patterns: Patterns, parameters: Parameters) -> tuple[float, Parameters]:
    """Returns the log-likelihood and its gradient by every parameter."""
    nodes, weights = difficulty_nodes()
    factors = _factors(patterns, parameters, nodes)
    total = np.add.reduceat(factors.log_chance, patterns.starts, axis=0) + np.log(weights)
    peak = total.max(axis=1, keepdims=True)
    share = np.exp(total - peak)
    mass = share.sum(axis=1, keepdims=True)
    value = float(patterns.weight @ (peak + np.log(mass))[:, 0])
    share *= (patterns.weight / mass[:, 0])[:, None]
    weighted = factors.by_margin * share[patterns.row]
    by_skill: FloatArray = np.bincount(
        patterns.cell, weighted.sum(axis=1), len(parameters.probit)
    ).astype(np.float64)
    spread = parameters.spread
    total_sd = math.sqrt(1.0 + spread**2)
    by_spread = float(by_skill @ parameters.probit) * spread / total_sd - float(
        weighted.sum(axis=0) @ nodes
    )
    by_coupling = -float(weighted.sum(axis=1) @ patterns.lost_quality[patterns.row])
    by_logit = float((factors.by_logit * share[patterns.row]).sum())
    return value, Parameters(
        by_skill * total_sd, np.array([by_spread * spread, by_logit, by_coupling])
    )


def difficulty_nodes(count: int = NODES) -> tuple[FloatArray, FloatArray]:
    """Returns nodes and weights of the integral over a standard normal."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    return nodes, weights / weights.sum()


def _factors(patterns: Patterns, parameters: Parameters, nodes: FloatArray) -> _Factors:
    """Returns the log probability of each factor at each node, (F, K), and its derivatives."""
    from scipy.special import log_ndtr

    spread = parameters.spread
    level = parameters.probit[patterns.cell] * math.sqrt(1.0 + spread**2)
    level = level - parameters.coupling * patterns.lost_quality[patterns.row]
    margin = level[:, None] - spread * nodes
    sign = np.where(patterns.successes == 1, 1.0, -1.0)[:, None]
    signed = sign * margin
    log_chance = log_ndtr(signed)
    by_margin = sign * np.exp(-0.5 * signed**2 - _HALF_LOG_TAU - log_chance)
    by_logit = np.zeros_like(margin)
    shapes = patterns.failures * 2 + patterns.successes
    several = patterns.failures + patterns.successes > 1
    for shape in np.unique(shapes[several]).tolist():
        table = repeat_table(shape // 2, shape % 2, float(parameters.shared[CORRELATION]))
        at = several & (shapes == shape)
        log_chance[at], by_margin[at], by_logit[at] = table(margin[at])
    return _Factors(log_chance, by_margin, by_logit)
