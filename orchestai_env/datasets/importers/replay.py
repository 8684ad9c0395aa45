"""replay: a logged execution played again by the environment's own transition.

A log holds decisions, not observations. The transition that the live environment runs on wall-clock
time is given the logged decisions and the logged ends of calls, at the logged times; what it shows
before each decision is what the agent saw then, up to the figures on workers, which come from
`LoggedWorkers`. Where the transition asks for another decision than the log has, the execution was
made under other rules, and is refused.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestai_env.datasets.importers.logged_workers import LoggedWorkers
from orchestai_env.episodes import Episodes
from orchestai_env.errors import DataError
from orchestai_env.execution.record import Decision, ExecutionRecord
from orchestai_env.live_clock import LiveClock
from orchestai_env.observation import ObservationLayout
from orchestai_env.reward import RewardWeights
from orchestai_env.rules import EpisodeRules
from orchestai_env.state import ATTEMPTS, CLOCK, CURRENT, NONE, ONGOING, TERMINATED

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
        rules: under which it was logged.
        weights: of the rewards.
    Raises:
        DataError: the rules ask for another decision, or end elsewhere, than the log does.
        WorkflowError: the workflow does not fit `workers`.
    """
    if not record.decisions:
        raise DataError("expected at least one decision, got none")
    dataset = workers.dataset(record)
    layout = workers.layout
    episodes = Episodes(dataset, n=1, rules=rules, weights=weights, layout=layout)
    episodes.reset(workflows=np.zeros(1, np.int64))
    return _Replay(record, workers, layout, episodes).play()


class _Replay:
    """One replay under way."""

    def __init__(
        self,
        record: ExecutionRecord,
        workers: LoggedWorkers,
        layout: ObservationLayout,
        episodes: Episodes,
    ) -> None:
        self._record, self._workers = record, workers
        self._layout, self._episodes = layout, episodes
        self._running: dict[int, Decision] = {}

    def play(self) -> ReplayedEpisode:
        """Plays all decisions."""
        decisions, pool = self._record.decisions, self._workers.pool
        observations, rewards = [], []
        propensities = np.full((len(decisions), len(pool)), np.nan)
        for number, decision in enumerate(decisions):
            if not _asks_for(self._episodes, decision):
                raise DataError(_other_rules(self._episodes, decision))
            obs = self._observe()
            if decision.probabilities is not None:
                propensities[number] = [decision.probabilities.get(n, 0.0) for n in pool.names]
                obs["action_mask"][:] = [name in decision.probabilities for name in pool.names]
            observations.append(obs)
            self._step(decision, next(iter(decisions[number + 1 :]), None))
            rewards.append(self._episodes.reward.item(0))
        self._check_end()
        observations.append(self._observe())
        return ReplayedEpisode(
            observations={
                key: np.stack([obs[key] for obs in observations]) for key in observations[0]
            },
            actions=np.array([pool.index(d.worker) for d in decisions], np.int64),
            rewards=np.array(rewards),
            is_terminated=self._episodes.ended.item(0) == TERMINATED,
            propensities=propensities,
            subtasks=np.array([d.subtask for d in decisions], np.int64),
            decided_ms=np.array([d.decided_ms for d in decisions]),
        )

    def _observe(self) -> dict[str, npt.NDArray[Any]]:
        arrays = self._layout.as_dict(self._episodes.out)
        return {key: array[0].copy() for key, array in arrays.items()}

    def _step(self, decision: Decision, upcoming: Decision | None) -> None:
        """Takes one decision, and lets calls end until the next one is due or it is over."""
        clock = LiveClock(self._episodes)
        self._running[decision.subtask] = decision
        action = self._workers.pool.index(decision.worker)
        clock.step(action, max(_microseconds(decision.decided_ms), self._now_us()))
        while LiveClock(self._episodes).is_paused:
            self._wait(upcoming)
        if self._episodes.ended.item(0) != ONGOING:
            for subtask, cut in self._running.items():
                LiveClock(self._episodes).charge(subtask, cut.cost)

    def _wait(self, upcoming: Decision | None) -> None:
        """Lets the next call end, or the next few at once, as far as the log confirms it.

        Calls that ended while the host was busy were told to the transition together.

        Raises:
            DataError: no number of ends leads to the decision that the log has next.
        """
        started = {call.subtask for call in LiveClock(self._episodes).open_calls()}
        ends = [
            (_microseconds(decision.end_ms), subtask)
            for subtask, decision in self._running.items()
            if subtask in started and decision.end_ms is not None
        ]
        deadline_ms = self._episodes.rules.deadline_ms
        times = sorted({end for end, _ in ends})
        if not times and deadline_ms is not None:
            LiveClock(self._episodes).resume(_microseconds(deadline_ms))
            return
        for time_us in times:
            twin, ended = self._episodes.fork(), [i for end, i in ends if end <= time_us]
            self._end_calls(LiveClock(twin), ended, max(time_us, self._now_us()))
            if LiveClock(twin).is_paused or _asks_for(twin, upcoming):
                self._episodes = twin
                for subtask in ended:
                    del self._running[subtask]
                return
        raise DataError(_other_rules(self._episodes, upcoming))

    def _end_calls(self, clock: LiveClock, subtasks: list[int], now_us: int) -> None:
        for subtask in subtasks:
            decision = self._running[subtask]
            clock.end_call(
                subtask,
                success=bool(decision.success),
                quality=decision.quality or 0.0,
                cost_usd=decision.cost,
                now_us=now_us,
            )
        clock.resume(now_us)

    def _now_us(self) -> int:
        return int(self._episodes.state.episode[0, CLOCK])

    def _check_end(self) -> None:
        """Checks that the episode is over, with the success and cost that were logged.

        Raises:
            DataError: it is not.
        """
        if self._episodes.ended.item(0) == ONGOING:
            raise DataError(_other_rules(self._episodes, None))
        result = self._episodes.result(0)
        same_cost = np.isclose(result.total_cost, self._record.cost, rtol=_COST_TOLERANCE)
        if result.success != self._record.success or not same_cost:
            raise DataError(
                f"expected success {self._record.success} and {self._record.cost:.6g} USD, as "
                f"logged, got {result.success} and {result.total_cost:.6g}"
            )


def _asks_for(episodes: Episodes, decision: Decision | None) -> bool:
    """Tells whether the transition now waits for this very decision; None = it is over."""
    is_open = episodes.ended.item(0) == ONGOING
    if decision is None or not is_open:
        return decision is None and not is_open
    current = int(episodes.state.episode[0, CURRENT])
    attempts = int(episodes.state.subtask[0, current, ATTEMPTS])
    return (current, attempts) == (decision.subtask, decision.attempt)


def _other_rules(episodes: Episodes, decision: Decision | None) -> str:
    """Returns the line that says where log and rules part."""
    current = int(episodes.state.episode[0, CURRENT])
    logged = "no further decision"
    if decision is not None:
        logged = f"a decision on subtask {decision.subtask}, attempt {decision.attempt}"
    asked = "the workflow goes on" if current == NONE else f"subtask {current} is to be decided on"
    if episodes.ended.item(0) != ONGOING and current == NONE:
        asked = "the workflow is over or waits for calls without an end"
    return f"expected {logged}, as logged, but by these rules {asked}; give the rules of the log"


def _microseconds(milliseconds: float) -> int:
    return round(1000.0 * milliseconds)
