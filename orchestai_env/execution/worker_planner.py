"""WorkerPlanner: plans by asking one of the user's workers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from orchestai_env.execution.workers.worker import CallRequest, Worker
from orchestai_env.planning.language_model import LanguageModelPlanner
from orchestai_env.planning.planner import Plan


class WorkerPlanner:
    """Plans by asking a worker, from a thread that is not that of the workers' event loop."""

    def __init__(self, worker: Worker, task_types: Sequence[str]) -> None:
        """Takes the worker; made in the event loop that calls it."""
        self._loop, self._worker = asyncio.get_running_loop(), worker
        self._planner = LanguageModelPlanner(self._complete, task_types=task_types)
        self.name = self._planner.name = worker.name
        self.task_types = tuple(task_types)

    def plan(self, instructions: Sequence[str]) -> list[Plan]:
        """Returns one plan per instruction.

        Raises:
            PlanningError: the worker gave no answer, or none that is a plan.
        """
        return self._planner.plan(instructions)

    def _complete(self, prompt: str) -> str:
        request = CallRequest(instruction=prompt, subtask=prompt, task_type="planning")
        answer = asyncio.run_coroutine_threadsafe(self._worker.call(request), self._loop)
        return answer.result().text
