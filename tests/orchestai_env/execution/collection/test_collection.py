"""collect: executions side by side, and what ends them all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from orchestai_env.errors import PlanningError
from orchestai_env.execution.collection.collection import collect
from tests.orchestai_env.execution.log_records import record


class PretendOrchestrator:
    """Executes by instruction: "done", "cut" by the budget, or "unplanned"."""

    def __init__(self) -> None:
        self.running = self.most_running = 0
        self.cancelled: list[str] = []

    async def execute_async(self, instruction: str, *, execution_id: str) -> Any:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await asyncio.sleep(60.0 if instruction == "slow" else 0.0)
        except asyncio.CancelledError:
            self.cancelled.append(execution_id)
            raise
        finally:
            self.running -= 1
        if instruction == "unplanned":
            raise PlanningError("no plan")
        return record(execution_id).model_copy(update={"interrupted": instruction == "cut"}), None


def collected(
    *instructions: str,
    num_parallel: int = 1,
    may_go_on: Callable[[], bool] = lambda: True,
    orchestrator: PretendOrchestrator | None = None,
) -> list[int]:
    """Returns the indices of executions that were done, in their order."""
    done: list[int] = []
    asyncio.run(
        collect(
            orchestrator or PretendOrchestrator(),  # type: ignore[arg-type]  # what it uses of one
            ((i, f"id {i}", instruction) for i, instruction in enumerate(instructions)),
            num_parallel=num_parallel,
            may_go_on=may_go_on,
            on_end=done.append,
        )
    )
    return done


def test_all_are_done_no_more_at_once_than_allowed() -> None:
    orchestrator = PretendOrchestrator()
    done = collected(*["done"] * 20, num_parallel=3, orchestrator=orchestrator)
    assert sorted(done) == list(range(20))
    assert orchestrator.most_running == 3


def test_none_follows_one_that_the_budget_cut_short() -> None:
    assert collected("done", "cut", "done") == [0]


def test_none_follows_when_it_may_not_go_on() -> None:
    answers = iter([True, True, False])
    assert collected(*["done"] * 5, may_go_on=lambda: next(answers)) == [0, 1]


def test_instruction_without_a_plan_is_done_and_others_follow() -> None:
    found = collected("unplanned", "unplanned", "done", "unplanned", "unplanned", "done")
    assert found == [0, 1, 2, 3, 4, 5]


def test_planner_that_is_gone_ends_the_collection() -> None:
    orchestrator = PretendOrchestrator()
    with pytest.raises(PlanningError, match="no plan"):
        collected("slow", *["unplanned"] * 5, num_parallel=2, orchestrator=orchestrator)
    assert orchestrator.cancelled == ["id 0"]
