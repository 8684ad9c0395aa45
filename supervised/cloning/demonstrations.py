"""Demonstrations: states that are met in training workflows, and what an expert would do there."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
import torch

from agents.agent import Agent, Obs, Setting
from agents.evaluate import KEYS, start_episodes
from orchestai_env.errors import ConfigError
from orchestai_env.state import CURRENT, NONE, ONGOING
from supervised.experts import Expert


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demonstrations:
    """m decisions of the expert."""

    observation: dict[str, npt.NDArray[np.generic]]
    """Key -> (m, ...), as the policy sees it."""
    target: npt.NDArray[np.float32]
    """float32 (m, W), rows sum to 1; probability of each worker, 0 where masked."""
    workflow: npt.NDArray[np.int64]
    """int64 (m,); the workflow that each decision belongs to."""

    def __len__(self) -> int:
        """Returns the number of decisions."""
        return len(self.target)

    def take(self, rows: npt.NDArray[np.bool_]) -> Demonstrations:
        """Returns the decisions of the chosen rows."""
        return Demonstrations(
            observation={key: values[rows] for key, values in self.observation.items()},
            target=self.target[rows],
            workflow=self.workflow[rows],
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Demonstrations]) -> Self:
        """Returns the decisions of all parts, of which there is at least one."""
        return cls(
            observation={
                key: np.concatenate([part.observation[key] for part in parts])
                for key in parts[0].observation
            },
            target=np.concatenate([part.target for part in parts]),
            workflow=np.concatenate([part.workflow for part in parts]),
        )


class Player(Protocol):
    """Chooses the steps by which states are met."""

    def actions(self, observation: Obs, values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Returns int64 (m,) workers for m states with the expert's values (m, W) [reward]."""


class ExpertPlayer:
    """Takes the expert's best worker, and now and then a random one.

    So states after a failure are seen, which the expert alone would rarely meet.
    """

    def __init__(self, random_share: float, seed: int) -> None:
        """Takes the share of steps, 0..1, that a random allowed worker makes."""
        self._random_share, self._rng = random_share, np.random.default_rng(seed)

    def actions(self, observation: Obs, values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Returns the steps."""
        noise = np.where(np.isfinite(values), self._rng.random(values.shape), -1.0)
        explore = self._rng.random(len(values)) < self._random_share
        chosen: npt.NDArray[np.int64] = np.where(explore, noise.argmax(1), values.argmax(1))
        return chosen


class PolicyPlayer:
    """Plays a policy with its own randomness, so that the states are those that it will meet."""

    def __init__(self, policy: Agent, seed: int) -> None:
        """Takes the policy, and seeds torch's random numbers, which it draws from."""
        self._policy = policy
        torch.manual_seed(seed)

    def actions(self, observation: Obs, values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Returns the steps."""
        chosen, _ = self._policy.predict(observation, deterministic=False)
        return np.asarray(chosen, np.int64)


def collect_demonstrations(
    setting: Setting,
    expert: Expert,
    player: Player,
    *,
    seed: int,
    temperature: float,
    keys: tuple[str, ...] = KEYS,
) -> Demonstrations:
    """Plays every workflow once and labels each decision by the expert.

    Targets are softmax(value / temperature): where several workers would do about as well, the
    target says so, and the cloned policy keeps its entropy. States that leave nothing to decide
    (no worker is allowed from the start) are left out.

    Args:
        setting: training workflows, rules and weights.
        expert: labels the states.
        player: decides which states are met.
        seed: of simulated outcomes, and of what varies by episode.
        temperature: > 0, in units of reward.
        keys: of the observation, as the player and the policy to be cloned read it.
    Raises:
        ConfigError: no workflow leaves anything to decide, or the data lack a key.
    """
    episodes = start_episodes(setting, seed=seed, keys=keys)
    parts = []
    rows = np.flatnonzero(episodes.ended == ONGOING)
    while len(rows):
        values = expert.values(episodes, rows)
        observation = {key: getattr(episodes.out, key)[rows] for key in keys}
        met = Demonstrations(
            observation=observation, target=soft_targets(values, temperature), workflow=rows
        )
        parts.append(met.take(episodes.state.episode[rows, CURRENT] != NONE))
        episodes.step(player.actions(observation, values), rows)
        rows = rows[episodes.ended[rows] == ONGOING]
    data = Demonstrations.concatenate(parts)
    if not len(data):
        raise ConfigError(
            f"system: none of {episodes.n} training workflows has a worker that is allowed at its "
            "start; raise cost_budget_usd or name other workers"
        )
    return data


def soft_targets(utility: npt.NDArray[np.float64], temperature: float) -> npt.NDArray[np.float32]:
    """Returns float32 (m, W): softmax(utility / temperature); -inf becomes 0."""
    scaled = (utility - utility.max(axis=1, keepdims=True)) / temperature
    odds = np.exp(scaled)
    target: npt.NDArray[np.float32] = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
    return target
