"""Episodes: n running episodes over one data set; what OrchestAIEnv and its batched form share."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from orchestai_env.buffers import Buffer
from orchestai_env.compiled import compiled, inlined
from orchestai_env.dataset import Dataset
from orchestai_env.dynamics import reset_row, step_row
from orchestai_env.errors import ConfigError, MaskedActionError
from orchestai_env.execution_result import ExecutionResult
from orchestai_env.features import Features, build_features, empty_features
from orchestai_env.handle import RecordType, map_arrays
from orchestai_env.observation import Observation, ObservationLayout, empty_observation
from orchestai_env.observe import (
    copy_embeddings,
    fill_known_workers,
    forget,
    write_features,
    write_observation,
)
from orchestai_env.problem import build_problem
from orchestai_env.results import read_result
from orchestai_env.reward import RewardWeights
from orchestai_env.rules import EpisodeRules
from orchestai_env.state import (
    CURRENT,
    KEY,
    NONE,
    NUMBER,
    ONGOING,
    TERMINATED,
    TRUNCATED,
    EpisodeState,
    Problem,
    empty_problem,
    new_state,
)
from orchestai_env.threads import RowThreads

_KEY_LIMIT = 1 << 63
_BLOCK = 64  # rows; measured best of 16 to 1,024


class Machine(NamedTuple):
    """Everything that a step reads and writes."""

    problem: Problem
    features: Features
    state: EpisodeState
    out: Observation
    final: Observation
    """Last observations of the episodes that ended, where rows restart by themselves."""


MACHINE = RecordType(
    Machine(
        empty_problem(),
        empty_features(),
        new_state(1, 1, 1),
        empty_observation(),
        empty_observation(),
    )
)
thaw = MACHINE.thaw


class Episodes:
    """n episodes over one data set, stepped together by the same compiled transition.

    A row's random numbers depend on its key and its episode number only, so a row behaves the same
    whatever n is.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        n: int,
        rules: EpisodeRules,
        weights: RewardWeights,
        layout: ObservationLayout,
    ) -> None:
        """Allocates n episodes; `seed_row` and `reset` start them.

        Raises:
            ConfigError: min_workers is larger than the pool.
        """
        self.dataset, self.rules, self.n = dataset, rules, n
        self.problem = build_problem(dataset, rules, weights)
        self.features = build_features(dataset)
        fill_known_workers(self.features, self.problem.weights)
        self.state = new_state(n, self.problem.task_type.shape[1], len(dataset.pool))
        self.state.episode[:, NUMBER] = -1
        self.out = layout.allocate(n)
        self.threads = RowThreads(n)
        self._refuses_masked = rules.on_masked_action == "error"
        self._all_rows = np.arange(n)
        self._worker_names = dataset.pool.names
        self._handle = self._freeze()

    @property
    def reward(self) -> npt.NDArray[np.float64]:
        """float64 (n,); of the last step."""
        return self.state.reward

    @property
    def ended(self) -> npt.NDArray[np.int64]:
        """int64 (n,); how the last step left each episode."""
        return self.state.ended

    @property
    def summary(self) -> npt.NDArray[np.float64]:
        """float64 (n, 6); what the last ended episode of each row did, see state.SUMMARY."""
        return self.state.summary

    def seed_row(self, r: int, rng: np.random.Generator) -> None:
        """Draws the key of row r's random numbers; its next episode is number 0."""
        self.state.episode[r, KEY] = rng.integers(_KEY_LIMIT)
        self.state.episode[r, NUMBER] = -1

    def reset(
        self,
        rows: npt.NDArray[np.int64] | None = None,
        workflows: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Starts the next episode of the rows (all where None).

        Args:
            rows: int64 (m,).
            workflows: int64 (m,); workflow of each, drawn by the row's random numbers where None.
        Raises:
            ConfigError: a workflow index is out of range.
        """
        rows = self._all_rows if rows is None else rows
        if workflows is None:
            workflows = np.full(len(rows), NONE, np.int64)
        else:
            self.check_workflows(workflows)
        _reset_rows(self._handle, rows, workflows.astype(np.int64))

    def step(
        self, actions: npt.NDArray[np.int64], rows: npt.NDArray[np.int64] | None = None
    ) -> None:
        """Steps the rows (all where None); fills `out`, `reward` and `ended`.

        Args:
            actions: int64 (m,), 0..W-1; the caller has checked the range.
            rows: int64 (m,).
        Raises:
            MaskedActionError: a masked worker under on_masked_action="error"; nothing was stepped.
        """
        rows = self._all_rows if rows is None else rows
        self.refuse_masked(actions, rows)
        _step_rows(self._handle, rows, actions)

    def reset_one(self, workflow: int | None, buffer: Buffer) -> None:
        """Starts the next episode of row 0 as `reset` does; writes all of the buffer.

        Raises:
            ConfigError: the workflow is out of range.
        """
        if workflow is not None:
            self.check_workflows(np.array([workflow]))
        self.write_to(buffer)
        _reset_one(self._handle, NONE if workflow is None else workflow)

    def step_one(self, action: int, buffer: Buffer) -> float:
        """Steps row 0 as `step` does; writes all of the buffer, and returns the reward."""
        if self._refuses_masked:
            self.refuse_masked(np.array([action]))
        if buffer.handle is None:
            self.write_to(buffer)
        self._handle, self.out = buffer.handle, buffer.record
        reward: float = _step_one(buffer.handle, action)
        return reward

    def step_and_restart(self, actions: npt.NDArray[np.int64]) -> None:
        """Steps all rows; one that ends starts its next episode at once.

        Its last observation goes where `write_final_to` says.

        Args:
            actions: int64 (n,), 0..W-1; the caller has checked the range, and called
                `refuse_masked`.
        """
        self.threads.run(_step_and_restart, self._handle, actions)

    def refuse_masked(
        self, actions: npt.NDArray[np.int64], rows: npt.NDArray[np.int64] | None = None
    ) -> None:
        """Raises where an action is masked and the rules make that an error.

        Raises:
            MaskedActionError: names the first such row and what is allowed there.
        """
        if not self._refuses_masked:
            return
        rows = self._all_rows if rows is None else rows
        masked = self.state.mask[rows, actions] == 0
        if masked.any():
            first = int(np.argmax(masked))
            r, action = int(rows[first]), int(actions[first])
            names = self.worker_names(r)
            allowed = [str(names[a]) for a in np.flatnonzero(self.state.mask[r])]
            raise MaskedActionError(
                f"episode row {r}, subtask {int(self.state.episode[r, CURRENT])}: worker "
                f"{names[action]!r} (action {action}) is masked; allowed: {', '.join(allowed)}. "
                'Choose by action_mask, or set on_masked_action="replace"'
            )

    def check_workflows(self, workflows: npt.NDArray[np.int64]) -> None:
        """Checks indexes of workflows.

        Raises:
            ConfigError: one is out of range.
        """
        last = len(self.dataset.workflows) - 1
        if workflows.min() < 0 or workflows.max() > last:
            raise ConfigError(
                f"workflow: expected an index in 0..{last}, "
                f"got {int(workflows.min())}..{int(workflows.max())}"
            )

    def write_to(self, buffer: Buffer) -> None:
        """Makes the following steps write their observations there; one buffer, one Episodes."""
        if buffer.handle is None:
            handle = copy.copy(self._handle)
            buffer.handle = MACHINE.with_part(handle, "out", buffer.record, buffer.table)
        self._handle, self.out = buffer.handle, buffer.record

    def write_final_to(self, buffer: Buffer) -> None:
        """Makes `step_and_restart` write the last observation of an ended episode there."""
        self._final = buffer.record
        self._handle = MACHINE.with_part(self._handle, "final", buffer.record, buffer.table)

    def fork(self, seed: int | None = None) -> Self:
        """Returns an independent copy of the running episodes; the tables are shared.

        Args:
            seed: None keeps the random numbers, so that the copy meets the same outcomes; a number
                draws others for all calls that have not started yet.
        """
        twin = copy.copy(self)
        twin.state = map_arrays(self.state, np.copy)
        twin.out = map_arrays(self.out, np.copy)
        twin.threads = RowThreads(self.n, self.threads.num_threads)
        if seed is not None:
            rng = np.random.default_rng(seed)
            twin.state.episode[:, KEY] = rng.integers(_KEY_LIMIT, size=self.n)
        twin._handle = twin._freeze()
        return twin

    def is_terminated(self) -> npt.NDArray[np.bool_]:
        """Returns bool (n,): the last step ended the episode by itself."""
        return np.equal(self.ended, TERMINATED)

    def is_truncated(self) -> npt.NDArray[np.bool_]:
        """Returns bool (n,): the last step met max_steps."""
        return np.equal(self.ended, TRUNCATED)

    def worker_names(self, r: int) -> tuple[str | None, ...]:
        """Returns the worker that each action of row r calls in this episode; None where absent."""
        names = self._worker_names
        return tuple(None if w == NONE else names[w] for w in self.state.roster[r])

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out the addresses, which mean nothing elsewhere."""
        return {name: value for name, value in self.__dict__.items() if name != "_handle"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Notes the addresses of the new arrays."""
        self.__dict__.update(state)
        self._handle = self._freeze()

    def _freeze(self) -> Any:
        self._final = self.out
        return MACHINE.freeze(
            Machine(self.problem, self.features, self.state, self.out, self._final)
        )

    def result(self, r: int) -> ExecutionResult:
        """Returns what the episode of row r did, took and cost so far."""
        return read_result(self.state, r, self.problem, self._worker_names, self.dataset.task_types)


@compiled
def _reset_rows(handle: Any, rows: npt.NDArray[np.int64], workflows: npt.NDArray[np.int64]) -> None:
    problem, features, state, out, _ = thaw(handle)
    for index in range(len(rows)):
        r = rows[index]
        state.episode[r, NUMBER] += 1
        state.ended[r] = ONGOING
        reset_row(problem, state, r, workflows[index])
        write_observation(problem, features, state, out, r)


@compiled
def _reset_one(handle: Any, workflow: int) -> None:
    problem, features, state, out, _ = thaw(handle)
    state.episode[0, NUMBER] += 1
    state.ended[0] = ONGOING
    reset_row(problem, state, 0, workflow)
    forget(out, 0)
    write_observation(problem, features, state, out, 0)


@compiled
def _step_one(handle: Any, action: int) -> float:
    problem, features, state, out, _ = thaw(handle)
    step_row(problem, state, 0, action)
    forget(out, 0)
    write_observation(problem, features, state, out, 0)
    return float(state.reward[0])


@compiled
def _step_rows(handle: Any, rows: npt.NDArray[np.int64], actions: npt.NDArray[np.int64]) -> None:
    problem, features, state, out, _ = thaw(handle)
    for index in range(len(rows)):
        r = rows[index]
        step_row(problem, state, r, actions[index])
        write_observation(problem, features, state, out, r)


@compiled
def _step_and_restart(handle: Any, actions: npt.NDArray[np.int64], first: int, last: int) -> None:
    """Steps rows in blocks that stay in the cache, and each block in passes.

    Copying embeddings waits for memory; one after another, the copies overlap.
    """
    problem, features, state, out, final = thaw(handle)
    for start in range(first, last, _BLOCK):
        stop = min(start + _BLOCK, last)
        for r in range(start, stop):
            step_and_restart_row(problem, features, state, final, r, actions[r])
        for r in range(start, stop):
            write_features(problem, features, state, out, r)
        for r in range(start, stop):
            copy_embeddings(features, out, r, 0, 1)
            if state.ended[r] != ONGOING:
                copy_embeddings(features, final, r, 0, 1)


@inlined
def step_and_restart_row(
    problem: Problem,
    features: Features,
    state: EpisodeState,
    final: Observation,
    r: int,
    action: int,
) -> None:
    """Steps row r; if it ends, writes its last observation to `final` and starts the next.

    Without the embeddings, which `copy_embeddings` copies.
    """
    step_row(problem, state, r, action)
    if state.ended[r] != ONGOING:
        write_features(problem, features, state, final, r)
        state.episode[r, NUMBER] += 1
        reset_row(problem, state, r, NONE)
