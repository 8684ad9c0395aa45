"""Repeats: the chance that one worker's calls on one subtask go as they did, given its margin."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_MARGIN = np.linspace(-8.0, 8.0, 129)
"""Margins of the tables; beyond them a chance is 0 or 1 to 15 digits."""
_NODES = np.linspace(-6.0, 6.0, 97)
"""The trapezoidal rule on an integrand that falls off like a Gaussian converges exponentially
(Goodwin, "The evaluation of integrals of the form ...", 1949)."""
_STEP = 1e-4


class RepeatTable:
    """log P(n failures, then perhaps a success) of one worker on one subtask, by its margin M.

    A call succeeds when M + sqrt(r) * a + sqrt(1 - r) * f is positive, with a the same in all of
    them. So all n fail when sqrt(r) * a + sqrt(1 - r) * max(f_1..f_n) < -M, whose chance is an
    integral over the largest of n standard normals of something smooth, also as r nears 1.
    """

    def __init__(self, failures: int, successes: int, logit_correlation: float) -> None:
        """Tabulates one shape.

        Args:
            failures: n >= 1.
            successes: 0 or 1.
            logit_correlation: log(r / (1 - r)).
        """
        from scipy.interpolate import CubicSpline

        low, here, high = (
            np.log(_chance(failures, successes, logit_correlation + step))
            for step in (-_STEP, 0.0, _STEP)
        )
        self._log: Any = CubicSpline(_MARGIN, here)
        self._by_logit: Any = CubicSpline(_MARGIN, (high - low) / (2.0 * _STEP))

    def __call__(self, margin: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Returns log P, its derivative by the margin and by logit r, at margins of any shape."""
        inside = np.clip(margin, _MARGIN[0], _MARGIN[-1])
        return self._log(inside), self._log(inside, 1), self._by_logit(inside)


def _chance(failures: int, successes: int, logit: float) -> FloatArray:
    """Returns P at the margins of the table, float64 (129,), > 0."""
    from scipy.special import expit, ndtr

    kept, fresh = math.sqrt(expit(logit)), math.sqrt(expit(-logit))
    below = ndtr((-_MARGIN[:, None] - fresh * _NODES) / kept)
    if not successes:
        return _positive(below @ _largest(failures))
    above = ndtr((_MARGIN[:, None] + fresh * _NODES) / kept)
    change = _largest(failures) - _largest(failures + 1)
    # Of the two equal forms the one without cancellation.
    return _positive(np.where(_MARGIN < 0.0, above @ -change, below @ change))


def _positive(chance: FloatArray) -> FloatArray:
    """Returns chances that have a logarithm."""
    return np.maximum(chance, 1e-300)


@functools.lru_cache(maxsize=32)
def repeat_table(failures: int, successes: int, logit_correlation: float) -> RepeatTable:
    """Returns the table of one shape; the last ones are kept, as they are asked for again."""
    return RepeatTable(failures, successes, logit_correlation)


@functools.cache
def _largest(count: int) -> FloatArray:
    """Returns weights of the nodes for the largest of `count` standard normals; they sum to 1."""
    from scipy.special import ndtr

    weight = np.exp(-0.5 * _NODES**2) * ndtr(_NODES) ** (count - 1)
    normalised: FloatArray = weight / weight.sum()
    return normalised
