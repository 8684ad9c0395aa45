"""What the agent cannot know: the outcome of every worker on the current subtask, before the call.

Source of expert labels and of the per-call hindsight bound; never part of an observation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai_env.compiled import compiled
from orchestai_env.dynamics import parent_quality
from orchestai_env.episodes import Episodes
from orchestai_env.outcomes.draw import Call, draw_outcome
from orchestai_env.state import (
    ATTEMPTS,
    CURRENT,
    KEY,
    NONE,
    NUMBER,
    WORKFLOW,
    EpisodeState,
    Problem,
)


class CallOutcomes(NamedTuple):
    """Outcomes of calling each worker now, for m rows; masked workers hold failure, 0, 0."""

    success: npt.NDArray[np.bool_]
    """bool (m, W)."""
    cost_usd: npt.NDArray[np.float64]
    """float64 (m, W) [USD]."""
    latency_ms: npt.NDArray[np.float64]
    """float64 (m, W) [ms]."""
    allowed: npt.NDArray[np.bool_]
    """bool (m, W); False where masked."""


def peek(episodes: Episodes, rows: npt.NDArray[np.int64]) -> CallOutcomes:
    """Returns what calling each worker on the current subtask of each row would give."""
    shape = (len(rows), len(episodes.dataset.pool))
    success, cost, latency = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    _peek_rows(episodes.problem, episodes.state, rows, success, cost, latency)
    allowed = episodes.state.mask[rows] > 0
    return CallOutcomes(success > 0, cost, latency, allowed)


def hindsight_utility(outcomes: CallOutcomes, weights: npt.NDArray[np.float64]) -> np.ndarray:
    """Returns what each call is worth in hindsight: success less its weighted cost and latency.

    Success counts as `success_weight`: with "abort", a subtask that fails for good loses it. The
    latency is charged in full, as if the subtask were on the critical path.

    Args:
        outcomes: m rows of W workers.
        weights: float64 (4,); success, per USD, per ms, per subtask.
    Returns:
        float64 (m, W); -inf where masked. Its argmax is the best worker by per-call hindsight.
    """
    value = (
        (weights[0] + weights[3]) * outcomes.success
        - weights[1] * outcomes.cost_usd
        - weights[2] * outcomes.latency_ms
    )
    return np.where(outcomes.allowed, value, -np.inf)


@compiled
def _peek_rows(
    problem: Problem,
    state: EpisodeState,
    rows: npt.NDArray[np.int64],
    success: npt.NDArray[np.float64],
    cost: npt.NDArray[np.float64],
    latency: npt.NDArray[np.float64],
) -> None:
    for index in range(len(rows)):
        r = rows[index]
        episode = state.episode[r]
        k, i = episode[WORKFLOW], episode[CURRENT]
        if i == NONE:
            continue
        for w in range(state.mask.shape[1]):
            if state.mask[r, w] == 0:
                continue
            call = Call(
                episode[KEY],
                episode[NUMBER],
                i,
                problem.task_type[k, i],
                problem.query[k, i],
                w,
                state.subtask[r, i, ATTEMPTS],
                parent_quality(problem, state, r, i),
                state.busy[r, w],
            )
            wins, _, usd, us = draw_outcome(problem.outcomes, call)
            success[index, w] = 1.0 if wins else 0.0
            cost[index, w] = usd
            latency[index, w] = float(us) / 1000.0
