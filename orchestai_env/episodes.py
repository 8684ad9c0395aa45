"""Episodes: n running episodes over one data set; what OrchestAIEnv and its batched form share."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from orchestai_env import dynamics
from orchestai_env.compiled import compiled
from orchestai_env.dataset import Dataset
from orchestai_env.dynamics import (
    CLOCK,
    CURRENT,
    ENDED,
    KEY,
    NONE,
    NUMBER,
    ONGOING,
    REPLACED,
    STEPS,
    SUCCESSES,
    TERMINATED,
    TRUNCATED,
    WORKFLOW,
    EpisodeState,
    Problem,
    new_state,
    reset_row,
    step_row,
)
from orchestai_env.errors import ConfigError, MaskedActionError
from orchestai_env.execution_result import ExecutionResult, SubtaskResult
from orchestai_env.features import Features, build_features
from orchestai_env.observation import Observation, ObservationLayout, write_observation
from orchestai_env.reward import RewardWeights
from orchestai_env.workers import milliseconds_to_us

_KEY_LIMIT = 1 << 63
_MOST = 1_000_000_000_000  # chosen: 31 years of milliseconds; the clock's microseconds hold it

SUMMARY = ("is_success", "total_cost", "total_latency_ms", "steps", "masked_actions", "succeeded")
"""Columns of Episodes.summary: what an ended episode did; cost in USD, latency in ms."""


class EpisodeRules(pydantic.BaseModel):
    """Rules of an episode; the keyword arguments of OrchestAIEnv."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    max_attempts: Annotated[int, pydantic.Field(ge=1, le=1000)] = 3
    """Calls that may fail before a subtask has failed."""
    max_parallel_tasks: Annotated[int, pydantic.Field(ge=1, le=_MOST)] = 5
    """Calls of one workflow that run at once."""
    on_failure: Literal["abort", "continue"] = "abort"
    """What happens when a subtask has failed: end, or finish what does not depend on it."""
    on_masked_action: Literal["replace", "error"] = "replace"
    """What happens when a masked worker is chosen: the next allowed one is called, or an error."""
    cost_budget_usd: Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)] | None = None
    """Most that an episode may spend [USD]; None = no limit."""
    deadline_ms: Annotated[float, pydantic.Field(gt=0, le=_MOST)] | None = None
    """Time at which an unfinished workflow fails [ms]; None = none."""
    max_steps: Annotated[int, pydantic.Field(ge=1, le=_MOST)] | None = None
    """Decisions after which the episode is truncated; None = max_subtasks * max_attempts, which
    never cuts."""


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
        """Allocates n episodes; `seed_row` and `reset` start them."""
        self.dataset, self.rules, self.n = dataset, rules, n
        self.problem = _problem(dataset, rules)
        self.features = build_features(dataset)
        self.state = new_state(n, dataset.workflows.max_subtasks, len(dataset.pool))
        self.state.weights[:] = weights.as_array()
        self.state.episode[:, NUMBER] = -1
        self.out = layout.allocate(n)
        self.reward = np.zeros(n)
        self.ended = np.zeros(n, np.int64)
        self.summary = np.zeros((n, len(SUMMARY)))
        self._all_rows = np.arange(n)

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
            count = len(self.dataset.workflows)
            if workflows.min() < 0 or workflows.max() >= count:
                raise ConfigError(
                    f"workflow: expected an index in 0..{count - 1}, "
                    f"got {int(workflows.min())}..{int(workflows.max())}"
                )
        self.state.episode[rows, NUMBER] += 1
        self.ended[rows] = ONGOING
        _reset_rows(
            self.problem, self.features, self.state, self.out, rows, workflows.astype(np.int64)
        )

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
        if self.rules.on_masked_action == "error":
            self._refuse_masked(actions, rows)
        _step_rows(
            self.problem,
            self.features,
            self.state,
            self.out,
            rows,
            actions,
            self.reward,
            self.ended,
            self.summary,
        )

    def restart_ended(self) -> None:
        """Starts the next episode of every row that has ended; `ended` still tells which."""
        _restart_rows(self.problem, self.features, self.state, self.out, self.ended)

    def is_terminated(self) -> npt.NDArray[np.bool_]:
        """Returns bool (n,): the last step ended the episode by itself."""
        return np.equal(self.ended, TERMINATED)

    def is_truncated(self) -> npt.NDArray[np.bool_]:
        """Returns bool (n,): the last step met max_steps."""
        return np.equal(self.ended, TRUNCATED)

    def result(self, r: int) -> ExecutionResult:
        """Returns what the episode of row r did, took and cost so far."""
        episode = self.state.episode[r]
        return ExecutionResult(
            success=bool(episode[SUCCESSES] == self._num_subtasks(r)),
            outputs={},
            total_cost=float(self.state.spent[r]),
            total_latency_ms=float(episode[CLOCK]) / 1000.0,
            subtasks=tuple(self._subtask_result(r, i) for i in range(self._num_subtasks(r))),
        )

    def _num_subtasks(self, r: int) -> int:
        return int(self.problem.num_subtasks[self.state.episode[r, WORKFLOW]])

    def _subtask_result(self, r: int, i: int) -> SubtaskResult:
        row = self.state.subtask[r, i]
        start, end = int(row[dynamics.FIRST_START]), int(row[dynamics.LAST_END])
        is_open = row[dynamics.STATUS] == dynamics.RUNNING and row[dynamics.START] != NONE
        until = int(self.state.episode[r, CLOCK]) if is_open else end
        worker = int(row[dynamics.WORKER])
        task_type = int(self.problem.task_type[self.state.episode[r, WORKFLOW], i])
        return SubtaskResult(
            name=f"subtask {i}",
            type=self.dataset.task_types[task_type],
            status=dynamics.STATUS_NAMES[int(row[dynamics.STATUS])],
            worker=None if worker == NONE else self.dataset.pool.names[worker],
            attempts=int(row[dynamics.ATTEMPTS]),
            success=bool(row[dynamics.STATUS] == dynamics.SUCCEEDED),
            cost=float(self.state.value[r, i, dynamics.COST]),
            latency_ms=(until - start) / 1000.0 if start != NONE else 0.0,
            start_ms=start / 1000.0 if start != NONE else None,
            end_ms=end / 1000.0 if end != NONE and not is_open else None,
        )

    def _refuse_masked(self, actions: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> None:
        masked = self.state.mask[rows, actions] == 0
        if masked.any():
            first = int(np.argmax(masked))
            r, action = int(rows[first]), int(actions[first])
            names = self.dataset.pool.names
            allowed = [names[w] for w in np.flatnonzero(self.state.mask[r])]
            raise MaskedActionError(
                f"episode row {r}, subtask {int(self.state.episode[r, CURRENT])}: worker "
                f"{names[action]!r} (action {action}) is masked; allowed: {', '.join(allowed)}. "
                'Choose by action_mask, or set on_masked_action="replace"'
            )


def _problem(dataset: Dataset, rules: EpisodeRules) -> Problem:
    workflows = dataset.workflows
    budget = np.inf if rules.cost_budget_usd is None else rules.cost_budget_usd
    deadline = NONE if rules.deadline_ms is None else milliseconds_to_us(rules.deadline_ms)
    max_steps = rules.max_steps or workflows.max_subtasks * rules.max_attempts
    whole = (
        rules.max_attempts,
        rules.max_parallel_tasks,
        int(rules.on_failure == "continue"),
        max_steps,
        deadline,
    )
    return Problem(
        num_subtasks=workflows.num_subtasks,
        task_type=workflows.task_type,
        query=workflows.query,
        num_parents=workflows.num_parents,
        parents=workflows.parents,
        num_children=workflows.num_children,
        children=workflows.children,
        concurrency=np.array([w.concurrency for w in dataset.pool.workers], np.int64),
        cost_upper=dataset.statistics.cost_upper_usd,
        whole=np.array(whole, np.int64),
        budget_usd=np.array([budget]),
        outcomes=dataset.outcomes,
    )


@compiled
def _reset_rows(
    problem: Problem,
    features: Features,
    state: EpisodeState,
    out: Observation,
    rows: npt.NDArray[np.int64],
    workflows: npt.NDArray[np.int64],
) -> None:
    for index in range(len(rows)):
        r = rows[index]
        reset_row(problem, state, r, workflows[index])
        write_observation(problem, features, state, out, r, r)


@compiled
def _step_rows(
    problem: Problem,
    features: Features,
    state: EpisodeState,
    out: Observation,
    rows: npt.NDArray[np.int64],
    actions: npt.NDArray[np.int64],
    reward: npt.NDArray[np.float64],
    ended: npt.NDArray[np.int64],
    summary: npt.NDArray[np.float64],
) -> None:
    for index in range(len(rows)):
        r = rows[index]
        step_row(problem, state, r, actions[index])
        terms, episode = state.terms[r], state.episode[r]
        reward[r] = terms[0] + terms[1] + terms[2] + terms[3]
        ended[r] = episode[ENDED]
        if ended[r] != ONGOING:
            succeeded = episode[SUCCESSES] == problem.num_subtasks[episode[WORKFLOW]]
            summary[r, 0] = 1.0 if succeeded else 0.0
            summary[r, 1] = state.spent[r]
            summary[r, 2] = float(episode[CLOCK]) / 1000.0
            summary[r, 3] = float(episode[STEPS])
            summary[r, 4] = float(episode[REPLACED])
            summary[r, 5] = float(episode[SUCCESSES])
        write_observation(problem, features, state, out, r, r)


@compiled
def _restart_rows(
    problem: Problem,
    features: Features,
    state: EpisodeState,
    out: Observation,
    ended: npt.NDArray[np.int64],
) -> None:
    for r in range(len(ended)):
        if ended[r] != ONGOING:
            state.episode[r, NUMBER] += 1
            reset_row(problem, state, r, NONE)
            write_observation(problem, features, state, out, r, r)
