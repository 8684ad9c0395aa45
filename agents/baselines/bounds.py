"""Bounds: agents that know what none can know when it decides."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agents.agent import Actions, Obs, State
from orchestai_env.episodes import Episodes
from orchestai_env.oracle import Lookahead, hindsight_optimum, hindsight_utility, peek
from orchestai_env.state import ONGOING, STEPS


class HindsightAgent:
    """Knows the outcome of every call and picks the best one: a bound, not an agent to deploy."""

    def __init__(self) -> None:
        """Waits for `attach`."""
        self._episodes: Episodes | None = None

    def attach(self, episodes: Episodes) -> None:
        """Gives it the running episodes whose outcomes it looks up."""
        self._episodes = episodes

    def predict(
        self,
        observation: Obs,
        state: State = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Actions, State]:
        """Returns int64 (m,) workers for the rows that have not ended; see Agent.

        Raises:
            RuntimeError: `attach` was not called.
        """
        episodes = _attached(self._episodes, self)
        rows = np.flatnonzero(episodes.ended == ONGOING)
        value = hindsight_utility(peek(episodes, rows), episodes.state.weights[rows])
        return value.argmax(axis=1), state


class OracleAgent:
    """Knows all outcomes and plays the episode that earns most: the bound of every agent.

    Each episode is solved once, when it begins; see `hindsight_optimum` for what holds beyond 6
    subtasks, where a search may be cut short and the best found is played.
    """

    def __init__(self) -> None:
        """Waits for `attach`."""
        self._episodes: Episodes | None = None
        self._plans: dict[int, npt.NDArray[np.int64]] = {}

    def attach(self, episodes: Episodes) -> None:
        """Gives it the running episodes that it solves."""
        self._episodes, self._plans = episodes, {}

    def predict(
        self,
        observation: Obs,
        state: State = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Actions, State]:
        """Returns int64 (m,) workers for the rows that have not ended; see Agent.

        Raises:
            RuntimeError: `attach` was not called.
        """
        episodes = _attached(self._episodes, self)
        rows = np.flatnonzero(episodes.ended == ONGOING)
        steps = episodes.state.episode[rows, STEPS]
        actions = [self._plan(episodes, int(r))[s] for r, s in zip(rows, steps, strict=True)]
        return np.array(actions, np.int64), state

    def _plan(self, episodes: Episodes, r: int) -> npt.NDArray[np.int64]:
        """Returns the best actions of a row, which plays nothing else, from its first step on."""
        if r not in self._plans:
            played = int(episodes.state.episode[r, STEPS])
            best = hindsight_optimum(episodes, r).actions
            self._plans[r] = np.concatenate([np.zeros(played, np.int64), best]).astype(np.int64)
        return self._plans[r]


class LookaheadAgent:
    """Knows the odds of every call and tries each in sampled futures; see oracle.Lookahead."""

    def __init__(self, seed: int) -> None:
        """Takes the seed of the sampled futures."""
        self._seed = seed
        self._episodes: Episodes | None = None
        self._solver: Lookahead | None = None
        self._known: object = None

    def attach(self, episodes: Episodes) -> None:
        """Gives it the running episodes that it looks ahead in."""
        known = episodes.dataset.statistics
        if self._solver is None or self._known is not known:
            self._solver, self._known = Lookahead(episodes.dataset, seed=self._seed), known
        self._episodes = episodes

    def predict(
        self,
        observation: Obs,
        state: State = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Actions, State]:
        """Returns int64 (m,) workers for the rows that have not ended; see Agent.

        Raises:
            RuntimeError: `attach` was not called.
        """
        episodes = _attached(self._episodes, self)
        assert self._solver is not None
        rows = np.flatnonzero(episodes.ended == ONGOING)
        return self._solver.actions(episodes, rows), state


def _attached(episodes: Episodes | None, agent: object) -> Episodes:
    if episodes is None:
        raise RuntimeError(f"{type(agent).__name__} needs attach(episodes) before predict")
    return episodes
