"""Lookahead: a policy that knows the odds of every call but no outcome."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orchestai_env.compiled import compiled, inlined
from orchestai_env.dataset import Dataset
from orchestai_env.dynamics import step_row
from orchestai_env.episodes import Episodes
from orchestai_env.errors import ConfigError
from orchestai_env.oracle.odds import Odds, build_odds, expected_value
from orchestai_env.oracle.rows import copy_row
from orchestai_env.oracle.worlds import (
    Worlds,
    draw_world,
    new_worlds,
    world_key,
    write_workflow,
)
from orchestai_env.state import (
    CURRENT,
    NONE,
    ONGOING,
    WORKFLOW,
    EpisodeState,
    Problem,
)

NUM_SAMPLES = 64
"""Worlds that each action is tried in by default."""


class Lookahead:
    """Tries every action in sampled worlds and goes on greedily in each: a rollout policy.

    The value of an action is the mean return over worlds that agree with what was seen so far, when
    the base policy decides after it: the call that is expected to earn most by itself, see
    `expected_values`. All actions meet the same worlds. It knows what an agent may know (worker
    statistics, success predictions, the parameters of a simulated pool, the observed state), and
    nothing of the row's random numbers or of results and ends of running calls.

    Approximations: posteriors by rejection with at most 64 tries, see worlds.py; of recorded
    sources the spread of latencies and the correlation of outcomes is assumed, see odds.py.

    Source: D. P. Bertsekas and D. A. Castanon, "Rollout algorithms for stochastic scheduling
        problems", Journal of Heuristics 5 (1999).
    """

    def __init__(self, dataset: Dataset, *, num_samples: int = NUM_SAMPLES, seed: int = 0) -> None:
        """Collects what may be known.

        Args:
            dataset: the data that episodes run over, or another of the same workers and queries.
            num_samples: worlds that each action is tried in, >= 1; time grows in proportion.
            seed: of the worlds; the same seed, the same values.
        Raises:
            ConfigError: num_samples is below 1.
        """
        if num_samples < 1:
            raise ConfigError(f"num_samples: expected at least 1, got {num_samples}")
        self._num_samples = num_samples
        self._seed = int(np.random.default_rng(seed).integers(1 << 63))
        self._odds = build_odds(dataset)

    def values(self, episodes: Episodes, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Returns the mean return still to come after each action; nothing in the rows changes.

        Args:
            episodes: running episodes; their rules and the weights in force count.
            rows: int64 (m,).
        Returns:
            float64 (m, W) [reward]; -inf where masked.
        Raises:
            ConfigError: the episodes have other workers or task types.
        """
        values = self._new_values(episodes, rows)
        worlds = new_worlds(episodes.problem, self._odds, episodes.state)
        _roll_out(worlds, rows, values, self._num_samples, self._seed)
        return values

    def actions(self, episodes: Episodes, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Returns int64 (m,): the action of the highest value for each row; see `values`."""
        best: npt.NDArray[np.int64] = self.values(episodes, rows).argmax(axis=1)
        return best

    def expected_values(
        self, episodes: Episodes, rows: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """Returns what each call is expected to earn by itself; its argmax is the base policy.

        That is its chance of success, lower for every failure of the worker on this subtask, times
        the weights of success and shaping, less its mean cost and mean latency, weighted.

        Args:
            episodes: running episodes; nothing in them changes.
            rows: int64 (m,).
        Returns:
            float64 (m, W) [reward]; -inf where masked, 0 where there is nothing to decide.
        Raises:
            ConfigError: the episodes have other workers or task types.
        """
        values = self._new_values(episodes, rows)
        _write_expected(episodes.problem, self._odds, episodes.state, rows, values)
        return values

    def _new_values(
        self, episodes: Episodes, rows: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        known, given = self._odds.cost_usd.shape, episodes.dataset.statistics.cost_usd.shape
        if known != given:
            raise ConfigError(
                f"episodes: expected {known[0]} task types and {known[1]} workers, as in the data "
                f"that the lookahead was made for, got {given[0]} and {given[1]}"
            )
        return np.full((len(rows), given[1]), -np.inf)


@compiled
def _write_expected(
    problem: Problem,
    odds: Odds,
    state: EpisodeState,
    rows: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
) -> None:
    for index in range(len(rows)):
        r = rows[index]
        k, i = state.episode[r, WORKFLOW], state.episode[r, CURRENT]
        for a in range(state.mask.shape[1]):
            if i == NONE:
                values[index, a] = 0.0
            elif state.mask[r, a] == 1:
                w = state.roster[r, a]
                values[index, a] = expected_value(problem, odds, state, r, k, i, w)


@compiled
def _roll_out(
    worlds: Worlds,
    rows: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    num_samples: int,
    seed: int,
) -> None:
    """Writes the mean return of every allowed action of the rows."""
    state, scratch = worlds.state, worlds.scratch
    for index in range(len(rows)):
        r = rows[index]
        write_workflow(worlds, state.episode[r, WORKFLOW])
        for sample in range(num_samples):
            draw_world(worlds, r, world_key(worlds, r, seed, sample))
            for a in range(state.mask.shape[1]):
                if state.mask[r, a] == 1:
                    copy_row(scratch, 0, scratch, 1, worlds.world.num_subtasks[0])
                    total = _play(worlds, state.episode[r, WORKFLOW], a)
                    before = 0.0 if sample == 0 else values[index, a]
                    values[index, a] = before + total / float(num_samples)


@inlined
def _play(worlds: Worlds, k: int, action: int) -> float:
    """Plays row 1 to its end, greedily after the first action; returns what it earns."""
    scratch, total = worlds.scratch, 0.0
    while True:
        step_row(worlds.world, scratch, 1, action)
        total += scratch.reward[1]
        if scratch.ended[1] != ONGOING:
            return float(total)
        action = _greedy(worlds, k)


@inlined
def _greedy(worlds: Worlds, k: int) -> int:
    """Returns the allowed action of row 1 that is expected to earn most by itself."""
    scratch = worlds.scratch
    i = scratch.episode[1, CURRENT]
    best, most = 0, -np.inf
    for a in range(scratch.mask.shape[1]):
        if scratch.mask[1, a] == 1:
            w = scratch.roster[1, a]
            value = expected_value(worlds.problem, worlds.odds, scratch, 1, k, i, w)
            if value > most:
                best, most = a, value
    return best
