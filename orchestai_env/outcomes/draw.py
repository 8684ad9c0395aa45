"""The outcome of one call, from either kind of table; compiled into the transition."""

from __future__ import annotations

from typing import NamedTuple

from orchestai_env.compiled import compiled
from orchestai_env.counter_rng import Word, below, philox, quantile_index
from orchestai_env.exact import product
from orchestai_env.outcomes.tables import LIVE, RECORDED, OutcomeTables

# Streams of random words: what they are drawn for (the high half of the last counter).
_DIFFICULTY = 1 << 16
_AFFINITY = 2 << 16
_CALL = 3 << 16
WORKFLOW_CHOICE = 4 << 16

UNKNOWN_US = 1 << 62
"""Latency of a live call: nobody knows when it ends."""


class Call(NamedTuple):
    """Which call: everything that its outcome may depend on."""

    key: int
    """Seed of the row, 63 bits."""
    episode: int
    subtask: int
    task_type: int
    query: int
    """Row of the recorded tables; -1 where simulated."""
    worker: int
    attempt: int
    """0 for the first call of the subtask."""
    parent_quality: float
    """Mean quality of the subtasks it depends on, 0..1; 1 without any."""
    running: int
    """Calls that the worker runs already."""


@compiled
def is_available(tables: OutcomeTables, task_type: int, query: int, worker: int) -> bool:
    """Tells whether the worker can be called at all: recorded, or capable of the task type."""
    if tables.kind[0] == RECORDED:
        return bool(tables.num_trials[query, worker] > 0)
    return bool(tables.capable[task_type, worker] > 0)


@compiled
def draw_outcome(tables: OutcomeTables, call: Call) -> tuple[bool, float, float, int]:
    """Returns success, quality (0..1), cost [USD] and latency [us] of one call.

    Of a live call nothing is known when it starts: the latency is UNKNOWN_US.
    """
    if tables.kind[0] == RECORDED:
        q, w = call.query, call.worker
        trial = call.attempt % tables.num_trials[q, w]
        return (
            tables.success[q, w, trial] > 0,
            tables.quality[q, w, trial],
            tables.cost_usd[q, w, trial],
            tables.latency_us[q, w, trial],
        )
    if tables.kind[0] == LIVE:
        return False, 0.0, 0.0, UNKNOWN_US
    return _simulate(tables, call)


@compiled
def _simulate(tables: OutcomeTables, call: Call) -> tuple[bool, float, float, int]:
    """Simulates a call: a threshold on skill, difficulty and noise; see simulated.py.

    Only sums, products and table look-ups, so that it gives the same bits on every machine.
    """
    unsolvable, kept, fresh, coupling, load = tables.simulation
    t, w = call.task_type, call.worker
    hidden = philox(call.key, call.episode, call.subtask, 0, _DIFFICULTY)
    difficulty = tables.normal[quantile_index(hidden[0])]
    character = tables.normal[quantile_index(hidden[2])]
    affinity = philox(call.key, call.episode, call.subtask, w, _AFFINITY)[0]
    words = philox(call.key, call.episode, call.subtask, w, _CALL + call.attempt)
    noise = product(kept, tables.normal[quantile_index(affinity)]) + product(
        fresh, tables.normal[quantile_index(words[0])]
    )
    margin = (
        tables.skill[t, w]
        - product(tables.difficulty[0, t, w], difficulty)
        - product(tables.difficulty[1, t, w], character)
        - product(coupling, 1.0 - call.parent_quality)
        + noise
    )
    if is_unsolvable(hidden[3], unsolvable):
        margin = -abs(margin)
    size = abs(margin) / (1.0 + abs(margin))
    quality = 0.5 + 0.5 * size if margin > 0.0 else 0.5 - 0.5 * size
    tokens = tables.output_tokens[t, w, _token_level(tables, t, w, words[1], difficulty, noise)]
    latency = tables.first_token_us[w] + tokens * tables.token_ns[w] // 1000
    latency += int(float(latency) * load * float(call.running))
    cost = tables.input_cost_usd[t, w] + product(float(tokens), tables.output_cost_usd[w])
    return margin > 0.0, quality, cost, latency


@compiled
def is_unsolvable(word: Word, share: float) -> bool:
    """Tells whether no worker solves a subtask: with probability `share`, 0..1."""
    return bool(float(word) < product(share, 4294967296.0))  # 2 ** 32, the count of words


@compiled
def _token_level(
    tables: OutcomeTables, t: int, w: int, word: Word, difficulty: float, noise: float
) -> int:
    """Returns the level of a call's tokens: the quantile of a weighted sum of standard normals.

    Without a weight of difficulty and luck that is the quantile of the word alone.
    """
    by_difficulty, by_luck = tables.token_weight[0, t, w], tables.token_weight[1, t, w]
    levels = tables.output_tokens.shape[2]
    if by_difficulty == 0.0 and by_luck == 0.0:
        return int(below(word, levels))
    place = (
        product(tables.token_weight[2, t, w], tables.normal[quantile_index(word)])
        + product(by_difficulty, difficulty)
        + product(by_luck, noise)
    )
    low, high = 0, len(tables.normal) - 1  # of the sorted quantiles, the first that is >= place
    while low < high:
        middle = (low + high) // 2
        if tables.normal[middle] < place:
            low = middle + 1
        else:
            high = middle
    return int(low * levels // len(tables.normal))
