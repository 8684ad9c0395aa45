"""OrchestAIVecEnv: the batched episodes as a Stable-Baselines3 VecEnv."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvIndices, VecEnvObs

from orchestai_env.reward import REWARD_TERMS
from orchestai_env.state import CURRENT, NONE, WORKFLOW
from orchestai_env.vector_env import OrchestAIVectorEnv


class OrchestAIVecEnv(VecEnv):
    """Steps all rows of an OrchestAIVectorEnv in one call.

    It returns the arrays of the batched environment, uncopied; those are written again once nobody
    holds them. SB3 stores the observation before a step after it, and `terminal_observation` holds
    rows of them: both stay as they are. Whoever changes observations copies them first, as
    VecNormalize does.

    The info of a row that ended has what SB3's Monitor writes (`episode`), `is_success`,
    `total_cost` [USD], `total_latency_ms`, `masked_actions` (replaced by the environment) and
    `reward_terms`, float64 (4,): the parts of the unscaled return in the order of
    reward.REWARD_TERMS.
    """

    def __init__(
        self, venv: OrchestAIVectorEnv, *, seed: int = 0, reward_scale: float = 1.0
    ) -> None:
        """Wraps the environment.

        Args:
            venv: the batched environment.
            seed: of the first reset.
            reward_scale: factor on the rewards that are learned from; the episode returns in
                `info["episode"]` stay unscaled.
        """
        self._reward_scale = reward_scale
        self.venv = venv
        self._next_seed: int | None = seed
        self._actions = np.zeros(venv.num_envs, np.int64)
        self._terms = np.zeros((venv.num_envs, len(REWARD_TERMS)))
        self._picks = np.zeros((len(venv.dataset.task_types), len(venv.dataset.pool)), np.int64)
        self.render_mode = None
        super().__init__(venv.num_envs, venv.single_observation_space, venv.single_action_space)

    def reset(self) -> VecEnvObs:
        """Starts the next episode of every row."""
        observation, _ = self.venv.reset(seed=self._next_seed)
        self._next_seed = None
        self._terms[:] = 0.0
        return observation

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seeds the rows at the next reset: row i takes seed + i."""
        self._next_seed = seed
        return [None if seed is None else seed + i for i in range(self.num_envs)]

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Notes the actions."""
        self._actions = actions

    def step_wait(
        self,
    ) -> tuple[VecEnvObs, npt.NDArray[np.float32], npt.NDArray[np.bool_], list[dict[str, Any]]]:
        """Steps every row; ended rows restart, their last observation is in their info."""
        self._count_picks(self.venv.checked_actions(self._actions))
        observation, reward, terminated, truncated, info = self.venv.step(self._actions)
        self._terms += self.venv.episodes.state.terms
        done = terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for r in np.flatnonzero(done):
            infos[r] = self._final_info(int(r), bool(truncated[r]), info)
        self._terms[done] = 0.0
        return observation, (reward * self._reward_scale).astype(np.float32), done, infos

    def _final_info(self, r: int, truncated: bool, info: dict[str, Any]) -> dict[str, Any]:
        final, keys = info["final_info"], self.venv.single_observation_space.spaces
        return {
            "terminal_observation": {key: info["final_obs"][key][r] for key in keys},
            "TimeLimit.truncated": truncated,
            "is_success": bool(final["is_success"][r]),
            "total_cost": float(final["total_cost"][r]),
            "total_latency_ms": float(final["total_latency_ms"][r]),
            "masked_actions": int(final["masked_actions"][r]),
            "reward_terms": self._terms[r].copy(),
            "episode": {"r": float(self._terms[r].sum()), "l": int(final["steps"][r]), "t": 0.0},
        }

    def _count_picks(self, actions: npt.NDArray[np.int64]) -> None:
        """Counts the calls that the next step makes, also where it replaces a masked action.

        Rows with a single allowed worker do not count, nor those without a decision.
        """
        state, problem = self.venv.episodes.state, self.venv.episodes.problem
        has_choice = state.mask.sum(axis=1) > 1
        rows = np.flatnonzero(has_choice & (state.episode[:, CURRENT] != NONE))
        current, chosen = state.episode[rows, CURRENT], actions[rows]
        mask = state.mask[rows]
        masked = np.flatnonzero(mask[np.arange(len(rows)), chosen] == 0)
        if len(masked):  # the next allowed one, cyclically
            num_workers = mask.shape[1]
            order = (chosen[masked, None] + np.arange(num_workers)) % num_workers
            first = np.take_along_axis(mask[masked], order, axis=1).argmax(axis=1)
            chosen[masked] = order[np.arange(len(masked)), first]
        task_type = problem.task_type[state.episode[rows, WORKFLOW], current]
        cells = np.ravel_multi_index((task_type, state.roster[rows, chosen]), self._picks.shape)
        self._picks += np.bincount(cells, minlength=self._picks.size).reshape(self._picks.shape)

    def take_picks(self) -> npt.NDArray[np.int64]:
        """Returns int64 (T, W): calls per task type and worker since this was last asked.

        Calls that only one worker was allowed for are left out. Workers are counted by their place
        in the pool, whatever action they were put on.
        """
        picks, self._picks = self._picks, np.zeros_like(self._picks)
        return picks

    def close(self) -> None:
        """Frees nothing: there are no processes."""

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Returns bool (num_envs, W)."""
        return self.venv.action_masks()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Returns an attribute of the batched environment, once per chosen row."""
        return [getattr(self.venv, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Sets an attribute of the batched environment; rows share it."""
        setattr(self.venv, attr_name, value)

    def env_method(
        self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any
    ) -> list[Any]:
        """Calls a method of the batched environment; a result per row is split into rows."""
        result = getattr(self.venv, method_name)(*args, **kwargs)
        return [result[r] for r in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[Any], indices: VecEnvIndices = None) -> list[bool]:
        """Returns False for every row: rows carry no wrappers."""
        return [False for _ in self._get_indices(indices)]
