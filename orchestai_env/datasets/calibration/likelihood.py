"""The likelihood of logged successes under the simulator, and its gradient.

The probability of the calls on a subtask is an integral over its hidden difficulty d and character
c, by Gauss-Hermite quadrature, of a product over workers: Phi(margin) for one call and the integral
of repeats.py for several, with margin = skill - spread * d - kinship * c - coupling * (1 - parents'
quality). A share of the subtasks is unsolvable: there every call fails. That a retry follows only a
failure, and that the choice of its worker depends on what was seen, changes no factor: the choices'
own probabilities do not depend on the parameters (Rubin, "Inference and missing data", Biometrika
1976: ignorable).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from orchestai_env.datasets.calibration.log_table import FloatArray, IntArray
from orchestai_env.datasets.calibration.patterns import Patterns
from orchestai_env.datasets.calibration.repeats import repeat_table

NODES = (20, 5)
"""Of the quadrature over difficulty and character; more change no chance by more than 1e-5 at a
kinship of 0.5 (tested). Where no worker has a kinship, one node of character is enough."""
CORRELATION, COUPLING, UNSOLVABLE = range(3)
"""Shared parameters: logit retry correlation, quality coupling, unsolvable share."""
_HALF_LOG_TAU = 0.5 * math.log(2.0 * math.pi)
_DEEPEST = 600.0
_FARTHEST = 100.0  # margins are cut there, where no chance differs from 0 or 1 any more


class Parameters(NamedTuple):
    """What the likelihood depends on."""

    probit: FloatArray
    """float64 (cells,); Phi of it is the success of a first call with perfect parents on a subtask
    that is not unsolvable."""
    log_spread: FloatArray
    """float64 (cells,); logarithm of the difficulty spread."""
    kinship: FloatArray
    """float64 (cells,)."""
    shared: FloatArray
    """float64 (3,): see CORRELATION, COUPLING, UNSOLVABLE."""

    @property
    def coupling(self) -> float:
        """Quality coupling; below 0 where the log speaks against any."""
        return float(self.shared[COUPLING])

    @property
    def unsolvable(self) -> float:
        """Unsolvable share, 0..1."""
        return float(self.shared[UNSOLVABLE])


class Nodes(NamedTuple):
    """K points of hidden difficulty and character; the weights sum to 1."""

    difficulty: FloatArray
    character: FloatArray
    weight: FloatArray


class Courses(NamedTuple):
    """What is known of each course once it is seen."""

    log_chance: FloatArray
    """float64 (R,)."""
    at_node: FloatArray
    """float64 (R, K); chance of each node and that the subtask is solvable."""
    unsolvable: FloatArray
    """float64 (R,); chance that the subtask is unsolvable; `at_node` and it sum to 1."""
    solvable_log_chance: FloatArray
    """float64 (R,); of the course on a subtask that is not unsolvable."""


class _Factors(NamedTuple):
    """Of each kind of factor at each node, float64 (G, K)."""

    log_chance: FloatArray
    by_margin: FloatArray
    by_logit: FloatArray


def log_chances(patterns: Patterns, parameters: Parameters) -> FloatArray:
    """Returns the log probability of each course, float64 (R,)."""
    nodes = hidden_nodes(parameters)
    return _courses(patterns, parameters, nodes, _factors(patterns, parameters, nodes)).log_chance


def seen_courses(patterns: Patterns, parameters: Parameters) -> tuple[Courses, Nodes]:
    """Returns what each course tells of its subtask, at the nodes of the quadrature."""
    nodes = hidden_nodes(parameters)
    factors = _factors(patterns, parameters, nodes)
    return _courses(patterns, parameters, nodes, factors), nodes


def log_likelihood(patterns: Patterns, parameters: Parameters) -> tuple[float, Parameters]:
    """Returns the log-likelihood and its gradient by every parameter."""
    nodes = hidden_nodes(parameters)
    factors = _factors(patterns, parameters, nodes)
    courses = _courses(patterns, parameters, nodes, factors)
    kinds = patterns.kinds
    share = kinds.in_course.T @ (courses.at_node * patterns.weight[:, None])
    weighted = factors.by_margin * share

    def by_cell(values: FloatArray) -> FloatArray:
        sums = np.bincount(kinds.cell, values, len(parameters.probit))
        return sums.astype(np.float64)

    by_skill = by_cell(weighted.sum(axis=1))
    spread, total_sd = np.exp(parameters.log_spread), _total_sd(parameters)
    stretch = by_skill * parameters.probit / total_sd
    by_spread = stretch * spread - by_cell(weighted @ nodes.difficulty)
    by_kinship = stretch * parameters.kinship - by_cell(weighted @ nodes.character)
    by_coupling = -float(weighted.sum(axis=1) @ kinds.lost_quality)
    by_logit = float((factors.by_logit * share).sum())
    # Each course's chance is (1 - u) * chance if solvable + u * [no call succeeded].
    solvable = np.exp(courses.solvable_log_chance - courses.log_chance)
    failed = patterns.all_failed * np.exp(np.minimum(-courses.log_chance, _DEEPEST))
    by_unsolvable = float(patterns.weight @ (failed - solvable))
    return float(patterns.weight @ courses.log_chance), Parameters(
        by_skill * total_sd,
        by_spread * spread,
        by_kinship,
        np.array([by_logit, by_coupling, by_unsolvable]),
    )


def hidden_nodes(parameters: Parameters, counts: tuple[int, int] = NODES) -> Nodes:
    """Returns the nodes of the integral over difficulty and character."""
    difficulty, weight = _hermite(counts[0])
    if not parameters.kinship.any():
        return Nodes(difficulty, np.zeros(len(difficulty)), weight)
    character, other = _hermite(counts[1])
    return Nodes(
        np.repeat(difficulty, len(character)),
        np.tile(character, len(difficulty)),
        np.outer(weight, other).ravel(),
    )


def _hermite(count: int) -> tuple[FloatArray, FloatArray]:
    """Returns nodes and weights of the integral over a standard normal."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    return nodes, weights / weights.sum()


