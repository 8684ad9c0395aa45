"""Chooser: what picks workers in production, as probabilities, so that choices can be weighed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from orchestai_env.errors import ConfigError
from orchestai_env.observation import WORKER_FEATURES

Obs = Mapping[str, npt.NDArray[Any]]
Probabilities = npt.NDArray[np.float64]
"""float64 (W,), 0..1, sum 1; by action."""

_FAILED = WORKER_FEATURES.index("failed")


@runtime_checkable
class Chooser(Protocol):
    """Anything that says with which probability it would call each worker.

    Every execution asks a shallow copy of its own, so a chooser may keep what it has seen of one.
    """

    @property
    def name(self) -> str:
        """Name, as the log gives it."""

    @property
    def observation_keys(self) -> Sequence[str]:
        """Keys of the observation that it reads."""

    def probabilities(self, obs: Obs) -> Probabilities:
        """Returns the probability of each action; masked ones are left out afterwards.

        Args:
            obs: the environment's observation of one episode.
        """


class RandomChooser:
    """Calls every allowed worker with the same probability."""

    name = "random"
    observation_keys = ("action_mask",)

    def probabilities(self, obs: Obs) -> Probabilities:
        """Returns the uniform distribution over what is allowed."""
        mask = obs["action_mask"].astype(np.float64)
        return np.asarray(mask / mask.sum())


class FeatureChooser:
    """Calls the allowed worker with the lowest value of one worker feature.

    One that has failed on the subtask is called again only where no other is allowed.
    """

    observation_keys = ("workers", "action_mask")

    def __init__(self, name: str, feature: str, sign: float = 1.0) -> None:
        """Takes the column of `workers`; sign -1 picks the highest value."""
        self.name = name
        self._column, self._sign = WORKER_FEATURES.index(feature), sign

    def probabilities(self, obs: Obs) -> Probabilities:
        """Returns 1 for the best worker."""
        workers, allowed = obs["workers"], obs["action_mask"] > 0
        fresh = allowed & (workers[:, _FAILED] == 0)
        values = self._sign * workers[:, self._column]
        best = np.where(fresh if fresh.any() else allowed, values, np.inf).argmin()
        return _one_hot(int(best), len(values))


class AgentChooser:
    """Calls what an agent of the SB3 protocol says: the likeliest worker, or one by chance.

    The state of an agent with a memory goes from decision to decision of one execution.
    """

    def __init__(
        self, agent: Any, name: str, observation_keys: Sequence[str], *, sample: bool = False
    ) -> None:
        """Takes an agent.

        Args:
            agent: with SB3's `predict`, which says the same whenever it is asked the same with
                deterministic=True; or, to sample, with `probabilities(observation, state,
                episode_start)`, which returns (m, W) and the next state.
            name: as the log gives it.
            observation_keys: keys of the observation that it reads.
            sample: whether workers are drawn by the probabilities of the agent.
        """
        self.name, self.observation_keys = name, tuple(observation_keys)
        self._agent, self._sample = agent, sample
        self._state: Any = None
        self._is_first = True

    def probabilities(self, obs: Obs) -> Probabilities:
        """Returns those of the agent, or 1 for the worker that it predicts."""
        batch = {key: obs[key][None] for key in self.observation_keys}
        told: dict[str, Any] = {"state": self._state, "episode_start": np.array([self._is_first])}
        self._is_first = False
        if self._sample:
            chances, self._state = self._agent.probabilities(batch, **told)
            return np.asarray(chances[0], np.float64)
        actions, self._state = self._agent.predict(batch, **told, deterministic=True)
        return _one_hot(int(np.asarray(actions).reshape(-1)[0]), len(obs["action_mask"]))


CHOOSERS: Mapping[str, Callable[[], Chooser]] = {
    "random": RandomChooser,
    "cheapest": lambda: FeatureChooser("cheapest", "price"),
    "fastest": lambda: FeatureChooser("fastest", "expected_latency"),
    "greedy": lambda: FeatureChooser("greedy", "expected_value", sign=-1.0),
}
"""Choosers that need no training, by name."""


def explored(
    probabilities: Probabilities, mask: npt.NDArray[np.int8], exploration: float
) -> Probabilities:
    """Returns the probabilities that a choice is drawn by.

    Masked workers are left out; where that leaves none, the next allowed one after the likeliest
    takes all, as in the environment. With probability `exploration` the choice is uniform over
    what is allowed.

    Args:
        probabilities: float64 (W,), from a chooser.
        mask: int8 (W,); 1 where allowed, at least once.
        exploration: 0..1.
    Raises:
        ConfigError: the probabilities are negative, no numbers, or of another length.
    """
    given, allowed = np.asarray(probabilities, np.float64), mask > 0
    if given.shape != mask.shape or not np.isfinite(given).all() or (given < 0).any():
        raise ConfigError(
            f"chooser: expected {len(mask)} probabilities >= 0, got {np.array2string(given)}"
        )
    kept = np.where(allowed, given, 0.0)
    if kept.sum() <= 0.0:
        kept = _one_hot(next_allowed(mask, int(given.argmax())), len(mask))
    # Shares first: a product that is divided later may round to more than 1.
    return np.asarray(
        (1.0 - exploration) * (kept / kept.sum()) + exploration * (allowed / allowed.sum())
    )


def next_allowed(mask: npt.NDArray[np.int8], action: int) -> int:
    """Returns the action, or the next allowed one, cyclically, as the environment replaces it."""
    order = (action + np.arange(len(mask))) % len(mask)
    return int(order[mask[order] > 0][0])


def _one_hot(action: int, size: int) -> Probabilities:
    chosen = np.zeros(size)
    chosen[action] = 1.0
    return chosen
