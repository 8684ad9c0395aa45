"""What an agent may know of calls before they are made: odds and means, never an outcome.

Of a simulated source that is the parameters of its pool. Of a recorded one it is the statistics of
the training split and the success prediction per query, put into the form of a simulated source.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai_env.compiled import inlined
from orchestai_env.dataset import Dataset
from orchestai_env.outcomes.simulated import SimulationSettings
from orchestai_env.outcomes.tables import SIMULATED, OutcomeTables, empty_tables
from orchestai_env.state import (
    R_COST,
    R_LATENCY,
    R_SHAPING,
    R_SUCCESS,
    EpisodeState,
    Problem,
)

_NORMAL = NormalDist()
_LEVELS = 64  # chosen: levels of a quadrature over the normal distribution, good to a percent
_MOST_FAILURES = 8  # chosen: more failures of a worker on a subtask count as 7
_SUREST = 0.999  # chosen: predictions and means are kept this far from certainty


class Odds(NamedTuple):
    """What is known of calls. B rows of `success` and `skill`, T task types, W workers."""

    by_query: npt.NDArray[np.int64]
    """int64 (1,); 1 = rows of `success` and `skill` are queries, 0 = task types."""
    success: npt.NDArray[np.float64]
    """float64 (B, W, F), 0..1; success of a call after 0.. failures of the worker on the subtask;
    failures of other workers are left out."""
    skill: npt.NDArray[np.float64]
    """float64 (B, W); latent skill, see outcomes/simulated.py."""
    cost_usd: npt.NDArray[np.float64]
    """float64 (T, W) [USD]; mean."""
    latency_ms: npt.NDArray[np.float64]
    """float64 (T, W) [ms]; mean."""
    tables: OutcomeTables
    """Simulated source by task type; its skill is not read."""


def build_odds(dataset: Dataset) -> Odds:
    """Collects what an agent may know of the calls of a data set.

    Of recorded outcomes one thing is read: how many trials a pair has. With one, a retry is
    believed to repeat the call; with more, it is believed to be correlated as in SimulationSettings
    by default, from where the spread of hidden difficulty and of latencies is taken too.
    """
    known = dataset.statistics
    is_simulated = bool(dataset.outcomes.kind[0] == SIMULATED)
    tables = dataset.outcomes if is_simulated else _believed_tables(dataset)
    by_query = not is_simulated and known.predicted_success is not None
    skill = tables.skill
    if not is_simulated:
        chance = known.success if known.predicted_success is None else known.predicted_success
        skill = _latent_skill(chance.astype(np.float64), SimulationSettings().difficulty_spread)
    return Odds(
        by_query=np.array([int(by_query)]),
        success=_success_after_failures(skill, tables),
        skill=skill,
        cost_usd=known.cost_usd,
        latency_ms=known.latency_ms,
        tables=tables,
    )


def _believed_tables(dataset: Dataset) -> OutcomeTables:
    """Returns a simulated source with the means that are known of recorded calls."""
    known, assumed = dataset.statistics, SimulationSettings()
    repeats = dataset.outcomes.num_trials.max(initial=0) <= 1
    kept = 1.0 if repeats else assumed.retry_correlation
    spread = np.exp(assumed.token_spread * _quantiles(_LEVELS))
    latency_us = 1000.0 * known.latency_ms[..., None] * (spread / spread.mean())
    num_workers, pairs = len(dataset.pool), known.cost_usd.shape
    tables: dict[str, Any] = empty_tables() | {
        "kind": np.array([SIMULATED]),
        "input_cost_usd": np.ascontiguousarray(known.cost_usd),
        "output_cost_usd": np.zeros(num_workers),
        "output_tokens": np.round(latency_us).astype(np.int64),  # a token a microsecond
        "difficulty": np.stack([np.full(pairs, assumed.difficulty_spread), np.zeros(pairs)]),
        "token_weight": np.stack([np.zeros(pairs), np.zeros(pairs), np.ones(pairs)]),
        "first_token_us": np.zeros(num_workers, np.int64),
        "token_ns": np.full(num_workers, 1000),
        "simulation": np.array(
            [assumed.unsolvable_share, math.sqrt(kept), math.sqrt(1.0 - kept), 0.0, 0.0]
        ),
        "normal": _quantiles(4096),
    }
    return OutcomeTables(**tables)


def _quantiles(count: int) -> npt.NDArray[np.float64]:
    """Returns float64 (count,): equally likely levels of the standard normal distribution."""
    return np.array([_NORMAL.inv_cdf((i + 0.5) / count) for i in range(count)])


def _latent_skill(
    chance: npt.NDArray[np.float64], difficulty_spread: float
) -> npt.NDArray[np.float64]:
    """Returns the skill under which a first call succeeds by this chance, both (B, W)."""
    spread = math.sqrt(1.0 + difficulty_spread**2)
    known = np.clip(chance, 1.0 - _SUREST, _SUREST)
    return np.array([[spread * _NORMAL.inv_cdf(p) for p in row] for row in known.tolist()])


def _success_after_failures(
    skill: npt.NDArray[np.float64], tables: OutcomeTables
) -> npt.NDArray[np.float64]:
    """Returns float64 (B, W, F): success of a worker's next call after 0.. failed ones.

    Difficulty, character and the part of the noise that stays make one normal variable; the chance
    of success given its value is averaged over its distribution, weighted by the chance of the
    failures. On an unsolvable subtask every call fails.
    """
    unsolvable, kept, fresh = (float(number) for number in tables.simulation[:3])
    shared_sd = np.sqrt((tables.difficulty**2).sum(axis=0) + kept**2)
    if len(shared_sd) != len(skill):  # rows are queries; believed tables are the same for all types
        shared_sd = shared_sd[:1]
    margin = skill[..., None] + shared_sd[..., None] * _quantiles(_LEVELS)
    if fresh > 0.0:
        wins = np.searchsorted(tables.normal, margin / fresh) / len(tables.normal)
    else:
        wins = (margin > 0.0).astype(np.float64)
    weight, success = np.full_like(wins, 1.0 - unsolvable), []
    for _ in range(_MOST_FAILURES):
        total = weight.sum(axis=-1) + unsolvable * _LEVELS
        success.append((wins * weight).sum(axis=-1) / np.maximum(total, 1e-300))
        weight = weight * (1.0 - wins)
    return np.ascontiguousarray(np.stack(success, axis=-1))


@inlined
def odds_row(problem: Problem, odds: Odds, k: int, i: int) -> int:
    """Returns the row of `success` and `skill` of subtask i of workflow k."""
    if odds.by_query[0] == 1:
        return int(problem.query[k, i])
    return int(problem.task_type[k, i])


@inlined
def expected_value(
    problem: Problem, odds: Odds, state: EpisodeState, r: int, k: int, i: int, w: int
) -> float:
    """Returns what a call of worker w on subtask i of workflow k is expected to earn, by itself.

    Success counts as if it paid the workflow's success at once; cost and latency are charged in
    full.

    Args:
        problem: holds workflow k.
        odds: what is known of calls.
        state: row r holds weights, prices, slowness and failures.
        r: row.
        k: workflow; given, because a planner's rows number theirs differently.
        i: subtask.
        w: worker.
    """
    weights, t = state.weights[r], problem.task_type[k, i]
    chances = odds.success[odds_row(problem, odds, k, i), w]
    chance = chances[min(int(state.failures[r, i, w]), len(chances) - 1)]
    return float(
        chance * (weights[R_SUCCESS] + weights[R_SHAPING])
        - weights[R_COST] * odds.cost_usd[t, w] * state.price[r, w]
        - weights[R_LATENCY] * odds.latency_ms[t, w] * state.slowness[r, w]
    )
