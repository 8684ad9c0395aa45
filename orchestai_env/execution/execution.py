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
from orchestai_env.execution.budget import Ledger
from orchestai_env.execution.call_records import CallProgress
from orchestai_env.execution.calls import Caller
from orchestai_env.execution.checks import Check
from orchestai_env.execution.chooser import Probabilities, next_allowed
from orchestai_env.execution.live_episode import CallEnd, LiveEpisode
from orchestai_env.execution.logged_result import logged_result
from orchestai_env.execution.record import (
    Decision,
    ExecutionRecord,
    PlannerOutputs,
    WorkflowGraph,
)
from orchestai_env.execution.worker import CallRequest
from orchestai_env.execution_result import ExecutionResult
from orchestai_env.live_clock import OpenCall
from orchestai_env.planning.planner import Plan
from orchestai_env.state import ATTEMPTS, CURRENT


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
        self._ledger = Ledger(episodes.rules.cost_budget_usd, parent=means.ledger)
        self._live = LiveEpisode(episodes, self._call, clock=means.clock)
        self._names = episodes.dataset.pool.names
        self.outputs: dict[int, str] = {}
        """Output text of every subtask that has succeeded."""
        self._drafts: list[dict[str, Any]] = []
        self._latest: dict[int, dict[str, Any]] = {}
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

        Args:
            action: 0..W-1.
            probabilities: float64 (W,); by which it was drawn, None where that is not known.
        """
        state = self.episodes.state
        subtask, mask = int(state.episode[0, CURRENT]), state.mask[0]
        names = self.episodes.worker_names(0)
        draft: dict[str, Any] = {
            "subtask": subtask,
            "attempt": int(state.subtask[0, subtask, ATTEMPTS]),
            "probabilities": None,
            "decided_ms": self._live.now_ms(),
        }
        if probabilities is not None:
            draft["probabilities"] = {
                str(names[a]): float(probabilities[a]) for a in np.flatnonzero(mask).tolist()
            }
        draft["worker"] = names[next_allowed(mask, action)]
        self._drafts.append(draft)
        self._latest[subtask] = draft
        await self._live.step(action)

    async def stop(self) -> None:
        """Cancels the calls that run; they are charged for what they had cost."""
        await self._live.stop()

    async def _call(self, opened: OpenCall) -> CallEnd:
        """Makes a call, and notes in its draft how it went, also where it is cut off."""
        draft, progress = self._latest[opened.subtask], CallProgress()
        request = self._request(opened)
        success, quality, text = False, 0.0, None
        try:
            outcome = await self._means.caller.call(
                draft["worker"], request, ledger=self._ledger, progress=progress
            )
            draft["fault"] = outcome.fault
            if outcome.answer is not None:
                text = outcome.answer.text
                verdict = await self._means.check(request, text)
                success, quality = verdict.success, verdict.quality
            draft |= {"success": success, "quality": quality, "end_ms": self._live.now_ms()}
        except asyncio.CancelledError:  # the episode is over; what the call had cost still counts
            pass
        draft["progress"] = progress
        if success and text is not None:
            self.outputs[opened.subtask] = text
        return CallEnd(success=success, quality=quality, cost_usd=progress.cost_usd)

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
            total_latency_ms=found.total_latency_ms,
            subtasks=tuple(result._replace(name=subtask.name) for result, subtask in named),
        )

    def record(self, agent: str) -> ExecutionRecord:
        """Returns what is logged of the execution, once it has ended.

        Args:
            agent: name of what chose the workers.
        """
        workflow, result = self.plan.workflow, self.result()
        size = len(workflow.subtasks)
        first = {draft["subtask"]: draft["worker"] for draft in reversed(self._drafts)}
        links = set(workflow.links)
        rows = tuple(tuple(int((i, j) in links) for j in range(size)) for i in range(size))
        return ExecutionRecord(
            execution_id=self.execution_id,
            timestamp=self._began,
            instruction=workflow.instruction,
            success=result.success,
            cost=result.total_cost,
            latency_ms=result.total_latency_ms,
            planner=self.plan.planner,
            agent=agent,
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
        progress = draft.pop("progress", None) or CallProgress()
        started_s, usage = progress.started_s, progress.usage
        return Decision(
            **{"fault": None, "success": None, "quality": None, "end_ms": None, **draft},
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
