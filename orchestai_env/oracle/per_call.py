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
from orchestai_env.outcomes.draw import Call
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
from orchestai_env.variation import episode_outcome


class CallOutcomes(NamedTuple):
    """Outcomes of taking each action now, for m rows; masked ones hold failure, 0, 0."""

    success: npt.NDArray[np.bool_]
    """bool (m, W)."""
    cost_usd: npt.NDArray[np.float64]
    """float64 (m, W) [USD]; at the prices of the episode."""
    latency_ms: npt.NDArray[np.float64]
    """float64 (m, W) [ms]."""
    allowed: npt.NDArray[np.bool_]
    """bool (m, W); False where masked."""


def peek(episodes: Episodes, rows: npt.NDArray[np.int64]) -> CallOutcomes:
    """Returns what each action would give on the current subtask of each row.

    The latency is that of a call which starts now; one that has to wait may meet another load.

    Args:
        episodes: running episodes; nothing in them changes.
        rows: int64 (m,).
    """
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
        outcomes: m rows of W actions.
        weights: float64 (4,) or (m, 4), as `EpisodeState.weights`; success, per USD, per ms, per
            subtask.
    Returns:
        float64 (m, W); -inf where masked. Its argmax is the best action by per-call hindsight.
    """
    per_success, per_usd, per_ms, per_subtask = np.expand_dims(weights, -1).swapaxes(0, -2)
    value = (
        (per_success + per_subtask) * outcomes.success
        - per_usd * outcomes.cost_usd
        - per_ms * outcomes.latency_ms
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
        for a in range(state.mask.shape[1]):
            if state.mask[r, a] == 0:
                continue
            w = state.roster[r, a]
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
            wins, _, usd, us = episode_outcome(problem, state, r, call)
            success[index, a] = 1.0 if wins else 0.0
            cost[index, a] = usd
            latency[index, a] = float(us) / 1000.0
