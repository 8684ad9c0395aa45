"""OrchestAIVectorEnv: many episodes stepped by one compiled loop."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from orchestai_env.arguments import (
    as_array,
    checked_seeds,
    resolve_dataset,
    resolve_plans,
    resolve_rules,
    resolve_weights,
    workflow_option,
)
from orchestai_env.buffers import Buffer, BufferPool, batch_buffer
from orchestai_env.dataset import Dataset
from orchestai_env.env import Obs
from orchestai_env.episodes import Episodes
from orchestai_env.errors import ConfigError, shown
from orchestai_env.observation import ObservationLayout
from orchestai_env.planning.planner import Planner
from orchestai_env.reward import RewardWeights
from orchestai_env.state import SUMMARY

_METADATA: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}


class OrchestAIVectorEnv(VectorEnv[Obs, npt.NDArray[np.int64], npt.NDArray[Any]]):
    """OrchestAIEnv over `num_envs` rows: same rules, same arguments, same random numbers.

    `gym.make_vec("OrchestAI-v0", num_envs=n, vectorization_mode="vector_entry_point")` makes it. It
    does not render. Row i seeded with s gives the episodes of a single environment seeded with
    s + i; `reset` also takes one seed, and one workflow, per row. Arrays have a first axis of rows.
    A row that ends restarts in the same step (`AutoresetMode.SAME_STEP`). With a planner it plays
    the plans of the data set's instructions; `info` does not say whose they are, and other
    instructions need a single environment.

    | info key | when | content |
    |---|---|---|
    | `action_mask` | always | int8 (num_envs, W) |
    | `final_obs` | where a row ended | last observations of the ended episodes |
    | `final_info` | where a row ended | what they did: `is_success`, `total_cost` [USD], \
`total_latency_ms`, `steps` (decisions), `masked_actions`, `succeeded` (subtasks) |

    `_final_obs` and `_final_info` are True in the rows that ended; others hold nothing of meaning.

    Observations are not copied: a buffer is written again once nobody holds it, so what a caller
    keeps stays as it is. Parts that have not changed are not written again either, so do not write
    into an observation; copy it first.
    """

    metadata = _METADATA
    single_observation_space: gym.spaces.Dict[Any]
    single_action_space: gym.spaces.Discrete

    def __init__(
        self,
        num_envs: int = 1,
        dataset: Dataset | str | Path | None = None,
        *,
        split: str | None = None,
        planner: Planner | None = None,
        reward_weights: RewardWeights | Mapping[str, Any] | str | Path | None = None,
        observation: Sequence[str] | None = None,
        render_mode: str | None = None,
        **rules: Any,
    ) -> None:
        """Builds the environment; see OrchestAIEnv for the arguments.

        Raises:
            ConfigError: an argument is unknown or out of range; the message names it.
            OrchestAIError: the data set cannot be read, or an instruction not be planned.
        """
        if render_mode is not None:
            raise ConfigError(f"render_mode: expected None, got {render_mode!r}")
        self.render_mode = render_mode
        self.num_envs = num_envs = _checked_num_envs(num_envs)
        annotated = resolve_dataset(dataset, split)
        self.reward_weights = resolve_weights(reward_weights)
        self.rules = resolve_rules(rules)
        self.dataset, _ = resolve_plans(annotated, planner, observation)
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
        allocate = functools.partial(batch_buffer, self.observation_layout, num_envs)
        self._buffers, self._final_buffers = BufferPool(allocate), BufferPool(allocate)
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
            ConfigError: no seed, another number of them than rows, or an unknown option.
        """
        if seed is not None or not self._is_seeded:
            self._seed_rows(seed)
        workflows = workflow_option(options, self.num_envs)
        self._next_buffer()
        self.episodes.reset(workflows=workflows)
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
        episodes, actions = self.episodes, self.checked_actions(actions)
        episodes.refuse_masked(actions)
        self._next_buffer()
        final = self._final_buffers.take()
        episodes.write_final_to(final)
        episodes.step_and_restart(actions)
        terminated, truncated = episodes.is_terminated(), episodes.is_truncated()
        done, info = terminated | truncated, self._info()
        if done.any():
            info |= self._final(done, final)
        return self._observe(), self._rewards(), terminated, truncated, info

    def checked_actions(self, actions: Any) -> npt.NDArray[np.int64]:
        """Returns the actions as int64 (num_envs,).

        Raises:
            ConfigError: another shape, or an action that is no worker index.
        """
        given = as_array(actions)
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
        for r, row_seed in enumerate(checked_seeds(seed, self.num_envs)):
            if row_seed is None and self._is_seeded:
                continue
            rng, _ = seeding.np_random(row_seed)
            self.episodes.seed_row(r, rng)
        self._is_seeded = True

    def _next_buffer(self) -> None:
        self._buffer = self._buffers.take()
        self.episodes.write_to(self._buffer)

    def _rewards(self) -> npt.NDArray[np.float64]:
        return self.episodes.reward.copy()

    def _observe(self) -> Obs:
        return self._buffer.by_key.copy()

    def _info(self) -> dict[str, Any]:
        return {"action_mask": self.episodes.state.mask.copy()}

    def _final(self, done: npt.NDArray[np.bool_], final: Buffer) -> dict[str, Any]:
        """Returns final_obs and final_info as Gymnasium nests them, with a `_key` mask each."""
        rows = final.by_key
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
        raise ConfigError(f"num_envs: expected a whole number >= 1, got {shown(given)}")
    return int(given)
