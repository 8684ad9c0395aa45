"""replay: a logged execution played again by the environment's own transition.

A log holds decisions, not observations. The transition that the orchestrator runs on wall-clock
time is given the logged decisions and ends of calls again, at the logged times and under the logged
rules; what it shows before each decision is what the agent saw then, up to the figures on workers,
which come from `LoggedWorkers`. Who was allowed is read from the log too, since budgets depend on
prices that it does not hold: a subtask that the log has as failed and does not decide on had nobody
left. Where the transition and the log part, the execution is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestai_env.datasets.importers.logged_workers import LoggedWorkers
from orchestai_env.episodes import Episodes
from orchestai_env.errors import DataError
from orchestai_env.execution.log.record import Decision, ExecutionRecord
from orchestai_env.live_clock import LiveClock
from orchestai_env.reward import RewardWeights
from orchestai_env.rules import EpisodeRules
from orchestai_env.state import (
    ATTEMPTS,
    CLOCK,
    CURRENT,
    DEADLINE,
    MAX_STEPS,
    NONE,
    ONGOING,
    PAUSED,
    TERMINATED,
    VARIES,
)

_COST_TOLERANCE = 1e-6  # relative; sums of the same costs in another order


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReplayedEpisode:
    """One execution as an episode of S steps; there are S + 1 observations."""

    observations: dict[str, npt.NDArray[Any]]
    """Key -> (S + 1, ...); the mask is the logged one where the log has it."""
    actions: npt.NDArray[np.int64]
    """int64 (S,), 0..W-1; the workers that the agent chose."""
    rewards: npt.NDArray[np.float64]
    """float64 (S,)."""
    is_terminated: bool
    """Whether the episode ended by itself; else it was truncated."""
    propensities: npt.NDArray[np.float64]
    """float64 (S, W), 0..1; probability of each worker when the choice was drawn; NaN in the rows
    of decisions whose agent could not tell."""
    subtasks: npt.NDArray[np.int64]
    """int64 (S,); index of the subtask decided on."""
    decided_ms: npt.NDArray[np.float64]
    """float64 (S,) [ms]; since the workflow began."""


def replay(
    record: ExecutionRecord,
    workers: LoggedWorkers,
    *,
    rules: EpisodeRules,
    weights: RewardWeights,
) -> ReplayedEpisode:
    """Plays a logged execution again.

    Args:
        record: the execution.
        workers: of its log.
        rules: under which it was executed, where the record does not hold them.
        weights: of the rewards.
    Raises:
        DataError: the rules ask for another decision, or end elsewhere, than the log does; they
            vary by episode; or the execution was interrupted.
        WorkflowError: the workflow does not fit `workers`.
    """
    if not record.decisions:
        raise DataError("expected at least one decision, got none")
    if record.interrupted:
        raise DataError("expected an execution that ended by itself, got an interrupted one")
    episodes = Episodes(
        workers.dataset(record),
        n=1,
        rules=(record.rules or rules).model_copy(update={"max_steps": None}),
        weights=weights,
        layout=workers.layout,
    )
    if episodes.problem.whole[VARIES]:
        raise DataError(
            "expected rules that are the same in all episodes, got spreads, min_workers or "
            "shuffle_workers, whose draws no log holds"
        )
    episodes.reset(workflows=np.zeros(1, np.int64))
    max_steps = (record.rules or rules).max_steps
    return _Replay(record, workers.pool.names, episodes, max_steps).play(workers)


class _Replay:
    """One replay under way."""

    def __init__(
        self,
        record: ExecutionRecord,
        names: Sequence[str],
        episodes: Episodes,
        max_steps: int | None,
    ) -> None:
        self._record, self._names = record, names
        self._episodes, self._max_steps = episodes, max_steps
        self._latest: dict[int, Decision] = {}
        self._open: dict[int, Decision] = {}
        """Calls that run, in the order of their starts."""

    def play(self, workers: LoggedWorkers) -> ReplayedEpisode:
        """Plays all decisions."""
        decisions = self._record.decisions
        observations, rewards = [], []
        self._go_on_to(decisions[0])
        for decision, upcoming in zip(decisions, [*decisions[1:], None], strict=True):
            self._allow(decision)
            observations.append(self._observe(workers))
            self._decide(decision)
            self._go_on_to(upcoming)
            rewards.append(self._episodes.reward.item(0))
        self._check_end()
        observations.append(self._observe(workers))
        return ReplayedEpisode(
            observations={
                key: np.stack([obs[key] for obs in observations]) for key in observations[0]
            },
            actions=np.array([self._names.index(d.worker) for d in decisions], np.int64),
            rewards=np.array(rewards),
            is_terminated=self._episodes.ended.item(0) == TERMINATED,
            propensities=np.stack([self._propensities(d) for d in decisions]),
            subtasks=np.array([d.subtask for d in decisions], np.int64),
            decided_ms=np.array([d.decided_ms for d in decisions]),
        )

    def _observe(self, workers: LoggedWorkers) -> dict[str, npt.NDArray[Any]]:
        arrays = workers.layout.as_dict(self._episodes.out)
        return {key: array[0].copy() for key, array in arrays.items()}

    def _propensities(self, decision: Decision) -> npt.NDArray[np.float64]:
        if decision.probabilities is None:
            return np.full(len(self._names), np.nan)
        return np.array([decision.probabilities.get(name, 0.0) for name in self._names])

    def _allow(self, decision: Decision) -> None:
        """Masks who was not allowed, as far as the log tells."""
        if decision.probabilities is not None:
            allowed = [name in decision.probabilities for name in self._names]
            self._episodes.state.mask[0] = allowed
            self._episodes.out.action_mask[0] = allowed

    def _decide(self, decision: Decision) -> None:
        self._latest[decision.subtask] = decision
        action = self._names.index(decision.worker)
        self._clock.step(action, max(_microseconds(decision.decided_ms), self._now_us()))
        self._note_starts()

    def _go_on_to(self, upcoming: Decision | None) -> None:
        """Lets calls end until the decision that the log has next is due; None = it is over.

        Raises:
            DataError: it never is.
        """
        while not _asks_for(self._episodes, upcoming):
            ended = self._episodes.ended.item(0)
            if ended == PAUSED:
                self._wait(upcoming)
            elif ended == ONGOING and self._has_nobody():
                self._fail()
            elif ended == ONGOING and upcoming is None and self._is_truncated():
                self._episodes.problem.whole[MAX_STEPS] = len(self._record.decisions)
                self._clock.resume(self._now_us())
            else:
                raise self._parted(upcoming)
            self._note_starts()
        due_ms = None if upcoming is None else upcoming.due_ms
        if due_ms is not None and _microseconds(due_ms) != self._now_us():
            raise self._parted(upcoming)
        if upcoming is None:
            for subtask, cut in self._open.items():
                self._clock.charge(subtask, cut.cost)

    def _note_starts(self) -> None:
        if self._episodes.ended.item(0) in (ONGOING, PAUSED):
            for call in self._clock.open_calls():
                self._open.setdefault(call.subtask, self._latest[call.subtask])

    def _has_nobody(self) -> bool:
        """Tells whether the log has the current subtask as failed without a further decision."""
        current = int(self._episodes.state.episode[0, CURRENT])
        logged = self._record.execution_result.subtasks[current]
        attempts = int(self._episodes.state.subtask[0, current, ATTEMPTS])
        return logged.status == "failed" and logged.attempts == attempts

    def _fail(self) -> None:
        """Fails the current subtask, and others of its type, since nobody may serve them."""
        problem, current = self._episodes.problem, self._episodes.state.episode[0, CURRENT]
        capable = problem.outcomes.capable[problem.task_type[0, current]]
        before = capable.copy()
        capable[:] = 0
        self._clock.resume(self._now_us())
        capable[:] = before

    def _is_truncated(self) -> bool:
        return self._max_steps is not None and len(self._record.decisions) >= self._max_steps

    def _wait(self, upcoming: Decision | None) -> None:
        """Lets the transition know of the next ends, or of the deadline."""
        ends = {
            subtask: end_us
            for subtask, decision in self._open.items()
            if (end_us := self._noted_us(decision)) is not None
        }
        if ends:
            now_us = min(ends.values())
            self._end([subtask for subtask, end_us in ends.items() if end_us == now_us], now_us)
        elif self._episodes.problem.whole[DEADLINE] != NONE:
            self._clock.resume(int(self._episodes.problem.whole[DEADLINE]))
        else:
            raise self._parted(upcoming)

    def _noted_us(self, decision: Decision) -> int | None:
        """Returns when the transition was told that a call had ended; None = not at all.

        A log that does not say so was told as soon as it could be.
        """
        if decision.noted_ms is not None:
            return _microseconds(decision.noted_ms)
        if decision.due_ms is not None or decision.end_ms is None:
            return None
        return max(_microseconds(decision.end_ms), self._now_us())

    def _end(self, subtasks: Sequence[int], now_us: int) -> None:
        for subtask in subtasks:
            decision = self._open.pop(subtask)
            self._clock.end_call(
                subtask,
                success=bool(decision.success),
                quality=decision.quality or 0.0,
                cost_usd=decision.cost,
                now_us=now_us,
            )
        self._clock.resume(now_us)

    @property
    def _clock(self) -> LiveClock:
        return LiveClock(self._episodes)

    def _now_us(self) -> int:
        return int(self._episodes.state.episode[0, CLOCK])

    def _parted(self, upcoming: Decision | None) -> DataError:
        """Returns the error that says where the log and the rules part; None = at the end."""
        current, ended = self._episodes.state.episode[0, CURRENT], self._episodes.ended.item(0)
        asked = "the workflow is over"
        if ended == PAUSED:
            asked = "the workflow waits for calls that have no end"
        elif ended == ONGOING:
            asked = f"subtask {current} is to be decided on at {self._now_us() / 1000.0:.3f} ms"
        logged = "no further decision"
        if upcoming is not None:
            due_ms = upcoming.decided_ms if upcoming.due_ms is None else upcoming.due_ms
            logged = f"a decision on subtask {upcoming.subtask}, attempt {upcoming.attempt}, "
            logged += f"at {due_ms:.3f} ms"
        remedy = "; give the rules of the log" if self._record.rules is None else ""
        return DataError(f"expected {logged}, as logged, but by its rules {asked}{remedy}")

    def _check_end(self) -> None:
        """Checks that the episode ended as the log has it.

        Raises:
            DataError: it did not.
        """
        logged, found = self._record.execution_result, self._episodes.result(0)
        same_cost = np.isclose(found.total_cost, self._record.cost, rtol=_COST_TOLERANCE)
        if found.success != self._record.success or not same_cost:
            raise DataError(
                f"expected success {self._record.success} and {self._record.cost:.6g} USD, as "
                f"logged, got {found.success} and {found.total_cost:.6g}"
            )
        for i, (before, after) in enumerate(zip(logged.subtasks, found.subtasks, strict=True)):
            if (before.status, before.attempts) != (after.status, after.attempts):
                raise DataError(
                    f"expected subtask {i} {before.status} after {before.attempts} calls, as "
                    f"logged, but by its rules it is {after.status} after {after.attempts}"
                )


def _asks_for(episodes: Episodes, decision: Decision | None) -> bool:
    """Tells whether the transition now waits for this very decision; None = it is over."""
    ended = episodes.ended.item(0)
    if decision is None or ended != ONGOING:
        return decision is None and ended not in (ONGOING, PAUSED)
    current = int(episodes.state.episode[0, CURRENT])
    attempts = int(episodes.state.subtask[0, current, ATTEMPTS])
    return (current, attempts) == (decision.subtask, decision.attempt)


def _microseconds(milliseconds: float) -> int:
    return round(1000.0 * milliseconds)
