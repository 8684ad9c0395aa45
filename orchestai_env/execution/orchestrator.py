"""Orchestrator: plans an instruction and runs the workflow with real workers."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import datetime
import gc
import hashlib
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import numpy as np
import pydantic

from orchestai_env.dataset import Dataset
from orchestai_env.episodes import Episodes
from orchestai_env.errors import PlanningError
from orchestai_env.execution.calls.budget import BudgetError
from orchestai_env.execution.calls.side_calls import SideCalls
from orchestai_env.execution.chooser import Chooser, explored
from orchestai_env.execution.execution import Execution, Means
from orchestai_env.execution.live_setup import close_workers
from orchestai_env.execution.log.logged_result import execution_result
from orchestai_env.execution.log.record import ExecutionRecord, LoggedResult, PlannerOutputs
from orchestai_env.execution.log.shared_writes import Log, SharedWrites
from orchestai_env.execution.loop_thread import LoopThread
from orchestai_env.execution.workers.worker import Worker
from orchestai_env.execution_result import ExecutionResult
from orchestai_env.live_clock import LiveClock
from orchestai_env.observation import ObservationLayout
from orchestai_env.planning.planned import planned_dataset
from orchestai_env.planning.planner import Plan, Planner
from orchestai_env.reward import RewardWeights
from orchestai_env.rules import EpisodeRules
from orchestai_env.settings import StrictSettings

TIMEOUT_MS = 300_000.0
"""Deadline of a workflow by default [ms]."""

_MOST_PLANS = 64
"""Instructions that are planned at once; chosen: the workflows that are meant to run at once."""


class OrchestratorSettings(StrictSettings):
    """How workflows are executed."""

    rules: EpisodeRules = EpisodeRules(deadline_ms=TIMEOUT_MS)
    """As in the environment: attempts, parallel calls, budget and deadline of one workflow. Rules
    that do not mention a deadline get 300 s; those that say None have none."""
    exploration: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.0
    """Chance that a worker is drawn uniformly instead of as the chooser says."""
    weights: RewardWeights = RewardWeights()
    """Shown to the chooser, which may have been trained under several."""
    seed: int = 0
    """Of the draws; with the execution's id it decides them all."""

    @pydantic.field_validator("rules")
    @classmethod
    def _with_deadline(cls, rules: EpisodeRules) -> EpisodeRules:
        if "deadline_ms" in rules.model_fields_set:
            return rules
        return rules.model_copy(update={"deadline_ms": TIMEOUT_MS})


