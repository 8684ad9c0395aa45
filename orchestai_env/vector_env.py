"""OrchestAIVectorEnv: many episodes stepped by one compiled loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from orchestai_env.dataset import Dataset
from orchestai_env.env import Obs, resolve_dataset, resolve_weights, workflow_option
from orchestai_env.episodes import SUMMARY, EpisodeRules, Episodes
from orchestai_env.errors import ConfigError
from orchestai_env.observation import ObservationLayout
from orchestai_env.reward import RewardWeights
from orchestai_env.settings import parse_settings

_METADATA: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}


class OrchestAIVectorEnv(VectorEnv[Obs, npt.NDArray[np.int64], npt.NDArray[Any]]):
    """OrchestAIEnv over `num_envs` rows: same rules, same arguments, same random numbers.

    Row i seeded with s gives the episodes of a single environment seeded with s + i. A row that
    ends restarts in the same step; `info["final_obs"]` and `info["final_info"]` hold what ended.
    """

    metadata = _METADATA
    single_observation_space: gym.spaces.Dict[Any]
    single_action_space: gym.spaces.Discrete

    def __init__(
        self,
        num_envs: int = 1,
        dataset: Dataset | str | Path | None = None,
        *,
        split: str = "train",
        reward_weights: RewardWeights | Mapping[str, Any] | str | Path | None = None,
        observation: Sequence[str] | None = None,
        render_mode: str | None = None,
        **rules: Any,
    ) -> None:
        """Builds the environment; see OrchestAIEnv for the arguments.

        Raises:
            ConfigError: an argument is unknown or out of range; the message names it.
            OrchestAIError: the data set cannot be read.
        """
        if render_mode is not None:
            raise ConfigError(f"render_mode: expected None, got {render_mode!r}")
        self.render_mode = render_mode
        self.num_envs = num_envs = _checked_num_envs(num_envs)
        self.dataset = resolve_dataset(dataset, split)
        self.reward_weights = resolve_weights(reward_weights)
        self.rules = parse_settings(rules, EpisodeRules, where="OrchestAI-v0")
        self.observation_layout = ObservationLayout.of(self.dataset, observation)
        self.single_observation_space = self.observation_layout.space
        self.single_action_space = gym.spaces.Discrete(len(self.dataset.pool))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.episodes = Episodes(
            self.dataset,
            n=num_envs,
            rules=self.rules,
            weights=self.reward_weights,
            layout=self.observation_layout,
        )
        self._is_seeded = False

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Obs, dict[str, Any]]:
        """Starts the next episode of every row.

        Args:
            seed: row i takes seed + i, or its own of a sequence.
            options: {"workflow": index, or one per row} or None.
        Raises:
            ConfigError: an unknown option, or another number of seeds than rows.
        """
        if seed is not None or not self._is_seeded:
            self._seed_rows(seed)
        self.episodes.reset(workflows=workflow_option(options, self.num_envs))
        return self._observe(), self._info()

    def step(
        self, actions: Any
    ) -> tuple[Obs, npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], dict[str, Any]]:
        """Steps every row; rows that end restart at once.

        Args:
            actions: integers (num_envs,), 0..W-1.
        Raises:
            gymnasium.error.ResetNeeded: nothing was started.
            ConfigError: another shape, or an action that is no worker index.
            MaskedActionError: a masked worker under on_masked_action="error".
        """
        if not self._is_seeded:
            raise gym.error.ResetNeeded("no episode has begun; call reset() first")
        episodes = self.episodes
        episodes.step(self.checked_actions(actions))
        reward = episodes.reward.copy()
        terminated, truncated = episodes.is_terminated(), episodes.is_truncated()
        final: dict[str, Any] = {}
        done = terminated | truncated
        if done.any():
            final = self._final(done)
            episodes.restart_ended()
        return self._observe(), reward, terminated, truncated, self._info() | final

    def checked_actions(self, actions: Any) -> npt.NDArray[np.int64]:
        """Returns the actions as int64 (num_envs,).

        Raises:
            ConfigError: another shape, or an action that is no worker index.
        """
        given = np.asarray(actions)
        last = int(self.single_action_space.n) - 1
        if given.shape != (self.num_envs,) or given.dtype.kind not in "iu":
            raise ConfigError(
                f"actions: expected {self.num_envs} integers, got {given.dtype} {given.shape}"
            )
        if given.min() < 0 or given.max() > last:
            raise ConfigError(
                f"actions: expected worker indexes 0..{last}, got {given.min()}..{given.max()}"
            )
        return given.astype(np.int64)

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Returns bool (num_envs, W): True where the action is allowed."""
        return self.episodes.state.mask.astype(bool)

    def _seed_rows(self, seed: int | Sequence[int | None] | None) -> None:
        if isinstance(seed, Sequence):
            if len(seed) != self.num_envs:
                raise ConfigError(f"seed: expected {self.num_envs} seeds, got {len(seed)}")
            seeds = list(seed)
        else:
            seeds = [None if seed is None else seed + i for i in range(self.num_envs)]
        for r, row_seed in enumerate(seeds):
            rng, _ = seeding.np_random(row_seed)
            self.episodes.seed_row(r, rng)
        self._is_seeded = True

    def _observe(self) -> Obs:
        buffers = self.episodes.out
        return {key: getattr(buffers, key).copy() for key in self.single_observation_space.spaces}

    def _info(self) -> dict[str, Any]:
        return {"action_mask": self.episodes.state.mask.copy()}

    def _final(self, done: npt.NDArray[np.bool_]) -> dict[str, Any]:
        """Returns final_obs and final_info as Gymnasium nests them, with a `_key` mask each."""
        rows = self._observe()
        for values in rows.values():
            values[~done] = 0
        summary: dict[str, npt.NDArray[Any]]
        summary = dict(zip(SUMMARY, self.episodes.summary.T.copy(), strict=True))
        summary["is_success"] = summary["is_success"] > 0
        return {
            "final_obs": rows | {f"_{key}": done for key in rows},
            "_final_obs": done,
            "final_info": summary | {f"_{key}": done for key in summary},
            "_final_info": done,
        }


def _checked_num_envs(given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)) or given < 1:
        raise ConfigError(f"num_envs: expected a whole number >= 1, got {given!r}")
    return int(given)
