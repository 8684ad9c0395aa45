"""Contextual bandits: they learn from the calls that they make in training, one call at a time.

A call is judged by itself: success less its weighted cost and latency, in units of what a success
pays. What it means for later calls is out of a bandit's reach.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from agents.agent import Actions, Obs, ObservationReader, Setting, State
from agents.evaluate import KEYS
from orchestai_env.episodes import Episodes
from orchestai_env.observation import ObservationLayout
from orchestai_env.oracle import peek

NUM_DECISIONS = 5_000
"""Calls that a bandit learns from; chosen, a few for every task type, attempt and worker."""
_NUM_ROWS = 16  # chosen: episodes side by side, which share one update

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Feedback:
    """What became of the calls that were made, for m observations."""

    actions: Actions
    """int64 (m,)."""
    success: npt.NDArray[np.bool_]
    """bool (m,)."""
    charge: Floats
    """float64 (m,); weighted cost and latency, in units of success_weight + shaping_weight."""


class Bandit(Protocol):
    """Tries workers, and learns from what becomes of it."""

    def explore(self, observation: Obs, rng: np.random.Generator) -> Actions:
        """Returns int64 (m,) workers to try."""

    def learn(self, observation: Obs, feedback: Feedback) -> None:
        """Takes in what became of the calls."""


B = TypeVar("B", bound=Bandit)


def trained(bandit: B, train: Setting, *, seed: int, num_decisions: int = NUM_DECISIONS) -> B:
    """Lets a bandit play training workflows, and returns it; it does not learn afterwards.

    Args:
        bandit: to train, in place.
        train: training workflows; they are played in a random order, again if too few.
        seed: of that order, of the bandit's trials and of simulated outcomes.
        num_decisions: calls to learn from, at least.
    """
    rng = np.random.default_rng(seed)
    episodes = Episodes(
        train.dataset,
        n=min(_NUM_ROWS, num_decisions),
        rules=train.rules,
        weights=train.weights,
        layout=ObservationLayout.of(train.dataset, KEYS),
    )
    for r in range(episodes.n):
        episodes.seed_row(r, np.random.default_rng([seed, r]))
    rows = np.arange(episodes.n)
    episodes.reset(workflows=rng.integers(len(train.dataset.workflows), size=episodes.n))
    for _ in range(0, num_decisions, episodes.n):
        observation = {key: getattr(episodes.out, key).copy() for key in KEYS}
        actions = bandit.explore(observation, rng)
        bandit.learn(observation, _feedback(episodes, rows, actions))
        episodes.step(actions)
        done = np.flatnonzero(episodes.ended)
        if len(done):
            workflows = rng.integers(len(train.dataset.workflows), size=len(done))
            episodes.reset(done, workflows)
    return bandit


def _feedback(episodes: Episodes, rows: npt.NDArray[np.int64], actions: Actions) -> Feedback:
    """Looks up the outcomes of the calls that are about to be made, and of no other."""
    calls = peek(episodes, rows)
    weights = episodes.state.weights[rows]
    success = calls.success[rows, actions]
    charge = (
        weights[:, 1] * calls.cost_usd[rows, actions]
        + weights[:, 2] * calls.latency_ms[rows, actions]
    )
    paid = np.maximum(weights[:, 0] + weights[:, 3], 1e-9)
    return Feedback(actions=actions, success=success, charge=charge / paid)


class LinUCBAgent:
    """Disjoint LinUCB: a ridge regression of the reward per worker, and a bonus for the unknown.

    Inputs are the task type and the attempt, one-hot, and what the observation tells of the worker.
    It learns with the bonus and plays without. Workers that have failed on the subtask are passed
    over. A worker is known by its action, so the pool must be that of training.

    Source: L. Li, W. Chu, J. Langford and R. E. Schapire, "A contextual-bandit approach to
        personalized news article recommendation", WWW 2010, algorithm 1.
    """

    def __init__(
        self,
        setting: Setting,
        *,
        success_share: float = 1.0,
        bonus: float = 0.3,
        ridge: float = 1.0,
    ) -> None:
        """Starts knowing nothing.

        Args:
            setting: its pool and task types count.
            success_share: see ObservationReader.call_value.
            bonus: alpha of the source, in units of reward; chosen.
            ridge: penalty, 1 in the source.
        """
        self._read = ObservationReader(setting.dataset, setting.rules.max_attempts)
        self._max_attempts = setting.rules.max_attempts
        self._num_types = len(setting.dataset.task_types)
        self._success_share, self._bonus = success_share, bonus
        num_workers = len(setting.dataset.pool)
        size = self._num_types + self._max_attempts + len(_WORKER_INPUTS)
        self._gram = np.tile(ridge * np.eye(size), (num_workers, 1, 1))
        self._moment = np.zeros((num_workers, size))
        self._solve()

    def _solve(self) -> None:
        self._inverse = np.linalg.inv(self._gram)
        self._coefficients = np.einsum("wij,wj->wi", self._inverse, self._moment)

    def _inputs(self, observation: Obs) -> Floats:
        """Returns float64 (m, W, size)."""
        read = self._read
        of_type = np.eye(self._num_types)[read.task_type(observation)]
        of_attempt = np.eye(self._max_attempts)[read.attempt(observation)]
        shared = np.hstack([of_type, of_attempt])[:, None]
        workers = np.stack(
            [read.worker_feature(observation, name) for name in _WORKER_INPUTS], axis=2
        )
        return np.concatenate([np.repeat(shared, workers.shape[1], axis=1), workers], axis=2)

    def explore(self, observation: Obs, rng: np.random.Generator) -> Actions:
        """Returns int64 (m,): the workers of the highest upper bound."""
        inputs = self._inputs(observation)
        mean = (inputs * self._coefficients).sum(axis=2)
        spread = np.einsum("mwi,wij,mwj->mw", inputs, self._inverse, inputs)
        return self._read.best_fresh(observation, mean + self._bonus * np.sqrt(spread))

    def learn(self, observation: Obs, feedback: Feedback) -> None:
        """Adds the calls to the regressions of their workers."""
        rows = np.arange(len(feedback.actions))
        inputs = self._inputs(observation)[rows, feedback.actions]
        np.add.at(self._gram, feedback.actions, inputs[:, :, None] * inputs[:, None, :])
        np.add.at(
            self._moment,
            feedback.actions,
            inputs * (self._success_share * feedback.success - feedback.charge)[:, None],
        )
        self._solve()

    def predict(
        self,
        observation: Obs,
        state: State = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Actions, State]:
        """Returns int64 (m,) workers of the highest predicted reward; see Agent."""
        mean = (self._inputs(observation) * self._coefficients).sum(axis=2)
        return self._read.best_fresh(observation, mean), state


_WORKER_INPUTS = ("price", "expected_latency", "predicted_success", "expected_value", "free_slots")
"""Worker features that LinUCB reads."""


class ThompsonAgent:
    """Thompson sampling: a Beta distribution of the success per task type, attempt and worker.

    It learns by drawing each chance and making the call that would earn most; it plays by the
    means. Costs and latencies are the known means. Workers that have failed on the subtask are
    passed over. A worker is known by its action, so the pool must be that of training.

    Source: S. Agrawal and N. Goyal, "Further optimal regret bounds for Thompson sampling", AISTATS
        2013, with Beta priors and an uninformed start.
    """

    def __init__(self, setting: Setting, *, success_share: float = 1.0) -> None:
        """Starts knowing nothing: every chance is as likely; for the share see call_value."""
        self._success_share = success_share
        self._read = ObservationReader(setting.dataset, setting.rules.max_attempts)
        shape = (len(setting.dataset.task_types), setting.rules.max_attempts)
        self._wins = np.ones((*shape, len(setting.dataset.pool)))
        self._losses = np.ones_like(self._wins)

    def explore(self, observation: Obs, rng: np.random.Generator) -> Actions:
        """Returns int64 (m,): the workers that earn most by chances drawn from what is believed."""
        cell = self._cell(observation)
        chance = rng.beta(self._wins[cell], self._losses[cell])
        value = self._read.call_value(observation, chance, success_share=self._success_share)
        return self._read.best_fresh(observation, value)

    def learn(self, observation: Obs, feedback: Feedback) -> None:
        """Counts successes and failures."""
        task_type, attempt = self._cell(observation)
        for counts, ended_so in ((self._wins, feedback.success), (self._losses, ~feedback.success)):
            place = (task_type[ended_so], attempt[ended_so], feedback.actions[ended_so])
            np.add.at(counts, place, 1.0)

    def predict(
        self,
        observation: Obs,
        state: State = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Actions, State]:
        """Returns int64 (m,) workers that earn most by the mean chances; see Agent."""
        cell = self._cell(observation)
        chance = self._wins[cell] / (self._wins[cell] + self._losses[cell])
        value = self._read.call_value(observation, chance, success_share=self._success_share)
        return self._read.best_fresh(observation, value), state

    def _cell(self, observation: Obs) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        return self._read.task_type(observation), self._read.attempt(observation)
