"""A second, independent implementation of an episode of recorded outcomes, in plain Python.

It was written from the design's rules of an episode, not from the transition, and is built the
other way round: around a queue of completion events and sets of subtasks, instead of status codes
in arrays. Times are whole microseconds, money is USD.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Sequence

from orchestai_env.reward import RewardWeights
from orchestai_env.rules import EpisodeRules
from tests.orchestai_env.toy import Instance, Trial


@dataclasses.dataclass
class Job:
    """A subtask and all that happened to it."""

    parents: frozenset[int]
    state: str = "pending"
    failed_calls: int = 0
    worker: int | None = None
    cost: float = 0.0
    first_start: int | None = None
    last_end: int | None = None
    trial: Trial | None = None
    """The call that runs, once it has started."""
    reserved: float = 0.0
    is_cut: bool = False
    """Whether the end of the episode cut its last call off."""


@dataclasses.dataclass
class Terms:
    """The four parts of the reward of one step."""

    success: float = 0.0
    usd: float = 0.0
    us: int = 0
    wins: int = 0

    def weighted(self, weights: RewardWeights) -> list[float]:
        """Returns the signed terms: success, cost, latency, shaping."""
        per_success, per_usd, per_ms, per_win = weights.as_array()
        return [
            per_success * self.success,
            -per_usd * self.usd,
            -per_ms * self.us / 1000,
            per_win * self.wins,
        ]


class ReferenceEpisode:
    """Plays one instance by the rules."""

    def __init__(
        self,
        instance: Instance,
        concurrency: Sequence[int],
        cost_upper: Sequence[Sequence[float]],
        rules: EpisodeRules,
        max_subtasks: int,
    ) -> None:
        """Starts the episode and moves it to its first decision, or its end."""
        self.instance, self.rules, self.cost_upper = instance, rules, cost_upper
        self.jobs = [
            Job(frozenset(i for i, j in instance.links if j == job))
            for job in range(len(instance.calls))
        ]
        self.free = list(concurrency)
        self.waiting: list[int] = []
        self.running: list[tuple[int, int]] = []  # a heap of (end, subtask)
        self.now, self.spent, self.decisions, self.replaced = 0, 0.0, 0, 0
        self.step_limit = rules.max_steps or max_subtasks * rules.max_attempts
        self.end: str | None = None
        self.decision: int | None = None
        self.mask: list[bool] = []
        self.terms = Terms()
        for job in self.jobs:
            if not job.parents:
                job.state = "ready"
        self._move_on()

    def act(self, action: int) -> Terms:
        """Makes a decision and returns what the step earned."""
        self.terms = Terms()
        if self.decision is None:
            return self.terms
        num_workers = len(self.mask)
        allowed = [(action + k) % num_workers for k in range(num_workers)]
        worker = next(w for w in allowed if self.mask[w])
        self.replaced += worker != action
        job = self.jobs[self.decision]
        job.state, job.worker = "running", worker
        job.reserved = self._upper(self.decision, worker)
        self.waiting.append(self.decision)
        self.decision = None
        self.decisions += 1
        self._move_on()
        if self.end is None and self.decisions == self.step_limit:
            self._finish("truncated")
        return self.terms

    def _upper(self, index: int, worker: int) -> float:
        return self.cost_upper[self.instance.type_of[index]][worker]

    def _move_on(self) -> None:
        self._start_waiting()
        while self.end is None and self.decision is None:
            ready = [i for i, job in enumerate(self.jobs) if job.state == "ready"]
            if ready:
                self._ask(ready[0])
            elif not self.running:
                self._finish("terminated")
            else:
                self._wait()

    def _ask(self, index: int) -> None:
        reserved = sum(job.reserved for job in self.jobs if job.state == "running")
        budget = self.rules.cost_budget_usd
        self.mask = [
            bool(trials)
            and (budget is None or self.spent + reserved + self._upper(index, w) <= budget)
            for w, trials in enumerate(self.instance.calls[index])
        ]
        if any(self.mask):
            self.decision = index
        else:
            self._give_up(index)

    def _give_up(self, index: int) -> None:
        self.jobs[index].state = "failed"
        if self.rules.on_failure == "abort":
            self._finish("terminated")

    def _start_waiting(self) -> None:
        for index in list(self.waiting):
            job = self.jobs[index]
            assert job.worker is not None
            if len(self.running) == self.rules.max_parallel_tasks:
                return
            if self.free[job.worker] == 0:
                continue
            trials = self.instance.calls[index][job.worker]
            job.trial = trials[job.failed_calls % len(trials)]
            self.free[job.worker] -= 1
            self.waiting.remove(index)
            job.first_start = self.now if job.first_start is None else job.first_start
            heapq.heappush(self.running, (self.now + round(1000 * job.trial.latency_ms), index))

    def _wait(self) -> None:
        instant = self.running[0][0]
        deadline = self.rules.deadline_ms
        if deadline is not None and instant > round(1000 * deadline):
            self._set_clock(round(1000 * deadline))
            self._finish("terminated")
            return
        self._set_clock(instant)
        failed = []
        while self.running and self.running[0][0] == instant:
            index = heapq.heappop(self.running)[1]
            if not self._complete(index):
                failed.append(index)
        if failed and self.rules.on_failure == "abort":
            self._finish("terminated")
        else:
            self._start_waiting()

    def _set_clock(self, instant: int) -> None:
        self.terms.us += instant - self.now
        self.now = instant

    def _complete(self, index: int) -> bool:
        """Books a completed call; returns False where its subtask has failed for good."""
        job = self.jobs[index]
        trial = self._charge(index)
        job.last_end = self.now
        if trial.score >= 0.5:
            job.state = "succeeded"
            self.terms.wins += 1
            for child in self.jobs:
                done = all(self.jobs[parent].state == "succeeded" for parent in child.parents)
                if index in child.parents and done:
                    child.state = "ready"
            return True
        job.failed_calls += 1
        is_over = job.failed_calls == self.rules.max_attempts
        job.state = "failed" if is_over else "ready"
        return not is_over

    def _charge(self, index: int) -> Trial:
        job = self.jobs[index]
        assert job.trial is not None and job.worker is not None
        trial, job.trial = job.trial, None
        self.free[job.worker] += 1
        self.spent += trial.cost_usd
        self.terms.usd += trial.cost_usd
        job.cost += trial.cost_usd
        return trial

    def _finish(self, how: str) -> None:
        for _, index in self.running:
            self._charge(index)
            self.jobs[index].is_cut = True
        self.end, self.decision = how, None
        self.mask = [True] * len(self.instance.calls[0])
        if all(job.state == "succeeded" for job in self.jobs):
            self.terms.success = 1.0