class Orchestrator:
    """Turns instructions into workflows, and has each subtask done by the worker that is chosen.

    Decisions fall as in `OrchestAI-v0`: the same transition says when one is due and what may be
    called, and the chooser sees the same observation, so that a policy trained there works here.
    """

    def __init__(
        self,
        known: Dataset,
        *,
        planner: Planner,
        chooser: Chooser,
        means: Means,
        log: Log | None = None,
        settings: OrchestratorSettings | None = None,
    ) -> None:
        """Takes what executions need.

        Args:
            known: live data set of the workers: what is known of them; see `live_dataset`.
            planner: makes the workflows.
            chooser: picks the workers.
            means: calls them, by the names of the pool of `known`, and judges what they write.
            log: every execution is appended to it, whatever its end, but for those that are cut
                short before they have a plan or cost anything; None = nowhere.
            settings: the documented defaults where None.
        """
        self._known, self._planner, self._chooser = known, planner, chooser
        self._means, self._log = means, None if log is None else SharedWrites(log)
        self._settings = settings or OrchestratorSettings()
        self._thread: LoopThread | None = None
        # Threads of its own, so that planners that wait for workers do not keep checks, which use
        # those of the event loop, from theirs.
        self._planners = ThreadPoolExecutor(_MOST_PLANS, thread_name_prefix="planner")

    def warm_up(self) -> None:
        """Does beforehand what executions would have to wait for; for processes that only serve.

        It loads the compiled code, and keeps all that is in memory by now from ever being collected
        as garbage: a full collection walks over the compiler's 200,000 objects, and halts whatever
        runs for a tenth of a second.
        """
        layout = ObservationLayout.of(self._known, None)
        LiveClock(self._episodes(self._known, layout)).prepare()
        gc.collect()
        gc.freeze()

    def execute(self, instruction: str) -> ExecutionResult:
        """Plans and executes one instruction, for callers that are not asynchronous.

        Raises:
            PlanningError: it cannot be planned.
            BudgetError: the budget of all executions does not suffice; it is logged as interrupted.
            OrchestAIError: the log cannot be written, or the chooser's answer is no good.
        """
        if self._thread is None:
            self._thread = LoopThread()
        record, result = self._thread.run(self.execute_async(instruction))
        if record.interrupted:
            raise BudgetError(
                f"execution {record.execution_id}: the budget of all executions is spent; it was "
                f"interrupted after {result.total_cost:.6g} USD"
            )
        return result

    def close(self, workers: Mapping[str, Worker]) -> None:
        """Ends the thread of `execute`, for callers that are not asynchronous.

        Args:
            workers: all that were called; closed first, in the event loop that called them.
        """
        if self._thread is not None:
            self._thread.run(close_workers(workers))
            self._thread.close()
            self._thread = None

    async def execute_async(
        self,
        instruction: str,
        *,
        execution_id: str | None = None,
        watch: Callable[[Execution], None] = lambda execution: None,
    ) -> tuple[ExecutionRecord, ExecutionResult]:
        """Plans and executes one instruction; many may run at once in one event loop.

        Args:
            instruction: text.
            execution_id: unique; drawn where None.
            watch: called whenever a decision is due, and at the end.
        Returns:
            What was logged, and the result. Where the budget of all executions did not suffice, the
            record is `interrupted`, without subtasks if it was not planned either.
        Raises:
            PlanningError: it cannot be planned; a failed execution without subtasks is logged.
            OrchestAIError: the log cannot be written, or the chooser's answer is no good. The
                execution is logged as interrupted where something raises, or its task is cancelled.
        """
        name = execution_id or uuid.uuid4().hex
        began = datetime.datetime.now(datetime.UTC)
        planning = SideCalls(self._means.ledger)
        try:
            execution = self._execution(name, *await self._planned(instruction, planning))
        except BaseException as error:
            is_failed = isinstance(error, PlanningError) and not planning.was_refused
            record = self._unplanned(name, instruction, began, planning.cost_usd, not is_failed)
            if is_failed or planning.cost_usd > 0.0:
                await self._append(record)
            if isinstance(error, PlanningError) and planning.was_refused:
                return record, execution_result(record.execution_result)
            raise
        try:
            await self._run(execution, watch)
        except BudgetError:
            pass
        finally:  # each of these ends what it began, though this task is cancelled again
            try:
                await execution.stop()
            finally:
                record = execution.record(self._chooser.name, planning_cost=planning.cost_usd)
                await self._append(record)
        watch(execution)
        return record, execution.result()

    async def _planned(self, instruction: str, planning: SideCalls) -> tuple[Dataset, Plan]:
        """Plans in a thread, since a planner may compute, or wait for a worker.

        Raises:
            PlanningError: it cannot be planned.
        """
        with planning.paying():
            context = contextvars.copy_context()
        plans = asyncio.get_running_loop().run_in_executor(
            self._planners, context.run, planned_dataset, self._known, self._planner, [instruction]
        )
        try:
            planned, (plan,) = await plans
        finally:
            await planning.stop()  # where this is cancelled, its thread still waits for a worker
        return planned, plan

    def _execution(self, name: str, planned: Dataset, plan: Plan) -> Execution:
        layout = ObservationLayout.of(planned, list(self._chooser.observation_keys))
        return Execution(name, plan, self._episodes(planned, layout), self._means)

    def _episodes(self, dataset: Dataset, layout: ObservationLayout) -> Episodes:
        """Returns one episode of a data set, its clock at 0."""
        rules, weights = self._settings.rules, self._settings.weights
        episodes = Episodes(dataset, n=1, rules=rules, weights=weights, layout=layout)
        episodes.reset()
        return episodes

    async def _run(self, execution: Execution, watch: Callable[[Execution], None]) -> None:
        """Decides until the workflow has ended.

        Raises:
            BudgetError: the budget of all executions does not suffice.
            OrchestAIError: the chooser's answer is no good.
        """
        name, episodes = execution.execution_id, execution.episodes
        digest = hashlib.blake2b(f"{self._settings.seed}/{name}".encode(), digest_size=8)
        rng = np.random.default_rng(int.from_bytes(digest.digest()))
        chooser = copy.copy(self._chooser)  # it may remember what it sees of one execution
        execution.begin()
        while not execution.has_ended:
            watch(execution)
            obs = {key: getattr(episodes.out, key)[0] for key in self._chooser.observation_keys}
            chances = explored(
                chooser.probabilities(obs),
                episodes.state.mask[0],
                self._settings.exploration,
            )
            await execution.step(int(rng.choice(len(chances), p=chances)), chances)

    def _unplanned(
        self,
        name: str,
        instruction: str,
        began: datetime.datetime,
        planning_cost: float,
        interrupted: bool,
    ) -> ExecutionRecord:
        """Returns what is logged of an instruction that has no plan: no subtasks."""
        outcome = {"success": False, "outputs": {}, "total_cost": 0.0, "total_latency_ms": 0.0}
        graph = {"adjacency": ()}
        plan = {"model_selections": (), "task_types": (), "workflow_graph": graph}
        return ExecutionRecord(
            execution_id=name,
            interrupted=interrupted,
            timestamp=began,
            instruction=instruction,
            success=False,
            cost=0.0,
            planning_cost=planning_cost,
            latency_ms=0.0,
            planner=self._planner.name,
            agent=self._chooser.name,
            rules=self._settings.rules,
            planner_outputs=PlannerOutputs.model_validate(plan),
            execution_result=LoggedResult.model_validate(outcome | {"subtasks": ()}),
            decisions=(),
        )

    async def _append(self, record: ExecutionRecord) -> None:
        """Logs a record, whatever is cancelled.

        Raises:
            OrchestAIError: it cannot be written.
        """
        if self._log is not None:
            await self._log.append(record)
