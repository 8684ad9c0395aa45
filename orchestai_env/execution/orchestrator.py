"""Orchestrator: plans an instruction and runs the workflow with real workers."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Callable
from typing import Annotated, Protocol

import numpy as np
import pydantic

from orchestai_env.dataset import Dataset
from orchestai_env.episodes import Episodes
from orchestai_env.execution.chooser import Chooser, explored
from orchestai_env.execution.execution import Execution, Means
from orchestai_env.execution.loop_thread import LoopThread
from orchestai_env.execution.record import ExecutionRecord
from orchestai_env.execution_result import ExecutionResult
from orchestai_env.observation import ObservationLayout
from orchestai_env.planning.planned import planned_dataset
from orchestai_env.planning.planner import Planner
from orchestai_env.reward import RewardWeights
from orchestai_env.rules import EpisodeRules
from orchestai_env.settings import StrictSettings

TIMEOUT_MS = 300_000.0
"""Deadline of a workflow by default [ms]."""


class Log(Protocol):
    """What an execution is written to; see `execution_log.ExecutionLogger`."""

    def append(self, record: ExecutionRecord) -> str:
        """Writes one execution; returns its id."""


class OrchestratorSettings(StrictSettings):
    """How workflows are executed."""

    rules: EpisodeRules = EpisodeRules(deadline_ms=TIMEOUT_MS)
    """As in the environment: attempts, parallel calls, budget and deadline of one workflow."""
    exploration: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.0
    """Chance that a worker is drawn uniformly instead of as the chooser says."""
    weights: RewardWeights = RewardWeights()
    """Shown to the chooser, which may have been trained under several."""
    seed: int = 0
    """Of the draws; with the execution's id it decides them all."""


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
            log: every execution is appended to it, whatever its end; None = nowhere.
            settings: the documented defaults where None.
        """
        self._known, self._planner, self._chooser = known, planner, chooser
        self._means, self._log = means, log
        self._settings = settings or OrchestratorSettings()
        self._thread: LoopThread | None = None

    def execute(self, instruction: str) -> ExecutionResult:
        """Plans and executes one instruction, for callers that are not asynchronous.

        Raises:
            PlanningError: it cannot be planned.
            OrchestAIError: the log cannot be written, or the chooser's answer is no good.
        """
        if self._thread is None:
            self._thread = LoopThread()
        return self._thread.run(self.execute_async(instruction))[1]

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
        Raises:
            PlanningError: it cannot be planned.
            OrchestAIError: the log cannot be written, or the chooser's answer is no good.
        """
        name = execution_id or uuid.uuid4().hex
        planned, (plan,) = await asyncio.to_thread(  # a planner may wait for a language model
            planned_dataset, self._known, self._planner, [instruction]
        )
        layout = ObservationLayout.of(planned, list(self._chooser.observation_keys))
        rules, weights = self._settings.rules, self._settings.weights
        episodes = Episodes(planned, n=1, rules=rules, weights=weights, layout=layout)
        episodes.reset()
        execution = Execution(name, plan, episodes, self._means)
        digest = hashlib.blake2b(f"{self._settings.seed}/{name}".encode(), digest_size=8)
        rng = np.random.default_rng(int.from_bytes(digest.digest()))
        execution.begin()
        watch(execution)
        while not execution.has_ended:
            obs = {key: getattr(episodes.out, key)[0] for key in layout.space.spaces}
            chances = explored(
                self._chooser.probabilities(obs),
                episodes.state.mask[0],
                self._settings.exploration,
            )
            await execution.step(int(rng.choice(len(chances), p=chances)), chances)
            watch(execution)
        record = execution.record(self._chooser.name)
        if self._log is not None:
            await asyncio.to_thread(self._log.append, record)  # it may wait for the disk
        return record, execution.result()
