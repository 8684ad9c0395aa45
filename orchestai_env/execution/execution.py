"""Execution: one workflow from its first decision to the record that is logged."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from orchestai_env.episodes import Episodes
from orchestai_env.execution.calls.budget import BudgetError, Ledger
from orchestai_env.execution.calls.call_records import CallProgress
from orchestai_env.execution.calls.calls import Caller
from orchestai_env.execution.calls.side_calls import SideCalls
from orchestai_env.execution.checks.checks import Check
from orchestai_env.execution.chooser import Probabilities, next_allowed
from orchestai_env.execution.live_episode import CallEnd, LiveEpisode
from orchestai_env.execution.log.logged_result import logged_result
from orchestai_env.execution.log.record import (
    Decision,
    ExecutionRecord,
    PlannerOutputs,
    WorkflowGraph,
)
from orchestai_env.execution.workers.worker import CallRequest
from orchestai_env.execution_result import ExecutionResult
from orchestai_env.live_clock import OpenCall
from orchestai_env.planning.planner import Plan
from orchestai_env.state import ATTEMPTS, CLOCK, CURRENT


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Means:
    """What all executions of one event loop share."""

    caller: Caller
    check: Check
    """Tells whether an output is a success."""
    ledger: Ledger
    """Of the caller; each workflow has a child of it with a budget of its own."""
    clock: Callable[[], float] = time.monotonic
    """Seconds; the one of the caller."""


class Execution:
    """Runs one planned workflow as an agent decides, and notes every decision."""

    def __init__(
        self,
        execution_id: str,
        plan: Plan,
        episodes: Episodes,
        means: Means,
    ) -> None:
        """Takes an episode that has not begun.

        Args:
            execution_id: unique.
            plan: of the workflow that the episode plays.
            episodes: one row over a live source.
            means: what calls workers and judges what they write.
        """
        self.execution_id, self.plan, self.episodes = execution_id, plan, episodes
        self._means = means
        # The mask holds the budget by what is believed of costs, so that it can be seen and nothing
        # hopeless is called. The ledger holds it by what a try may really cost at most, at the
        # worker really called, fallbacks included. Neither can stand for the other.
        self._ledger = Ledger(episodes.rules.cost_budget_usd, parent=means.ledger)
        self._live = LiveEpisode(episodes, self._call, clock=means.clock, on_end=self._note_end)
        self._names = episodes.dataset.pool.names
        self.outputs: dict[int, str] = {}
        """Output text of every subtask that has succeeded."""
        self.troubles: list[str] = []
        """Why tries gave no answer, and answers no success: a line for each call that had such, in
        their order; for the user's eyes, not for the log."""
        self._drafts: list[dict[str, Any]] = []
        self._latest: dict[int, dict[str, Any]] = {}
        self._stopped_ms = 0.0
        self._began = datetime.datetime.now(datetime.UTC)

    @property
    def has_ended(self) -> bool:
        """Whether the workflow has succeeded or failed."""
        return self._live.has_ended

    def now_ms(self) -> float:
        """Returns the time since it began [ms]."""
        return self._live.now_ms()

    def begin(self) -> None:
        """Starts the clock of an episode that was reset; the first decision is due at once."""
        self._began = datetime.datetime.now(datetime.UTC)
        self._live.begin()

    async def step(self, action: int, probabilities: Probabilities | None = None) -> None:
        """Calls the worker of an action; returns when the next decision is due, or at the end.

        Where it raises, or is cancelled, calls that run are cancelled and charged.

        Args:
            action: 0..W-1.
            probabilities: float64 (W,); by which it was drawn, None where that is not known.
        Raises:
            BudgetError: the budget of all executions does not allow a call that is needed.
        """
        state = self.episodes.state
        subtask, mask = int(state.episode[0, CURRENT]), state.mask[0]
        names, now_us = self.episodes.worker_names(0), self._live.now_us()
        draft: dict[str, Any] = {
            "subtask": subtask,
            "attempt": int(state.subtask[0, subtask, ATTEMPTS]),
            "probabilities": None,
            "due_ms": int(state.episode[0, CLOCK]) / 1000.0,
            "decided_ms": now_us / 1000.0,
        }
        if probabilities is not None:
            draft["probabilities"] = {
                str(names[a]): float(probabilities[a]) for a in np.flatnonzero(mask).tolist()
            }
        draft["worker"] = names[next_allowed(mask, action)]
        self._drafts.append(draft)
        self._latest[subtask] = draft
        await self._live.step(action, now_us)

    async def stop(self) -> None:
        """Cancels the calls that run; they are charged for what they had cost."""
        if not self.has_ended:
            self._stopped_ms = self.now_ms()
        await self._live.stop()

    def _note_end(self, subtask: int, now_us: int) -> None:
        self._latest[subtask]["noted_ms"] = now_us / 1000.0

    async def _call(self, opened: OpenCall) -> CallEnd:
        """Makes a call, and notes in its draft how it went, also where it is cut off."""
        draft, progress = self._latest[opened.subtask], CallProgress()
        judging = SideCalls(self._means.ledger)
        success, quality, error = False, 0.0, None
        try:
            success, quality = await self._judged_call(opened, draft, progress, judging)
            draft |= {"success": success, "quality": quality, "end_ms": self._live.now_ms()}
        except asyncio.CancelledError:  # the episode is over; what the call had cost still counts
            pass
        except Exception as stopped:  # a check of the user may raise any
            error = stopped
        draft |= {"progress": progress, "check_cost": judging.cost_usd}
        return CallEnd(success=success, quality=quality, cost_usd=progress.cost_usd, error=error)

    async def _judged_call(
        self, opened: OpenCall, draft: dict[str, Any], progress: CallProgress, judging: SideCalls
    ) -> tuple[bool, float]:
        """Returns whether a call succeeded, and its quality.

        Raises:
            BudgetError: the budget of all executions did not allow it, or its judge.
        """
        request = self._request(opened)
        outcome = await self._means.caller.call(
            draft["worker"], request, ledger=self._ledger, progress=progress
        )
        draft["fault"] = outcome.fault
        if outcome.message:
            then = "" if outcome.answer is None else f"; then {outcome.called} answered"
            self.troubles.append(f"subtask {opened.subtask}: {outcome.message}{then}")
        if outcome.answer is None:
            if outcome.refused_by not in (None, self._ledger):
                raise self._out_of_money(outcome.message)
            return False, 0.0
        text = outcome.answer.text
        with judging.paying():
            verdict = await self._means.check(request, text)
        if not verdict.success and judging.was_refused:
            raise self._out_of_money(verdict.reason)
        if verdict.success:
            self.outputs[opened.subtask] = text
        else:
            self.troubles.append(f"subtask {opened.subtask}: {outcome.called}: {verdict.reason}")
        return verdict.success, verdict.quality

    def _out_of_money(self, reason: str) -> BudgetError:
        return BudgetError(f"{self.execution_id}: the budget of all executions is spent: {reason}")

    def _request(self, opened: OpenCall) -> CallRequest:
        workflow, i = self.plan.workflow, opened.subtask
        parents = [a for a, b in workflow.links if b == i]
        return CallRequest(
            instruction=workflow.instruction,
            subtask=workflow.subtasks[i].name,
            task_type=workflow.subtasks[i].type,
            inputs=tuple(self.outputs.get(parent, "") for parent in parents),
            workflow_id=self.execution_id,
            index=i,
            attempt=opened.attempt,
        )

    def result(self) -> ExecutionResult:
        """Returns the result with texts in place of the numbers of subtasks."""
        found = self.episodes.result(0)
        named = zip(found.subtasks, self.plan.workflow.subtasks, strict=True)
        return ExecutionResult(
            success=found.success,
            outputs=dict(sorted(self.outputs.items())),
            total_cost=found.total_cost,
            total_latency_ms=max(found.total_latency_ms, self._stopped_ms),
            subtasks=tuple(result._replace(name=subtask.name) for result, subtask in named),
        )

    def record(self, agent: str, *, planning_cost: float) -> ExecutionRecord:
        """Returns what is logged of the execution once it has ended, or was stopped.

        Args:
            agent: name of what chose the workers.
            planning_cost: [USD], >= 0.
        """
        workflow, result = self.plan.workflow, self.result()
        size = len(workflow.subtasks)
        first = {draft["subtask"]: draft["worker"] for draft in reversed(self._drafts)}
        links = set(workflow.links)
        rows = tuple(tuple(int((i, j) in links) for j in range(size)) for i in range(size))
        return ExecutionRecord(
            execution_id=self.execution_id,
            interrupted=not self.has_ended,
            timestamp=self._began,
            instruction=workflow.instruction,
            success=result.success,
            cost=result.total_cost,
            planning_cost=planning_cost,
            latency_ms=result.total_latency_ms,
            planner=self.plan.planner,
            agent=agent,
            rules=self.episodes.rules,
            concurrency={w.name: w.concurrency for w in self.episodes.dataset.pool.workers},
            planner_outputs=PlannerOutputs(
                model_selections=tuple(first.get(i) for i in range(size)),
                task_types=tuple(subtask.type for subtask in workflow.subtasks),
                workflow_graph=WorkflowGraph.model_validate({"adjacency": rows}),
            ),
            execution_result=logged_result(result),
            decisions=tuple(self._decision(draft) for draft in self._drafts),
        )

    def _decision(self, draft: dict[str, Any]) -> Decision:
        """Completes a draft; what has not happened is None or 0."""
        given = {"fault": None, "success": None, "quality": None, "end_ms": None, **draft}
        progress = given.pop("progress", None) or CallProgress()
        started_s, usage = progress.started_s, progress.usage
        return Decision(
            **given,
            called=progress.called or None,
            start_ms=None if started_s is None else self._live.ms_at(started_s),
            running=progress.running,
            cost=progress.cost_usd,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cached_tokens=usage.cached_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            is_estimated=usage.is_estimated,
            tries=progress.tries,
        )
