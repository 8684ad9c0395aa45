"""Schedule: which worker ran which call when, as records; and the recorder that collects them.

A schedule knows what the agent may know: of a call that still runs, neither its end nor its result.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Literal

import gymnasium as gym

from orchestai_env.episodes import Episodes
from orchestai_env.state import (
    ATTEMPTS,
    CURRENT,
    END,
    ENDED,
    NONE,
    ONGOING,
    ORDER,
    PAUSED,
    RUNNING,
    START,
    STATUS,
    SUCCEEDED,
    TRUNCATED,
    WORKER,
    WORKFLOW,
)
from orchestai_env.workflow_table import WorkflowTable

CallOutcome = Literal["succeeded", "failed", "running", "waiting", "dropped"]
Progress = Literal["ongoing", "succeeded", "failed", "truncated"]
_OPEN = (ONGOING, PAUSED)  # paused: a live execution that was interrupted while calls ran


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SubtaskRecord:
    """One subtask of the workflow, as it stands."""

    name: str
    task_type: str
    status: str
    """pending, ready, running (also while its call waits), succeeded or failed."""
    parents: tuple[int, ...]
    """Subtasks that it depends on."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CallRecord:
    """One call of a worker; times are milliseconds since the workflow began."""

    subtask: int
    worker: int
    """Index into Schedule.workers."""
    attempt: int
    """Calls of the subtask that ended before this one."""
    start_ms: float | None
    """None while it waits for a slot."""
    end_ms: float | None
    """None while it waits or runs: nobody knows yet."""
    outcome: CallOutcome
    """running: also one that ran when the episode ended; dropped: waited when it ended."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """What has happened so far in one episode."""

    dataset: str
    workflow: int
    """Index of the workflow in the data set."""
    progress: Progress
    clock_ms: float
    cost_usd: float
    """Cost of all calls that have ended [USD]; at the end also of those that were running."""
    episode_return: float
    """Sum of the rewards so far."""
    current: int | None
    """Subtask to decide on; None once the episode has ended."""
    workers: tuple[str, ...]
    """Names of the workers that are present in this episode, in the order of the pool."""
    subtasks: tuple[SubtaskRecord, ...]
    """In topological order."""
    calls: tuple[CallRecord, ...]
    """In the order of their decisions."""

    @property
    def num_succeeded(self) -> int:
        """Number of subtasks that have succeeded."""
        return sum(subtask.status == "succeeded" for subtask in self.subtasks)

    @property
    def critical_path(self) -> tuple[int, ...]:
        """Subtasks that the clock has been waiting for, in order.

        The last one is the subtask that ended last or still runs; before each subtask comes the
        parent that ended last. Among equals the one that started first counts, then the lowest
        index.
        """
        spans = {i: span for i in range(len(self.subtasks)) if (span := self._span(i)) is not None}
        candidates: Iterable[int] = spans
        path: list[int] = []
        while known := [i for i in candidates if i in spans]:
            last = max(known, key=lambda i: (spans[i][1], -spans[i][0], -i))
            path.insert(0, last)
            candidates = self.subtasks[last].parents
        return tuple(path)

    def calls_of(self, subtask: int) -> tuple[CallRecord, ...]:
        """Returns the calls of a subtask, the first one first."""
        return tuple(call for call in self.calls if call.subtask == subtask)

    def until_ms(self, call: CallRecord) -> float:
        """Returns the end of a call, or the clock while it has none [ms]."""
        return self.clock_ms if call.end_ms is None else call.end_ms

    def lanes(self, worker: int) -> tuple[tuple[CallRecord, ...], ...]:
        """Spreads the started calls of a worker over as few lanes as keep them from overlapping."""
        lanes: list[list[CallRecord]] = []
        started = [c for c in self.calls if c.worker == worker and c.start_ms is not None]
        for call in sorted(started, key=lambda c: c.start_ms or 0.0):
            for lane in lanes:
                end = lane[-1].end_ms
                if end is not None and end <= (call.start_ms or 0.0):
                    lane.append(call)
                    break
            else:
                lanes.append([call])
        return tuple(map(tuple, lanes))

    def _span(self, subtask: int) -> tuple[float, float] | None:
        """Returns when the first call of a subtask began and its last one ended, or runs until."""
        spans = [
            (c.start_ms, self.until_ms(c)) for c in self.calls_of(subtask) if c.start_ms is not None
        ]
        return (spans[0][0], spans[-1][1]) if spans else None


class ScheduleRecorder:
    """Collects the calls of a running episode.

    The state of an episode keeps the last call of each subtask only. Between two decisions a
    subtask ends at most one call and cannot begin another, so looking after every decision misses
    none.
    """

    def __init__(self) -> None:
        """Starts with no episode."""
        self._calls: dict[int, CallRecord] = {}
        self._return = 0.0
        self._schedule: Schedule | None = None

    @property
    def schedule(self) -> Schedule:
        """What was recorded so far.

        Raises:
            gymnasium.error.ResetNeeded: no episode was begun.
        """
        if self._schedule is None:
            raise gym.error.ResetNeeded("no episode has begun; call reset() before render()")
        return self._schedule

    def begin(self, episodes: Episodes, r: int = 0) -> None:
        """Forgets the last episode and records the one that row r has just begun."""
        self._calls, self._return = {}, 0.0
        self._read(episodes, r)

    def update(self, episodes: Episodes, r: int = 0) -> None:
        """Records what the last step of row r did; call it after every step."""
        self._return += float(episodes.reward[r])
        self._read(episodes, r)

    def _read(self, episodes: Episodes, r: int) -> None:
        state, result = episodes.state, episodes.result(r)
        episode = state.episode[r].tolist()
        present = sorted(w for w in state.roster[r].tolist() if w != NONE)
        for i, row in enumerate(state.subtask[r, : len(result.subtasks)].tolist()):
            if row[ORDER] != NONE:
                worker, has_ended = present.index(row[WORKER]), episode[ENDED] not in _OPEN
                self._calls[row[ORDER]] = _call(i, row, worker, has_ended)
        self._schedule = Schedule(
            dataset=episodes.dataset.name,
            workflow=episode[WORKFLOW],
            progress=_progress(episode[ENDED], result.success),
            clock_ms=result.total_latency_ms,
            cost_usd=result.total_cost,
            episode_return=self._return,
            current=None if episode[CURRENT] == NONE else episode[CURRENT],
            workers=tuple(episodes.dataset.pool.names[w] for w in present),
            subtasks=tuple(
                SubtaskRecord(
                    name=subtask.name,
                    task_type=subtask.type,
                    status=subtask.status,
                    parents=_parents(episodes.dataset.workflows, episode[WORKFLOW], i),
                )
                for i, subtask in enumerate(result.subtasks)
            ),
            calls=tuple(self._calls[order] for order in sorted(self._calls)),
        )


def _progress(ended: int, success: bool) -> Progress:
    if ended in _OPEN:
        return "ongoing"
    if ended == TRUNCATED:
        return "truncated"
    return "succeeded" if success else "failed"


def _parents(table: WorkflowTable, k: int, i: int) -> tuple[int, ...]:
    return tuple(table.parents[k, i, : table.num_parents[k, i]].tolist())


def _call(i: int, row: Sequence[int], worker: int, has_ended: bool) -> CallRecord:
    """Reads the last call of subtask i from its row of the state; an open end stays unread."""
    is_open = row[STATUS] == RUNNING
    has_started = row[START] != NONE
    outcome: CallOutcome
    if not is_open:
        outcome = "succeeded" if row[STATUS] == SUCCEEDED else "failed"
    elif has_started:
        outcome = "running"
    else:
        outcome = "dropped" if has_ended else "waiting"
    return CallRecord(
        subtask=i,
        worker=worker,
        attempt=row[ATTEMPTS] if is_open else row[ATTEMPTS] - 1,
        start_ms=row[START] / 1000.0 if has_started else None,
        end_ms=None if is_open else row[END] / 1000.0,
        outcome=outcome,
    )
