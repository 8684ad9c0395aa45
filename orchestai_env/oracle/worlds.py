"""Worlds: what may be true of an episode, drawn at random from all that agrees with what was seen.

A world is a simulated source of its own, in which every subtask is a task type of its own: hidden
difficulty and the workers' affinities are drawn for the subtask and put into its row of `skill`.
What was seen is agreed with by rejection: they are drawn anew until the calls that failed on the
subtask would have failed, and the outcome of a running call until it has not ended yet.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai_env.compiled import inlined
from orchestai_env.counter_rng import philox, quantile_index
from orchestai_env.dynamics import parent_quality
from orchestai_env.oracle.odds import Odds, odds_row
from orchestai_env.oracle.rows import copy_row
from orchestai_env.outcomes.draw import Call, is_available, is_unsolvable
from orchestai_env.state import (
    ATTEMPTS,
    CALL_COST,
    CLOCK,
    END,
    FAILED,
    KEY,
    NONE,
    NUMBER,
    QUALITY,
    RUNNING,
    START,
    STATUS,
    STEPS,
    SUCCEEDED,
    WINS,
    WORKER,
    WORKFLOW,
    EpisodeState,
    Problem,
    new_state,
)
from orchestai_env.variation import episode_outcome

# Streams of random words, after those of variation.py.
_WORLD = 9 << 16
_DIFFICULTY = 10 << 16
_AFFINITY = 11 << 16

_TRIES = 64  # chosen: a subtask's failures are met within 64 draws nearly always
_WORDS = float(1 << 32)
_NEVER = -1e9  # margin of a call that cannot succeed


class Worlds(NamedTuple):
    """What a sampler of worlds reads and writes."""

    problem: Problem
    """Of the episodes; of its outcomes only which calls are possible is read."""
    odds: Odds
    state: EpisodeState
    """The episodes. Their random numbers, and results and ends of running calls, are not read."""
    world: Problem
    """One workflow, the outcomes of which are drawn."""
    scratch: EpisodeState
    """Rows of that workflow; row 0 is the episode in the present world."""


def new_worlds(problem: Problem, odds: Odds, state: EpisodeState) -> Worlds:
    """Allocates a sampler of worlds."""
    num_subtasks, num_workers = state.failures.shape[1:]
    calls, tables = (num_subtasks, num_workers), odds.tables
    simulation = tables.simulation.copy()
    simulation[:2] = 0.0  # what is hidden of a subtask and affinity are part of the skill
    token_weight = np.zeros((3, *calls))
    token_weight[2] = 1.0
    world = problem._replace(
        num_subtasks=np.zeros(1, np.int32),
        task_type=np.arange(num_subtasks, dtype=np.int32)[None],
        query=np.full((1, num_subtasks), NONE, np.int32),
        instruction=np.full(1, NONE, np.int32),
        num_parents=np.zeros((1, num_subtasks), np.int32),
        parents=np.zeros((1, *problem.parents.shape[1:]), np.int32),
        num_children=np.zeros((1, num_subtasks), np.int32),
        children=np.zeros((1, *problem.children.shape[1:]), np.int32),
        cost_upper=np.zeros(calls),
        outcomes=tables._replace(
            capable=np.zeros(calls, np.uint8),
            skill=np.zeros(calls),
            input_cost_usd=np.zeros(calls),
            output_tokens=np.zeros((*calls, tables.output_tokens.shape[2]), np.int64),
            difficulty=np.zeros((2, *calls)),
            token_weight=token_weight,
            simulation=simulation,
        ),
    )
    return Worlds(problem, odds, state, world, new_state(2, num_subtasks, num_workers))


@inlined
def write_workflow(worlds: Worlds, k: int) -> None:
    """Makes workflow k that of the worlds: all that is the same in each of them."""
    problem, world = worlds.problem, worlds.world
    n = problem.num_subtasks[k]
    world.num_subtasks[0] = n
    for i in range(n):
        world.num_parents[0, i] = problem.num_parents[k, i]
        for p in range(problem.num_parents[k, i]):
            world.parents[0, i, p] = problem.parents[k, i, p]
        world.num_children[0, i] = problem.num_children[k, i]
        for c in range(problem.num_children[k, i]):
            world.children[0, i, c] = problem.children[k, i, c]
        for w in range(len(problem.concurrency)):
            _write_call(worlds, k, i, w)


@inlined
def _write_call(worlds: Worlds, k: int, i: int, w: int) -> None:
    problem, known, tables = worlds.problem, worlds.odds.tables, worlds.world.outcomes
    t = problem.task_type[k, i]
    available = is_available(problem.outcomes, t, problem.query[k, i], w)
    tables.capable[i, w] = 1 if available else 0
    tables.input_cost_usd[i, w] = known.input_cost_usd[t, w]
    for level in range(tables.output_tokens.shape[2]):
        tables.output_tokens[i, w, level] = known.output_tokens[t, w, level]
    worlds.world.cost_upper[i, w] = problem.cost_upper[t, w]


@inlined
def world_key(worlds: Worlds, r: int, seed: int, sample: int) -> int:
    """Returns the key of a world's random numbers; it tells nothing of the episode's own."""
    episode = worlds.state.episode[r]
    words = philox(seed, episode[WORKFLOW], episode[STEPS], sample, _WORLD)
    return int((np.int64(words[0]) << 31) | (np.int64(words[1]) >> 1))


@inlined
def draw_world(worlds: Worlds, r: int, key: int) -> None:
    """Draws a world in which row r may be, and makes row 0 of `scratch` that row in it.

    Args:
        worlds: `write_workflow` has written the workflow of row r.
        r: row of the episodes.
        key: of the world.
    """
    scratch = worlds.scratch
    n = worlds.world.num_subtasks[0]
    copy_row(worlds.state, r, scratch, 0, n)
    k = scratch.episode[0, WORKFLOW]
    scratch.episode[0, KEY] = key
    scratch.episode[0, NUMBER] = 0
    scratch.episode[0, WORKFLOW] = 0
    for i in range(n):
        status = scratch.subtask[0, i, STATUS]
        if status == SUCCEEDED or status == FAILED:
            continue
        skill = worlds.odds.skill[odds_row(worlds.problem, worlds.odds, k, i)]
        difficulty = worlds.odds.tables.difficulty[:, worlds.problem.task_type[k, i]]
        _draw_skill(worlds, i, skill, difficulty, key)
        if status == RUNNING and scratch.subtask[0, i, START] != NONE:
            _draw_running(worlds.world, scratch, i, key)


@inlined
def _draw_skill(
    worlds: Worlds,
    i: int,
    skill: npt.NDArray[np.float64],
    difficulty: npt.NDArray[np.float64],
    key: int,
) -> None:
    """Draws what is hidden of subtask i, and affinities, under which its failed calls would fail.

    Where none of 64 draws is accepted, the one in which the failed workers fare worst is taken, and
    their skill is cut to what fails half the time (always, where a retry repeats the call).
    """
    failures = worlds.scratch.failures[0, i]
    chosen, lowest, accepted = 0, np.inf, False
    for attempt in range(_TRIES):
        likelihood, highest = 1.0, -np.inf
        for w in range(len(skill)):
            if failures[w] > 0:
                margin = _margin(worlds, i, skill[w], difficulty, w, key, attempt)
                highest = max(highest, margin)
                likelihood *= _failure_chance(worlds.odds, margin) ** failures[w]
        if highest < lowest:
            chosen, lowest = attempt, highest
        chance = float(philox(key, attempt, i, 0, _DIFFICULTY)[1]) / _WORDS
        if chance < likelihood:
            chosen, accepted = attempt, True
            break
    for w in range(len(skill)):
        margin = _margin(worlds, i, skill[w], difficulty, w, key, chosen)
        if failures[w] > 0 and not accepted:
            margin = min(margin, 0.0)
        worlds.world.outcomes.skill[i, w] = margin + _loss(worlds, i, w)


@inlined
def _margin(
    worlds: Worlds,
    i: int,
    skill: float,
    difficulty: npt.NDArray[np.float64],
    w: int,
    key: int,
    attempt: int,
) -> float:
    """Returns by how much worker w exceeds what the subtask asks for, fresh noise left out."""
    tables = worlds.odds.tables
    unsolvable, kept = tables.simulation[0], tables.simulation[1]
    hidden = philox(key, attempt, i, 0, _DIFFICULTY)
    if is_unsolvable(hidden[3], unsolvable):
        return _NEVER
    affinity = philox(key, attempt, i, w, _AFFINITY)[0]
    return float(
        skill
        - difficulty[0, w] * tables.normal[quantile_index(hidden[0])]
        - difficulty[1, w] * tables.normal[quantile_index(hidden[2])]
        + kept * tables.normal[quantile_index(affinity)]
        - _loss(worlds, i, w)
    )


@inlined
def _loss(worlds: Worlds, i: int, w: int) -> float:
    """Returns what poor parents took from the worker's failed calls; 0 where none failed.

    A subtask that was called has parents that succeeded, so their quality is known.
    """
    if worlds.scratch.failures[0, i, w] == 0:
        return 0.0
    quality = parent_quality(worlds.world, worlds.scratch, 0, i)
    return float(worlds.odds.tables.simulation[3] * (1.0 - quality))


@inlined
def _failure_chance(odds: Odds, margin: float) -> float:
    """Returns the chance that fresh noise does not lift the margin above 0."""
    fresh, normal = odds.tables.simulation[2], odds.tables.normal
    if fresh == 0.0:
        return 1.0 if margin <= 0.0 else 0.0
    below, above = 0, len(normal)  # of the sorted levels, those below are <= -margin / fresh
    while below < above:
        middle = (below + above) // 2
        if margin + fresh * normal[middle] <= 0.0:
            below = middle + 1
        else:
            above = middle
    return float(below) / float(len(normal))


@inlined
def _draw_running(world: Problem, scratch: EpisodeState, i: int, key: int) -> None:
    """Draws the outcome of the running call of subtask i among those that have not ended yet.

    The load that it met is taken to be the calls that its worker runs beside it now. Where it has
    lasted longer than all 64 draws, it ends at once.
    """
    subtask, now = scratch.subtask[0, i], scratch.episode[0, CLOCK]
    w = subtask[WORKER]
    for attempt in range(_TRIES):
        call = Call(
            key,
            1 + attempt,
            i,
            i,
            NONE,
            w,
            subtask[ATTEMPTS],
            parent_quality(world, scratch, 0, i),
            scratch.busy[0, w] - 1,
        )
        wins, quality, cost, latency = episode_outcome(world, scratch, 0, call)
        subtask[END] = subtask[START] + latency
        subtask[WINS] = 1 if wins else 0
        scratch.value[0, i, CALL_COST] = cost
        scratch.value[0, i, QUALITY] = quality
        if subtask[END] > now or subtask[START] == now:
            return
    subtask[END] = now + 1
