"""What may change from episode to episode: reward weights, workers, their prices and latencies."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orchestai_env.compiled import inlined
from orchestai_env.counter_rng import below, philox
from orchestai_env.exact import product
from orchestai_env.outcomes.draw import Call, draw_outcome, is_available
from orchestai_env.state import (
    KEY,
    LATENCY_SPREAD,
    MIN_WORKERS,
    NONE,
    NUMBER,
    PREFERENCE_SPREAD,
    PRICE_SPREAD,
    R_COST,
    R_LATENCY,
    SHUFFLE,
    VARIES,
    WORKFLOW,
    EpisodeState,
    Problem,
)

# Streams of random words, after those of outcomes/draw.py.
_PREFERENCE = 5 << 16
_PRICE = 6 << 16
_SUBSET = 7 << 16
_ORDER = 8 << 16
_SLOWNESS = 9 << 16

_FACTORS = 256
_LONGEST_US = 1e15  # chosen: 31 years; the clock holds thousands of them


def spread_factors(spread: float) -> npt.NDArray[np.float64]:
    """Returns float64 (256,): equally likely factors, log-uniform over 1/spread..spread."""
    place = (np.arange(_FACTORS) + 0.5) / _FACTORS
    factors: npt.NDArray[np.float64] = float(spread) ** (2.0 * place - 1.0)
    return factors


@inlined
def draw_variation(problem: Problem, state: EpisodeState, r: int) -> None:
    """Sets weights, roster, prices and slowness of row r's new episode."""
    for term in range(4):
        state.weights[r, term] = problem.weights[term]
    for w in range(state.roster.shape[1]):
        state.roster[r, w] = w
        state.price[r, w] = 1.0
        state.slowness[r, w] = 1.0
    if problem.whole[VARIES] == 0:
        return
    key, number = state.episode[r, KEY], state.episode[r, NUMBER]
    words = philox(key, number, 0, 0, _PREFERENCE)
    preference = problem.spread[PREFERENCE_SPREAD]
    state.weights[r, R_COST] *= preference[below(words[0], _FACTORS)]
    state.weights[r, R_LATENCY] *= preference[below(words[1], _FACTORS)]
    for w in range(state.price.shape[1]):
        word = philox(key, number, w, 0, _PRICE)[0]
        state.price[r, w] = problem.spread[PRICE_SPREAD, below(word, _FACTORS)]
        word = philox(key, number, w, 0, _SLOWNESS)[0]
        state.slowness[r, w] = problem.spread[LATENCY_SPREAD, below(word, _FACTORS)]
    _draw_roster(problem, state, r)


@inlined
def episode_outcome(
    problem: Problem, state: EpisodeState, r: int, call: Call
) -> tuple[bool, float, float, int]:
    """Returns success, quality, cost [USD] and latency [us] of a call, as they are in row r."""
    success, quality, cost_usd, latency_us = draw_outcome(problem.outcomes, call)
    w = call.worker
    cost_usd = product(cost_usd, state.price[r, w])
    return success, quality, cost_usd, slowed(latency_us, state.slowness[r, w])


@inlined
def slowed(latency_us: int, slowness: float) -> int:
    """Returns a latency [us] times the worker's factor, to the nearest microsecond."""
    if slowness == 1.0:
        return latency_us
    return int(min(product(float(latency_us), slowness), _LONGEST_US) + 0.5)


@inlined
def _draw_roster(problem: Problem, state: EpisodeState, r: int) -> None:
    """Draws which workers are there, and the order of the actions where it is shuffled.

    At least MIN_WORKERS are there, and so many more that every subtask has one that can serve it
    (where the whole pool has one).
    """
    roster, absent = state.roster[r], state.busy[r]  # busy is free until the first call
    key, number = state.episode[r, KEY], state.episode[r, NUMBER]
    fewest = problem.whole[MIN_WORKERS]
    word = philox(key, number, 0, 1, _SUBSET)[0]
    kept = fewest + below(word, len(roster) - fewest + 1)
    _shuffle(roster, key, number, _SUBSET)
    for a in range(kept, len(roster)):
        absent[roster[a]] = 1
    for a in range(kept, len(roster)):
        if _is_needed(problem, absent, state.episode[r, WORKFLOW], roster[a]):
            absent[roster[a]] = 0
    for w in range(len(roster)):
        roster[w] = w
    if problem.whole[SHUFFLE] == 1:
        _shuffle(roster, key, number, _ORDER)
    for a in range(len(roster)):
        if absent[roster[a]] == 1:
            absent[roster[a]] = 0
            roster[a] = NONE


@inlined
def _shuffle(roster: npt.NDArray[np.int32], key: int, number: int, stream: int) -> None:
    """Shuffles in place (Fisher and Yates)."""
    for back in range(len(roster) - 1):
        last = len(roster) - 1 - back
        other = below(philox(key, number, last, 0, stream)[0], last + 1)
        held = roster[last]
        roster[last] = roster[other]
        roster[other] = held


@inlined
def _is_needed(problem: Problem, absent: npt.NDArray[np.int32], k: int, worker: int) -> bool:
    """Tells whether the worker can serve a subtask of workflow k that no present one can."""
    for i in range(problem.num_subtasks[k]):
        task_type, query = problem.task_type[k, i], problem.query[k, i]
        if not is_available(problem.outcomes, task_type, query, worker):
            continue
        served = False
        for w in range(len(absent)):
            if absent[w] == 0 and is_available(problem.outcomes, task_type, query, w):
                served = True
        if not served:
            return True
    return False
