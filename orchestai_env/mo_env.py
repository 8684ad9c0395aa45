"""OrchestAIMOEnv: the reward as a vector that nothing has weighted yet; single and batched."""

from __future__ import annotations

import functools
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from orchestai_env.env import Obs, OrchestAIEnv
from orchestai_env.reward import REWARD_TERMS
from orchestai_env.rules import EpisodeRules
from orchestai_env.vector_env import OrchestAIVectorEnv
from orchestai_env.workers import milliseconds_to_us

_SIGNS = np.array([1.0, -1.0, -1.0, 1.0])
"""Cost and latency are to be small; in the order of REWARD_TERMS."""


class OrchestAIMOEnv(OrchestAIEnv):
    """OrchestAIEnv with four rewards instead of their weighted sum, as MO-Gymnasium has them.

    Everything but the reward of `step` is that of OrchestAIEnv with the same arguments, bit for
    bit.

    ## Rewards
    float64 (4,), of the step alone, unweighted; `reward_space` holds the bounds:

    | index | objective | unit | range |
    |---|---|---|---|
    | 0 | success | workflow succeeds now | 0 or 1 |
    | 1 | - cost | USD | <= 0 |
    | 2 | - latency: clock advance | ms | -deadline_ms..0, without a deadline <= 0 |
    | 3 | shaping: newly succeeded subtasks | subtasks | 0..max_subtasks |

    The reward of OrchestAIEnv is the product with `reward_weights.as_array()`, and with
    `preference_spread` that with weights of the episode's own. `reward_weights` still matters: the
    observation shows the weights, and `info["reward_terms"]` are weighted.

    ```python
    import mo_gymnasium as mo_gym
    from mo_gymnasium.wrappers import LinearReward

    env = mo_gym.make("orchestai_env:OrchestAI-MO-v0")
    scalar = LinearReward(env, weight=env.unwrapped.reward_weights.as_array())
    ```

    ## Version History
    - v0: initial version
    """

    @functools.cached_property
    def reward_space(self) -> gym.spaces.Box:
        """Bounds of the vector reward, float64 (4,)."""
        return _reward_space(self.rules, self.dataset.workflows.max_subtasks)

    def step(  # type: ignore[override]  # a vector is what MO-Gymnasium wants instead of a number
        self, action: Any
    ) -> tuple[Obs, npt.NDArray[np.float64], bool, bool, dict[str, Any]]:
        """Calls worker `action` on the current subtask; raises as OrchestAIEnv.step does."""
        obs, _, terminated, truncated, info = super().step(action)
        return obs, _objectives(self._episodes.state.amounts[0]), terminated, truncated, info


class OrchestAIMOVectorEnv(OrchestAIVectorEnv):
    """OrchestAIMOEnv over `num_envs` rows; rewards are float64 (num_envs, 4).

    Row i is what OrchestAIVectorEnv says, and its rewards those of OrchestAIMOEnv, bit for bit.
    Gymnasium's own vector environments have room for one number per row; MO-Gymnasium's do not
    need this class.
    """

    @functools.cached_property
    def reward_space(self) -> gym.spaces.Box:
        """Bounds of the vector reward of one row, float64 (4,)."""
        return _reward_space(self.rules, self.dataset.workflows.max_subtasks)

    def _rewards(self) -> npt.NDArray[np.float64]:
        return _objectives(self.episodes.state.amounts)


def _objectives(amounts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns the amounts (..., 4) with the signs of rewards; never -0.0."""
    signed: npt.NDArray[np.float64] = amounts * _SIGNS + 0.0
    return signed


def _reward_space(rules: EpisodeRules, max_subtasks: int) -> gym.spaces.Box:
    """Returns the bounds of the vector reward, float64 (4,)."""
    deadline_ms = rules.deadline_ms
    longest = np.inf if deadline_ms is None else milliseconds_to_us(deadline_ms) / 1000.0
    low = np.array([0.0, -np.inf, -longest, 0.0])
    high = np.array([1.0, 0.0, 0.0, float(max_subtasks)])
    return gym.spaces.Box(low, high, (len(REWARD_TERMS),), np.float64)
