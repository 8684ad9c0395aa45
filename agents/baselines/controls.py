"""Controls: agents that keep one thing of another agent and lose the rest."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agents.agent import Actions, Agent, Obs, ObservationReader, Setting, State
from agents.evaluate import evaluate
from orchestai_env.episodes import Episodes

NUM_WORKFLOWS = 2_000
"""Training workflows that the shares of another agent are measured on; chosen."""


class ShuffledAgent:
    """Picks workers at random, by given shares per task type and attempt.

    With the shares of another agent it costs about the same, but what that agent reads from the
    rest of the observation is lost: what the other earns more comes from there. Where none of a
    cell's workers is allowed, each allowed one is as likely.
    """

    def __init__(self, setting: Setting, picks: npt.NDArray[np.int64], seed: int) -> None:
        """Takes picks as `Outcomes.picks`, int64 (T, max_attempts, W), and the seed of its own."""
        self._read = ObservationReader(setting.dataset, setting.rules.max_attempts)
        self.picks = picks
        self._seed = seed
        self._rng = np.random.default_rng(seed)

    def attach(self, episodes: Episodes) -> None:
        """Starts its picks anew, so that an evaluation does not depend on earlier ones."""
        self._rng = np.random.default_rng(self._seed)

    def predict(
        self,
        observation: Obs,
        state: State = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Actions, State]:
        """Returns int64 (m,) workers; see Agent."""
        allowed = self._read.allowed(observation)
        task_type, attempt = self._read.task_type(observation), self._read.attempt(observation)
        share = self.picks[task_type, attempt] * allowed
        share = np.where(share.any(axis=1, keepdims=True), share, allowed)
        upto = share.cumsum(axis=1).astype(np.float64)
        draw = self._rng.random((len(share), 1)) * upto[:, -1:]
        return (upto > draw).argmax(axis=1), state


def shuffled(agent: Agent, setting: Setting, train: Setting, seed: int) -> ShuffledAgent:
    """Returns the shuffled control of an agent, with its shares on training workflows."""
    dataset = train.dataset.first(NUM_WORKFLOWS)
    of_part = Setting(dataset=dataset, rules=train.rules, weights=train.weights)
    return ShuffledAgent(setting, evaluate(agent, of_part, seed=seed).picks, seed)
