"""What holds in every state and over every step, checked for all rows at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from orchestai_env.rules import EpisodeRules
from orchestai_env.state import (
    ATTEMPTS,
    CLOCK,
    COST,
    CURRENT,
    END,
    ENDED,
    FIRST_START,
    KEY,
    LAST_END,
    NONE,
    NUMBER,
    ONGOING,
    PENDING,
    READY,
    REPLACED,
    RUNNING,
    RUNS,
    START,
    STATUS,
    STEPS,
    SUCCEEDED,
    SUCCESSES,
    WAITING,
    WORKER,
    WORKFLOW,
    EpisodeState,
    Problem,
)

_RETURN_TOLERANCE = 1e-6  # relative; what compute_reward promises
_ROUNDING = 1e-9  # relative; of sums of float64


class ViolationError(AssertionError):
    """Something that has to hold does not."""


def require(holds: Any, what: str) -> None:
    """Raises where something does not hold.

    Args:
        holds: bool, or bool (n, ...) by row.
        what: a sentence that should be true.
    Raises:
        ViolationError: it is not; names the first row.
    """
    held = np.asarray(holds)
    if not held.all():
        where = "" if held.ndim == 0 else f" (row {int(np.argwhere(~held)[0][0])})"
        raise ViolationError(f"violated: {what}{where}")


@dataclasses.dataclass(frozen=True)
class Limits:
    """What bounds an episode, from its rules and data."""

    max_steps: int
    max_attempts: int
    max_parallel: int
    deadline_us: float
    budget_usd: float
    """Most that an episode can cost; inf where a call may cost more than was reserved for it."""

    @classmethod
    def of(cls, rules: EpisodeRules, max_subtasks: int, *, is_covered: bool) -> Self:
        """Reads the rules."""
        budget, deadline_ms = rules.cost_budget_usd, rules.deadline_ms
        return cls(
            max_steps=rules.max_steps or max_subtasks * rules.max_attempts,
            max_attempts=rules.max_attempts,
            max_parallel=rules.max_parallel_tasks,
            deadline_us=np.inf if deadline_ms is None else deadline_ms * 1000.0 + 1.0,
            budget_usd=budget if budget is not None and is_covered else np.inf,
        )


def check_observation(
    obs: Mapping[str, npt.NDArray[Any]], space: gym.spaces.Dict, rows: tuple[int, ...]
) -> None:
    """Checks keys, shapes, types, and that values are finite and within bounds.

    Args:
        obs: by key.
        space: of one row.
        rows: leading shape; () of a single environment.
    """
    require(list(obs) == list(space), "the observation has the keys of its space")
    for key, values in obs.items():
        box = space[key]
        assert isinstance(box, gym.spaces.Box)
        require(values.shape == (*rows, *box.shape), f"{key} has the shape of its space")
        require(values.dtype == box.dtype, f"{key} has the dtype of its space")
        if values.size:  # a NaN fails both comparisons
            require(box.low.min() <= values.min(), f"{key} is finite and not below its bound")
            require(values.max() <= box.high.max(), f"{key} is finite and not above its bound")


def check_state(state: EpisodeState, problem: Problem, limits: Limits) -> None:
    """Checks every row of a state on its own."""
    episode, subtask = state.episode, state.subtask
    workflow = episode[:, WORKFLOW]
    exists = np.arange(subtask.shape[1]) < problem.num_subtasks[workflow][:, None]
    status = np.where(exists, subtask[:, :, STATUS], NONE)
    ongoing = episode[:, ENDED] == ONGOING

    require(episode[:, STEPS] <= limits.max_steps, "an episode has at most max_steps decisions")
    require(episode[:, CLOCK] >= 0, "the clock is never negative")
    require(episode[:, CLOCK] <= limits.deadline_us, "the clock stops at the deadline")
    require(state.spent >= 0.0, "what was spent is never negative")
    require(state.spent <= limits.budget_usd * (1.0 + _ROUNDING), "the budget holds")
    cost = np.where(exists, state.value[:, :, COST], 0.0).sum(axis=1)
    require(np.isclose(state.spent, cost, _ROUNDING, 1e-12), "subtasks cost what was spent")
    require((status == SUCCEEDED).sum(axis=1) == episode[:, SUCCESSES], "successes are counted")
    require(
        np.where(exists, subtask[:, :, ATTEMPTS], 0) <= limits.max_attempts,
        "a subtask has at most max_attempts ended calls",
    )
    _check_decision(state, status, ongoing)
    _check_calls(state, problem, limits, status, ongoing)
    _check_precedence(state, problem, status)


def _check_decision(
    state: EpisodeState, status: npt.NDArray[Any], ongoing: npt.NDArray[np.bool_]
) -> None:
    """Checks the current subtask and the mask."""
    current, rows = state.episode[:, CURRENT], np.arange(len(status))
    require((current != NONE) == ongoing, "an episode has a current subtask until it ends")
    require(~ongoing | (status[rows, current] == READY), "the current subtask is ready")
    require(np.isin(state.mask, (0, 1)), "the mask holds 0 and 1")
    require(state.mask.any(axis=1), "an action is allowed")
    require(ongoing[:, None] | (state.mask == 1), "the mask of an ended episode is open")
    absent = state.roster == NONE
    require(~(ongoing[:, None] & absent & (state.mask == 1)), "absent workers are masked")


def _check_calls(
    state: EpisodeState,
    problem: Problem,
    limits: Limits,
    status: npt.NDArray[Any],
    ongoing: npt.NDArray[np.bool_],
) -> None:
    """Checks running and waiting calls of episodes that go on."""
    episode, subtask, clock = state.episode, state.subtask, state.episode[:, CLOCK, None]
    called = (status == RUNNING) & ongoing[:, None]
    runs = called & (subtask[:, :, START] != NONE)
    waits = called & ~runs
    require(~ongoing | (episode[:, RUNS] == runs.sum(axis=1)), "running calls are counted")
    require(~ongoing | (episode[:, WAITING] == waits.sum(axis=1)), "waiting calls are counted")
    require(episode[:, RUNS] <= limits.max_parallel, "at most max_parallel_tasks calls run")
    require(~runs | (subtask[:, :, END] >= clock), "a call that has ended no longer runs")

    by_worker = subtask[:, :, WORKER, None] == np.arange(state.busy.shape[1])
    load = (by_worker & runs[:, :, None]).sum(axis=1)
    require(~ongoing[:, None] | (state.busy == load), "a worker is busy with its running calls")
    require(state.busy >= 0, "no worker is busy with less than nothing")
    require(state.busy <= problem.concurrency, "a worker runs at most its concurrency")
    free = (state.busy < problem.concurrency) & (episode[:, RUNS, None] < limits.max_parallel)
    require(~(by_worker & waits[:, :, None] & free[:, None]), "no call waits while it could run")


def _check_precedence(state: EpisodeState, problem: Problem, status: npt.NDArray[Any]) -> None:
    """Checks that a subtask starts after the ends of all that it depends on."""
    workflow, rows = state.episode[:, WORKFLOW], np.arange(len(status))[:, None, None]
    parents = problem.parents[workflow]
    is_parent = np.arange(parents.shape[2]) < problem.num_parents[workflow][:, :, None]
    done = ~is_parent | (status[rows, parents] == SUCCEEDED)
    is_open = (status != PENDING) & (status != NONE)
    require(~is_open | done.all(axis=2), "a subtask is pending until its parents have succeeded")
    require((status != PENDING) | ~done.all(axis=2), "and no longer")

    first = state.subtask[:, :, FIRST_START]
    has_started = is_open & (first != NONE)
    ends = np.where(is_parent, state.subtask[:, :, LAST_END][rows, parents], NONE).max(axis=2)
    require(~has_started | (first >= ends), "a subtask starts after its parents' ends")
    clock = state.episode[:, CLOCK, None]
    require(~has_started | (first <= clock), "nothing has started in the future")
    require(~is_open | (state.subtask[:, :, LAST_END] <= clock), "nor ended")


class Ledger:
    """What the episodes of n rows did so far; checks every step against the one before."""

    def __init__(
        self, state: EpisodeState, limits: Limits, num_subtasks: npt.NDArray[np.int32]
    ) -> None:
        """Starts with the states after a reset; `num_subtasks` is that of every workflow."""
        self._limits, self._num_subtasks = limits, num_subtasks
        self.num_ended = self.num_successes = self.num_truncated = self.num_replaced = 0
        self._return = np.zeros(len(state.spent))
        self._scale = np.zeros(len(state.spent))
        self.begin(state)

    def begin(self, state: EpisodeState) -> None:
        """Forgets the running episodes; all rows are after a reset."""
        self._return[:] = self._scale[:] = 0.0
        self._remember(state)

    def _remember(self, state: EpisodeState) -> None:
        self._episode, self._spent = state.episode.copy(), state.spent.copy()
        self._mask, self._weights = state.mask.copy(), state.weights.copy()

    def step(
        self,
        state: EpisodeState,
        actions: npt.NDArray[np.int64],
        reward: npt.NDArray[Any],
        terminated: npt.NDArray[np.bool_],
        truncated: npt.NDArray[np.bool_],
        *,
        restarts: bool,
    ) -> None:
        """Checks one step of all rows.

        Args:
            state: after it.
            actions: int64 (n,).
            reward: float64 (n,).
            terminated: bool (n,).
            truncated: bool (n,).
            restarts: whether an ended row has begun its next episode.
        """
        done, terms = terminated | truncated, state.terms
        require(np.isfinite(reward), "a reward is finite")
        total = terms[:, 0] + terms[:, 1] + terms[:, 2] + terms[:, 3]
        require(reward == total, "a reward is the sum of its terms")
        require(~(terminated & truncated), "an episode is terminated or truncated, not both")
        self._return += reward
        self._scale += np.abs(terms).sum(axis=1)
        replaced = self._mask[np.arange(len(actions)), actions] == 0
        self._check_ongoing(state, replaced, ~done)
        if done.any():
            self._check_ended(state, replaced, terminated, truncated)
            number = self._episode[done, NUMBER] + int(restarts)
            require(state.episode[done, NUMBER] == number, "episodes are numbered in turn")
            self._return[done] = self._scale[done] = 0.0
        self._remember(state)

    def _check_ongoing(
        self, state: EpisodeState, replaced: npt.NDArray[np.bool_], rows: npt.NDArray[np.bool_]
    ) -> None:
        before, after = self._episode[rows], state.episode[rows]
        for column in (KEY, NUMBER, WORKFLOW):
            require(after[:, column] == before[:, column], "an episode stays the same one")
        require(after[:, STEPS] == before[:, STEPS] + 1, "decisions are counted")
        counted = after[:, REPLACED] == before[:, REPLACED] + replaced[rows]
        require(counted, "masked actions are counted")
        require(after[:, CLOCK] >= before[:, CLOCK], "the clock never goes back")
        require(state.spent[rows] >= self._spent[rows], "what was spent never shrinks")
        require(state.weights[rows] == self._weights[rows], "an episode's weights stay")

    def _check_ended(
        self,
        state: EpisodeState,
        replaced: npt.NDArray[np.bool_],
        terminated: npt.NDArray[np.bool_],
        truncated: npt.NDArray[np.bool_],
    ) -> None:
        rows = terminated | truncated
        before, limits = self._episode[rows], self._limits
        success, cost, latency_ms, steps, masked, succeeded = state.summary[rows].T
        decided = before[:, CURRENT] != NONE
        require(steps == before[:, STEPS] + decided, "the decisions of an episode are counted")
        require(steps <= limits.max_steps, "an episode has at most max_steps decisions")
        cut = truncated[rows]
        require(~cut | (steps == limits.max_steps), "an episode is truncated by max_steps only")
        counted = before[:, REPLACED] + (replaced[rows] & decided)
        require(masked == counted, "the masked actions of an episode are counted")
        require(cost >= self._spent[rows], "what was spent never shrinks")
        require(cost <= limits.budget_usd * (1.0 + _ROUNDING), "the budget holds")
        require(latency_ms * 1000.0 + 0.5 >= before[:, CLOCK], "the clock never goes back")
        require(latency_ms * 1000.0 <= limits.deadline_us, "the clock stops at the deadline")
        require((success == 0.0) | terminated[rows], "success terminates")
        is_all = succeeded == self._num_subtasks[before[:, WORKFLOW]]
        require((success == 1.0) == is_all, "success is that of all subtasks")
        expected = (
            self._weights[rows] * np.stack([success, -cost, -latency_ms, succeeded], axis=1)
        ).sum(axis=1)
        error = np.abs(self._return[rows] - expected)
        allowed = _RETURN_TOLERANCE * np.abs(expected) + 1e-12 * self._scale[rows]
        require(error <= allowed, "the rewards of an episode sum to what its summary is worth")
        self.num_ended += int(rows.sum())
        self.num_successes += int(success.sum())
        self.num_truncated += int(cut.sum())
        self.num_replaced += int(masked.sum())
