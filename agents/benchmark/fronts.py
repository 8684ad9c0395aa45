"""Pareto fronts over success, cost and makespan, and how much of the possible they reach.

Source: Zitzler and Thiele, Multiobjective Evolutionary Algorithms: A Comparative Case Study and the
Strength Pareto Approach, IEEE TEC 3(4), 1999 (hypervolume); computed by the package moocore.
"""

from __future__ import annotations

import moocore
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
_IDEAL = np.array([1.0, 0.0, 0.0])
_MAXIMISE = [True, False, False]


def hypervolume(points: FloatArray, reference: FloatArray) -> float:
    """Returns the share of the box from the reference to the ideal that the points dominate.

    The ideal is success 1 for 0 USD in 0 s, so the result has no unit. An axis on which the
    reference is as good as the ideal (say, workers that cost nothing) is left out.

    Args:
        points: float64 (m, 3): success rate (0..1), cost [USD] and makespan [s] of each policy.
        reference: float64 (3,): the point that counts as worst; what is not better in every
            direction adds nothing.
    Returns:
        0..1; 0 where there is no point, or no axis.
    """
    axes = reference != _IDEAL
    if not len(points) or not axes.any():
        return 0.0
    losses = (points - _IDEAL)[:, axes] / (reference - _IDEAL)[axes]
    return float(moocore.hypervolume(losses, 1.0))


def pareto_mask(points: FloatArray) -> npt.NDArray[np.bool_]:
    """Returns which points no other one dominates; of equal points all count.

    Args:
        points: float64 (m, 3): success rate, cost [USD] and makespan [s].
    Returns:
        bool (m,).
    """
    if not len(points):
        return np.zeros(0, bool)
    mask: npt.NDArray[np.bool_] = moocore.is_nondominated(
        points, maximise=_MAXIMISE, keep_weakly=True
    )
    return mask


def reference_point(points: FloatArray) -> FloatArray:
    """Returns success 0 with the largest cost and makespan among the points, as float64 (3,)."""
    return np.array([0.0, *points[:, 1:].max(axis=0)])