def _total_sd(parameters: Parameters) -> FloatArray:
    """Returns the standard deviation of a margin, float64 (cells,)."""
    total: FloatArray = np.sqrt(1.0 + np.exp(2.0 * parameters.log_spread) + parameters.kinship**2)
    return total


def margins(cell: IntArray, lost: FloatArray, parameters: Parameters, nodes: Nodes) -> FloatArray:
    """Returns the margins of calls at each node, float64 (F, K).

    Args:
        cell: int64 (F,); pair of each call.
        lost: float64 (F,); one minus the parents' quality.
        parameters: of the simulator.
        nodes: K of them.
    """
    level = (parameters.probit * _total_sd(parameters))[cell] - parameters.coupling * lost
    spread, kinship = np.exp(parameters.log_spread)[cell], parameters.kinship[cell]
    margin = level[:, None] - spread[:, None] * nodes.difficulty
    if nodes.character.any():
        margin -= kinship[:, None] * nodes.character
    return margin


def _courses(
    patterns: Patterns, parameters: Parameters, nodes: Nodes, factors: _Factors
) -> Courses:
    """Integrates over the nodes, and weighs them by what each course shows."""
    total = patterns.kinds.in_course @ factors.log_chance + np.log(nodes.weight)
    peak = total.max(axis=1, keepdims=True)
    at_node = np.exp(total - peak)
    mass = at_node.sum(axis=1, keepdims=True)
    solvable = (peak + np.log(mass))[:, 0]
    share = parameters.unsolvable
    odds = share / (1.0 - share) * patterns.all_failed * np.exp(np.minimum(-solvable, _DEEPEST))
    at_node *= 1.0 / (mass * (1.0 + odds[:, None]))
    return Courses(
        log_chance=solvable + math.log1p(-share) + np.log1p(odds),
        at_node=at_node,
        unsolvable=odds / (1.0 + odds),
        solvable_log_chance=solvable,
    )


def _factors(patterns: Patterns, parameters: Parameters, nodes: Nodes) -> _Factors:
    """Returns the log probability of each kind of factor at each node, and its derivatives."""
    from scipy.special import log_ndtr

    kinds = patterns.kinds
    margin = margins(kinds.cell, kinds.lost_quality, parameters, nodes)
    sign = np.where(kinds.successes == 1, 1.0, -1.0)[:, None]
    signed = np.clip(sign * margin, -_FARTHEST, _FARTHEST)
    log_chance = log_ndtr(signed)
    by_margin = sign * np.exp(-0.5 * signed**2 - _HALF_LOG_TAU - log_chance)
    by_logit = np.zeros_like(margin)
    shapes = kinds.failures * 2 + kinds.successes
    several = kinds.failures + kinds.successes > 1
    for shape in np.unique(shapes[several]).tolist():
        table = repeat_table(shape // 2, shape % 2, float(parameters.shared[CORRELATION]))
        at = several & (shapes == shape)
        log_chance[at], by_margin[at], by_logit[at] = table(margin[at])
    return _Factors(log_chance, by_margin, by_logit)
