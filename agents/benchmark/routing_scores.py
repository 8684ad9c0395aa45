"""Scores of single-call routing: how well an order of queries or a cost-quality trade-off does."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orchestai_env.errors import DataError

FloatArray = npt.NDArray[np.float64]


def gap_recovered(gain: FloatArray, weak: FloatArray, strong: FloatArray) -> float:
    """Returns the average performance gap recovered (APGR) by an order of queries.

    The share c of queries with the largest predicted gain goes to the strong worker; with r(c) the
    mean outcome then, it is the area over c in 0..1 of (r(c) - r(0)) / (r(1) - r(0)): 0.5 for a
    random order, and above 1 is possible. Queries of equal gain go over in random order. The area
    is exact, where the authors' code takes 10 thresholds.

    Args:
        gain: float64 (n,); predicted success of the strong worker less that of the weak one.
        weak: float64 (n,), 0..1: outcomes of the weak worker.
        strong: float64 (n,), 0..1: outcomes of the strong worker.
    Raises:
        DataError: there is no query, or both workers do equally well: there is no gap.
    Source: Ong et al., RouteLLM: Learning to Route LLMs with Preference Data, arXiv 2406.18665.
    """
    gap = float((strong - weak).sum())
    if abs(gap) < 1e-12:
        raise DataError(
            f"routing between two workers: expected a gap between them, got none over {len(gain)} "
            "queries; choose other workers or queries"
        )
    order = np.argsort(-gain, kind="stable")
    starts = np.flatnonzero(np.diff(-gain[order], prepend=-np.inf))
    recovered = np.add.reduceat((strong - weak)[order], starts).cumsum() / gap
    share = np.append(starts[1:], len(gain)) / len(gain)
    return float(np.trapezoid(np.append(0.0, recovered), np.append(0.0, share)))


def improvement_in_quality(
    cost: FloatArray, quality: FloatArray, *, least: float, most: float
) -> float:
    """Returns the average improvement in quality (AIQ) of a router over a range of costs.

    It is the area under the router's cost-quality curve, divided by the range: the mean quality
    over budgets. The curve is the least concave, non-decreasing line above the points: a router
    that mixes two settings at random reaches what lies between them, and one that may spend more
    need not. The curve begins at no quality for no cost (chosen): with less than its cheapest point
    takes, a router leaves queries unanswered.

    Args:
        cost: float64 (k,), >= 0 [USD]: mean cost of the router at each of its settings.
        quality: float64 (k,), 0..1: mean outcome at each.
        least: cost where the range begins.
        most: cost where it ends.
    Raises:
        DataError: there is no setting, or the range is empty.
    Source: Hu et al., RouterBench: A Benchmark for Multi-LLM Routing System, arXiv 2403.12031,
        (non-decreasing convex hull, AIQ); the range is to be the same for all routers.
    """
    if not len(cost) or most <= least:
        raise DataError(
            f"quality over cost: expected points and a range of costs, got {len(cost)} points and "
            f"the range {least:g}..{most:g}; compare workers of different prices"
        )
    corners = quality_hull(cost, quality)
    inner = corners[:, 0][(corners[:, 0] > least) & (corners[:, 0] < most)]
    grid = np.concatenate([[least], inner, [most]])
    height = np.interp(grid, corners[:, 0], corners[:, 1])
    return float(np.trapezoid(height, grid) / (most - least))


def quality_hull(cost: FloatArray, quality: FloatArray) -> FloatArray:
    """Returns float64 (c, 2): corners (cost, quality) of the non-decreasing hull, from (0, 0) on.

    Args:
        cost: float64 (k,), >= 0.
        quality: float64 (k,), >= 0.
    """
    corners = [(0.0, 0.0)]
    for x, y in sorted(zip(cost.tolist(), quality.tolist(), strict=True)):
        if y <= corners[-1][1]:
            continue
        while len(corners) > 1 and _turns_left(corners[-2], corners[-1], (x, y)):
            corners.pop()
        if corners[-1][0] == x:  # for the same cost the better one
            corners.pop()
        corners.append((x, y))
    return np.array(corners)


def _turns_left(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    """Returns whether b lies on or below the line from a to c."""
    return (b[0] - a[0]) * (c[1] - a[1]) >= (c[0] - a[0]) * (b[1] - a[1])
