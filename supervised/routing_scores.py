"""Scores of routing between two workers, a strong and a weak one, by predicted success."""

from __future__ import annotations

import numpy as np

from orchestai_env.errors import DataError
from supervised.success_predictor import FloatArray


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
