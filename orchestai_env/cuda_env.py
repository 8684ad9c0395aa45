"""OrchestAICudaEnv: the batched environment on an NVIDIA GPU; needs the extra `gpu`.

The transition and the observation are those of the CPU, compiled for the GPU by numba-cuda: one
thread steps one episode, and 32 together copy its embeddings. Arrays stay on the GPU; any library
that reads `__cuda_array_interface__` takes them as they are (`torch.as_tensor(x, device="cuda")`).
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import numpy.typing as npt

if not hasattr(np, "row_stack"):  # numba-cuda 0.30 asks numpy 2.5 for it by name
    np.row_stack = np.vstack

from numba import cuda as untyped_cuda

from orchestai_env.arguments import workflow_option
from orchestai_env.buffers import Buffer, BufferPool
from orchestai_env.dynamics import reset_row
from orchestai_env.episodes import step_and_restart_row
from orchestai_env.errors import ConfigError, MissingPackageError
from orchestai_env.features import Features, empty_features
from orchestai_env.handle import RecordType, address_table, map_arrays
from orchestai_env.observation import empty_observation
from orchestai_env.observe import copy_embeddings, write_features
from orchestai_env.state import (
    NONE,
    NUMBER,
    ONGOING,
    SUMMARY,
    TERMINATED,
    TRUNCATED,
    EpisodeState,
    Problem,
    empty_problem,
    new_state,
)
from orchestai_env.vector_env import OrchestAIVectorEnv

cuda: Any = untyped_cuda

_THREADS = 128  # per block of the step kernel
_LANES = 32  # threads that copy the embeddings of one row: a warp, so that they write side by side
_ROWS = 4  # per block of the copy kernel


class Core(NamedTuple):
    """What a step reads and writes beside observations."""

    problem: Problem
    features: Features
    state: EpisodeState


class Outputs(NamedTuple):
    """What a step says of n rows beside observations."""

    reward: Any
    """float64 (n,)."""
    terminated: Any
    """bool (n,)."""
    truncated: Any
    """bool (n,)."""
    done: Any
    """bool (n,); either of both."""
    summary: Any
    """float64 (n, 6); of the rows that are done, columns as state.SUMMARY."""


def _new_outputs(n: int) -> Outputs:
    return Outputs(
        reward=np.zeros(n),
        terminated=np.zeros(n, np.bool_),
        truncated=np.zeros(n, np.bool_),
        done=np.zeros(n, np.bool_),
        summary=np.zeros((n, len(SUMMARY))),
    )


_CORE = RecordType(Core(empty_problem(), empty_features(), new_state(1, 1, 1)))
_OBSERVATION = RecordType(empty_observation())
_OUTPUTS = RecordType(_new_outputs(1))
_thaw_core, _thaw_observation, _thaw_outputs = _CORE.thaw, _OBSERVATION.thaw, _OUTPUTS.thaw


@cuda.jit  # type: ignore[untyped-decorator]
def _reset_kernel(core: Any, out: Any, workflows: Any) -> None:
    r = cuda.grid(1)
    if r < len(workflows):
        problem, features, state = _thaw_core(core)
        state.episode[r, NUMBER] += 1
        state.ended[r] = ONGOING
        reset_row(problem, state, r, workflows[r])
        write_features(problem, features, state, _thaw_observation(out), r)


@cuda.jit  # type: ignore[untyped-decorator]
def _step_kernel(core: Any, out: Any, final: Any, outputs: Any, actions: Any) -> None:
    r = cuda.grid(1)
    if r < len(actions):
        problem, features, state = _thaw_core(core)
        action = actions[r]
        if action < 0 or action >= state.mask.shape[1]:
            action = 0
        step_and_restart_row(problem, features, state, _thaw_observation(final), r, action)
        write_features(problem, features, state, _thaw_observation(out), r)
        said, ended = _thaw_outputs(outputs), state.ended[r]
        said.reward[r] = state.reward[r]
        said.terminated[r] = ended == TERMINATED
        said.truncated[r] = ended == TRUNCATED
        said.done[r] = ended != ONGOING
        for column in range(said.summary.shape[1]):
            said.summary[r, column] = state.summary[r, column]


@cuda.jit  # type: ignore[untyped-decorator]
def _copy_kernel(core: Any, out: Any, only_ended: bool) -> None:
    lane, r = cuda.grid(2)
    _, features, state = _thaw_core(core)
    if r < len(state.ended) and not (only_ended and state.ended[r] == ONGOING):
        copy_embeddings(features, _thaw_observation(out), r, lane, _LANES)


@dataclasses.dataclass(slots=True)
class _CudaBuffer(Buffer):
    """Observations on the GPU, and what a step says of its rows."""

    outputs: Any = None
    outputs_handle: Any = None


class OrchestAICudaEnv(OrchestAIVectorEnv):
    """OrchestAIVectorEnv on a GPU: same arguments, same episodes, states equal bit for bit.

    `reset` and `step` return arrays on the GPU of the same shapes and dtypes, which are written
    again once nobody holds them. Actions may lie on the GPU, as int64 (num_envs,); their values are
    not checked there, as that would wait for the GPU: one out of range stands for action 0. `step`
    waits for nothing. `info` holds `action_mask`, `final_obs` with its mask `_final_obs` (the rows
    that ended), and `final_info` {"summary": float64 (num_envs, 6)} with its mask: what ended,
    columns as state.SUMMARY.
    """

    def __init__(self, num_envs: int = 1, *args: Any, **kwargs: Any) -> None:
        """Builds the environment; see OrchestAIVectorEnv for the arguments.

        Raises:
            MissingPackageError: there is no GPU, or no numba-cuda.
            ConfigError: an argument is wrong, or on_masked_action="error", which needs the CPU.
        """
        if not cuda.is_available():
            raise MissingPackageError(
                "OrchestAICudaEnv needs an NVIDIA GPU and "
                'pip install "orchestai-env[gpu]"; on a CPU use OrchestAIVectorEnv'
            )
        super().__init__(num_envs, *args, **kwargs)
        if self.rules.on_masked_action == "error":
            raise ConfigError(
                "on_masked_action: expected 'replace' on a GPU, which cannot raise; got 'error'"
            )
        episodes = self.episodes
        host = Core(episodes.problem, episodes.features, episodes.state)
        # Records of arrays on the GPU have the types of those on the CPU, but not their methods.
        self._core: Any = map_arrays(host, cuda.to_device)
        self._core_handle = _handle_of(self._core)
        self._cuda_buffers = BufferPool(self._allocate)
        self._final_cuda_buffers = BufferPool(self._allocate)
        self._step_grid = (-(-num_envs // _THREADS), _THREADS)
        self._copy_grid = ((1, -(-num_envs // _ROWS)), (_LANES, _ROWS))

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Starts the next episode of every row; see OrchestAIVectorEnv."""
        workflows = workflow_option(options, self.num_envs)
        if workflows is None:
            workflows = np.full(self.num_envs, NONE, np.int64)
        else:
            self.episodes.check_workflows(workflows)
        if seed is not None or not self._is_seeded:
            episode = self.episodes.state.episode
            self._core.state.episode.copy_to_host(episode)
            self._seed_rows(seed)
            self._core.state.episode.copy_to_device(episode)
        buffer = self._cuda_buffers.take()
        starts = cuda.to_device(workflows)
        _reset_kernel[self._step_grid](self._core_handle, buffer.handle, starts)
        _copy_kernel[self._copy_grid](self._core_handle, buffer.handle, False)
        return buffer.by_key.copy(), {"action_mask": buffer.record.action_mask}

    def step(self, actions: Any) -> tuple[dict[str, Any], Any, Any, Any, dict[str, Any]]:
        """Steps every row; see the class.

        Args:
            actions: int64 (num_envs,) on the GPU, or anything that numpy reads.
        Raises:
            gymnasium.error.ResetNeeded: nothing was started.
            ConfigError: another shape or dtype, or actions that do not lie on the GPU and are no
                worker indexes.
        """
        if not self._is_seeded:
            raise gym.error.ResetNeeded("no episode has begun; call reset() first")
        interface = getattr(actions, "__cuda_array_interface__", None)
        if interface is None:
            actions = cuda.to_device(self.checked_actions(actions))
        elif interface["shape"] != (self.num_envs,) or interface["typestr"] != "<i8":
            raise ConfigError(
                f"actions: expected int64 ({self.num_envs},) on the GPU, got "
                f"{np.dtype(interface['typestr'])} {tuple(interface['shape'])}"
            )
        buffer, final = self._cuda_buffers.take(), self._final_cuda_buffers.take()
        _step_kernel[self._step_grid](
            self._core_handle, buffer.handle, final.handle, buffer.outputs_handle, actions
        )
        _copy_kernel[self._copy_grid](self._core_handle, buffer.handle, False)
        _copy_kernel[self._copy_grid](self._core_handle, final.handle, True)
        said = buffer.outputs
        info = {
            "action_mask": buffer.record.action_mask,
            "final_obs": final.by_key.copy(),
            "_final_obs": said.done,
            "final_info": {"summary": said.summary, "_summary": said.done},
            "_final_info": said.done,
        }
        return buffer.by_key.copy(), said.reward, said.terminated, said.truncated, info

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Returns bool (num_envs, W), copied from the GPU."""
        masks: npt.NDArray[np.bool_] = self._core.state.mask.copy_to_host() > 0
        return masks

    def copy_state_to_host(self) -> EpisodeState:
        """Returns the state of all episodes, copied from the GPU."""
        return EpisodeState(*(array.copy_to_host() for array in self._core.state))

    def _allocate(self) -> _CudaBuffer:
        host = self.observation_layout.allocate(self.num_envs)
        mask = np.zeros((self.num_envs, len(self.dataset.pool)), np.int8)
        record = map_arrays(host._replace(action_mask=mask), cuda.to_device)
        by_key = self.observation_layout.as_dict(record)
        outputs = map_arrays(_new_outputs(self.num_envs), cuda.to_device)
        watched = tuple(
            owner for array in (*record, *outputs) for owner in _owners_of_memory(array)
        )
        return _CudaBuffer(
            record,
            np.zeros((0, 0), np.int64),
            by_key,
            watched,
            list(map(sys.getrefcount, watched)),
            _handle_of(record),
            outputs,
            _handle_of(outputs),
        )


def _owners_of_memory(array: Any) -> tuple[Any, ...]:
    """Returns what an array on the GPU, another shape of it or a slice of it keep alive.

    A slice does not hold its array, unlike numpy's, but the memory below it.
    """
    if not _CORE.is_compiled:  # the simulator's arrays lie in numpy's
        return array, array.base
    return array, array.gpu_data, array.gpu_data.owner


def _handle_of(record: Any) -> Any:
    """Returns the handle of a record on the GPU; the simulator takes the record itself."""
    if not _CORE.is_compiled:
        return record
    table = address_table(record, lambda array: int(array.__cuda_array_interface__["data"][0]))
    return cuda.to_device(table)
