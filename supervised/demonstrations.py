"""Demonstrations: states that an expert meets in training workflows, and what it would do there."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from agents.agent import Setting
from agents.evaluate import KEYS, start_episodes
from orchestai_env.oracle import hindsight_utility, peek
from orchestai_env.state import ONGOING


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


def collect_demonstrations(
    setting: Setting, *, seed: int, random_share: float, temperature: float
) -> Demonstrations:
    """Plays every workflow once and labels each decision by per-call hindsight.

    The expert is the best worker in hindsight, `oracle.hindsight_utility`. Some steps take a random
    allowed worker instead, so that states after a failure are seen; their labels are the expert's
    all the same. Targets are softmax(utility / temperature): where several workers would do about
    as well, the target says so, and the cloned policy keeps its entropy.

    Args:
        setting: training workflows, rules and weights.
        seed: of the random steps and of simulated outcomes.
        random_share: 0..1, share of steps that take a random worker.
        temperature: > 0, in units of reward.
    """
    rng = np.random.default_rng(seed)
    episodes = start_episodes(setting, seed=seed)
    weights = setting.weights.as_array()
    parts: list[tuple[dict[str, npt.NDArray[np.generic]], npt.NDArray[np.float32]]] = []
    owners = []
    rows = np.flatnonzero(episodes.ended == ONGOING)
    while len(rows):
        utility = hindsight_utility(peek(episodes, rows), weights)
        observation = {key: getattr(episodes.out, key)[rows] for key in KEYS}
        parts.append((observation, soft_targets(utility, temperature)))
        owners.append(rows)
        noise = np.where(np.isfinite(utility), rng.random(utility.shape), -1.0)
        explore = rng.random(len(rows)) < random_share
        episodes.step(np.where(explore, noise.argmax(1), utility.argmax(1)), rows)
        rows = rows[episodes.ended[rows] == ONGOING]
    return Demonstrations(
        observation={key: np.concatenate([obs[key] for obs, _ in parts]) for key in KEYS},
        target=np.concatenate([target for _, target in parts]),
        workflow=np.concatenate(owners),
    )


def soft_targets(utility: npt.NDArray[np.float64], temperature: float) -> npt.NDArray[np.float32]:
    """Returns float32 (m, W): softmax(utility / temperature); -inf becomes 0."""
    scaled = (utility - utility.max(axis=1, keepdims=True)) / temperature
    odds = np.exp(scaled)
    target: npt.NDArray[np.float32] = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
    return target
