"""Executions that are cut short: what they cost is in the log, and they are no failures."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from orchestai_env.errors import ConfigError, PlanningError
from orchestai_env.execution.calls.budget import BudgetError, sum_usd
from orchestai_env.execution.calls.calls import Caller
from orchestai_env.execution.checks.checks import Check, JudgeCheck, Verdict
from orchestai_env.execution.log.record import ExecutionRecord
from orchestai_env.execution.orchestrator import OrchestratorSettings
from orchestai_env.execution.worker_planner import WorkerPlanner
from orchestai_env.execution.workers.worker import Answer, CallRequest, Usage
from orchestai_env.planning.planner import Planner
from orchestai_env.rules import EpisodeRules
from tests.orchestai_env.execution import virtual_time
from tests.orchestai_env.execution.orchestrating import (
    NAMES,
    Bench,
    FixedPlanner,
    MemoryLog,
    bench,
    both,
    execute,
)
from tests.orchestai_env.execution.scripted_worker import USAGE, ScriptedWorker

CALL_USD = 0.05
UPPER_USD = 1.0
PLAN = json.dumps({"subtasks": [{"name": "all of it", "type": "planning"}]})


def judge(reply: str = "0.9", seconds: float = 1.0) -> ScriptedWorker:
    """Returns a worker that always gives the same score."""
    return ScriptedWorker("judge", [Answer(text=reply, usage=USAGE)] * 99, seconds=seconds)


def judged(caller: Caller) -> Check:
    """Has the worker "judge" judge."""
    return JudgeCheck(caller.as_worker("judge"))


def planned_by(reply: str, seconds: float = 1.0) -> ScriptedWorker:
    """Returns a worker whose every reply is the same."""
    return ScriptedWorker("planner", [Answer(text=reply, usage=USAGE)] * 99, seconds=seconds)


def plans(caller: Caller) -> Planner:
    """Has the worker "planner" plan."""
    return WorkerPlanner(caller.as_worker("planner"), ["planning"])


def paid_usd(records: Sequence[ExecutionRecord]) -> float:
    """Returns all that records say was paid [USD]."""
    calls = [call for record in records for call in record.decisions]
    beside = [call.check_cost for call in calls] + [record.planning_cost for record in records]
    return sum_usd([*(call.cost for call in calls), *beside])


def interrupt(
    workers: Sequence[ScriptedWorker],
    stop: Callable[[asyncio.Task[Any]], object] = lambda task: task.cancel(),
    *,
    after_s: float = 0.0,
    is_time: Callable[[], bool] | None = None,
    **given: Any,
) -> Bench:
    """Begins an execution, stops it, and waits until it has ended.

    Args:
        workers: of it.
        stop: what is done to its task.
        after_s: when, since it was planned; since it was time, where `is_time` says so.
        is_time: None = it is when it was planned.
        **given: of `bench`.
    """

    async def main() -> Bench:
        made, planned = bench(workers, **given), asyncio.Event()
        task = asyncio.ensure_future(
            made.orchestrator.execute_async("go", execution_id="one", watch=lambda _: planned.set())
        )
        while not (planned.is_set() if is_time is None else is_time()):
            await asyncio.sleep(0)
        await asyncio.sleep(after_s)
        assert not task.done()
        stop(task)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert made.ledger.reserved_usd == 0.0
        assert made.ledger.spent_usd == paid_usd(made.log.records)
        return made

    return virtual_time.run(main())


def test_budget_of_all_executions_interrupts_the_one_that_needs_more() -> None:
    run = execute(both, budget_usd=UPPER_USD + 1.5 * CALL_USD)  # the third call may cost too much

    assert run.log.records == [run.record]
    assert run.record.interrupted
    assert not run.record.success
    assert run.ledger.spent_usd == run.record.cost == pytest.approx(2 * CALL_USD)
    ends = [(call.subtask, call.success, call.fault) for call in run.record.decisions]
    assert ends[0] == (0, True, None)
    assert (2, None, "budget") in ends
    assert run.result.total_latency_ms == run.record.latency_ms


def test_calls_that_run_when_the_budget_is_spent_are_cancelled_and_charged() -> None:
    dear = Answer(text="more than it should cost", usage=Usage(input_tokens=1, output_tokens=3000))

    def workers() -> list[ScriptedWorker]:
        return [ScriptedWorker(NAMES[0], [dear]), ScriptedWorker(NAMES[1], seconds=50.0)]

    class InTurn:
        """Calls the second worker once, then the first."""

        name, observation_keys = "in turn", ("action_mask",)

        def __init__(self) -> None:
            self._choices = iter([1, 0, 0])

        def probabilities(self, obs: Any) -> Any:
            return np.eye(2)[next(self._choices)]

    run = execute(
        workers,
        chooser=InTurn(),
        planner=lambda caller: FixedPlanner(3, ((1, 2),)),
        budget_usd=2.5 * UPPER_USD,
    )

    assert run.record.interrupted
    assert run.record.latency_ms == pytest.approx(1000.0)
    long, paid, last = run.record.decisions
    assert (long.called, long.end_ms, long.success) == (NAMES[1], None, None)
    assert (paid.cost, paid.success) == (3.0, True)
    assert (last.called, last.fault, last.success) == (None, "budget", None)
    assert run.ledger.spent_usd == paid_usd(run.log.records) == run.record.cost == 3.0


def test_budget_of_a_workflow_is_a_rule_under_which_it_fails() -> None:
    rules = EpisodeRules(cost_budget_usd=UPPER_USD + 1.5 * CALL_USD, deadline_ms=60_000.0)
    run = execute(both, settings=OrchestratorSettings(rules=rules))

    assert not run.record.interrupted
    assert not run.record.success
    refused = [call for call in run.record.decisions if call.fault == "budget"]
    assert [(call.success, call.cost) for call in refused] == [(False, 0.0)] * 3
    assert run.record.execution_result.subtasks[refused[0].subtask].status == "failed"


def test_budget_below_the_first_call_interrupts_without_cost() -> None:
    run = execute(both, budget_usd=0.5 * UPPER_USD)

    assert run.record.interrupted
    assert [(call.called, call.fault) for call in run.record.decisions] == [(None, "budget")]
    assert run.ledger.spent_usd == 0.0


def test_synchronous_callers_are_told_that_the_budget_is_spent() -> None:
    async def make() -> Bench:
        return bench(both(seconds=0.0), budget_usd=UPPER_USD + 0.5 * CALL_USD)

    made = asyncio.run(make())
    with pytest.raises(BudgetError, match=r"is spent; it was interrupted after 0\.05 USD"):
        made.orchestrator.execute("go")
    assert [record.interrupted for record in made.log.records] == [True]


def test_calls_wait_while_others_hold_the_money() -> None:
    run = execute(
        both, planner=lambda caller: FixedPlanner(5, ()), budget_usd=UPPER_USD + 4.5 * CALL_USD
    )

    assert run.record.success  # one after the other, though all may run side by side
    assert run.result.total_latency_ms == pytest.approx(5000.0)


def test_judging_is_paid_beside_the_calls() -> None:
    run = execute(lambda: [*both(), judge()], check=judged)

    assert run.record.success
    assert run.record.cost == pytest.approx(4 * CALL_USD)
    assert [call.check_cost for call in run.record.decisions] == [CALL_USD] * 4
    assert run.ledger.spent_usd == paid_usd(run.log.records) == pytest.approx(8 * CALL_USD)


def test_budget_that_does_not_allow_the_judge_interrupts() -> None:
    run = execute(lambda: [*both(), judge()], check=judged, budget_usd=UPPER_USD)

    assert run.record.interrupted
    (call,) = run.record.decisions
    assert (call.called, call.cost, call.check_cost) == (call.worker, CALL_USD, 0.0)
    assert (call.success, call.quality, call.fault) == (None, None, None)
    assert run.record.execution_result.outputs == {}


def test_judge_that_is_cut_off_by_the_deadline_is_charged_for_its_first_try() -> None:
    def workers() -> list[ScriptedWorker]:
        slow = ScriptedWorker("judge", [Answer(text="?", usage=USAGE)], seconds=1.0)
        return [*both(), slow]

    class Twice:
        """Asks its judge a second time, which takes too long."""

        def __init__(self, caller: Caller) -> None:
            self._worker = caller.as_worker("judge")

        async def __call__(self, request: CallRequest, text: str) -> Verdict:
            await self._worker.call(request)
            await asyncio.sleep(1e6)
            raise AssertionError

    rules = EpisodeRules(deadline_ms=5_000.0)
    run = execute(workers, check=Twice, settings=OrchestratorSettings(rules=rules))

    assert not run.record.interrupted  # out of time, which is a failure
    (call,) = run.record.decisions
    assert (call.cost, call.check_cost, call.end_ms) == (CALL_USD, CALL_USD, None)
    assert run.ledger.spent_usd == paid_usd(run.log.records)


def test_planning_is_paid_beside_the_calls() -> None:
    run = execute(lambda: [*both(), planned_by(PLAN)], planner=plans)

    assert run.record.success
    assert (run.record.planning_cost, run.record.cost) == (CALL_USD, CALL_USD)
    assert run.ledger.spent_usd == paid_usd(run.log.records)


def test_budget_that_does_not_allow_the_planner_interrupts_without_subtasks() -> None:
    workers = lambda: [*both(), planned_by("no plan")]  # noqa: E731
    run = execute(workers, planner=plans, budget_usd=UPPER_USD)  # its second reply is too dear

    assert run.record.interrupted
    assert (run.record.planning_cost, run.record.cost) == (CALL_USD, 0.0)
    assert run.result.subtasks == ()
    assert run.log.records == [run.record]
    assert run.ledger.spent_usd == paid_usd(run.log.records)


def test_instruction_without_a_plan_is_a_failure_whose_cost_is_logged() -> None:
    async def main() -> Bench:
        made = bench([*both(), planned_by("no plan")], planner=plans)
        with pytest.raises(PlanningError, match="no plan in 2 replies"):
            await made.orchestrator.execute_async("go", execution_id="one")
        return made

    made = virtual_time.run(main())
    (record,) = made.log.records
    assert (record.execution_id, record.instruction, record.interrupted) == ("one", "go", False)
    assert (record.success, record.execution_result.subtasks) == (False, ())
    assert record.planning_cost == made.ledger.spent_usd == pytest.approx(2 * CALL_USD)
    assert ExecutionRecord.model_validate_json(record.model_dump_json()) == record


@pytest.mark.parametrize("after_s", [0.5, 1.5, 2.5])
def test_cancelled_execution_is_logged_as_interrupted(after_s: float) -> None:
    (record,) = interrupt(both(), after_s=after_s).log.records

    assert record.interrupted
    assert record.latency_ms == pytest.approx(1000.0 * after_s)
    assert record.cost == pytest.approx([0.0, 1, 3][int(after_s)] * CALL_USD)
    open_calls = [call for call in record.decisions if call.end_ms is None]
    assert open_calls
    assert all(call.success is None and call.start_ms is not None for call in open_calls)


def test_execution_that_was_neither_planned_nor_paid_is_not_logged() -> None:
    assert interrupt(both(), is_time=lambda: True).log.records == []


def test_cancelled_judge_is_charged_for_nothing_and_its_call_is() -> None:
    made = interrupt([*both(), judge(seconds=100.0)], check=judged, after_s=5.0)
    (record,) = made.log.records
    assert (record.cost, record.decisions[0].check_cost) == (CALL_USD, 0.0)


def test_cancelled_planner_ends_and_is_charged_for_what_had_ended() -> None:
    refused = Answer(text="no plan", usage=USAGE)
    planner = ScriptedWorker("planner", [refused, "timeout"], seconds=0.0)
    made = interrupt([*both(), planner], planner=plans, is_time=lambda: planner.tries == 2)
    (record,) = made.log.records
    assert record.interrupted
    assert (record.planning_cost, record.execution_result.subtasks) == (CALL_USD, ())
    assert planner.running == 0


def test_second_cancellation_does_not_tear_the_end() -> None:
    class Stubborn(ScriptedWorker):
        """Takes a while to hang up."""

        async def call(self, request: CallRequest) -> Answer:
            try:
                return await super().call(request)
            finally:
                await asyncio.sleep(0.2)
                hung_up.append(self.name)

    hung_up: list[str] = []

    def again_and_again(task: asyncio.Task[Any]) -> None:
        loop = asyncio.get_running_loop()
        task.cancel()
        for delay_s in (0.0, 0.1, 0.15):
            loop.call_later(delay_s, task.cancel)

    made = interrupt([Stubborn(name) for name in NAMES], again_and_again, after_s=1.5)
    (record,) = made.log.records
    assert record.interrupted
    assert record.decisions[0].success
    assert len(hung_up) == 3  # the first call, and the two that ran


class SlowLog(MemoryLog):
    """A log whose disk waits for a test."""

    def __init__(self) -> None:
        super().__init__()
        self.is_begun, self.may_go_on = threading.Event(), threading.Event()

    def append(self, *records: ExecutionRecord) -> None:
        self.is_begun.set()
        assert self.may_go_on.wait(30.0)
        super().append(*records)


def test_records_are_written_though_their_executions_are_cancelled_meanwhile() -> None:
    async def main() -> SlowLog:
        log = SlowLog()
        made = bench(both(seconds=0.0), log=log)
        first = asyncio.ensure_future(made.orchestrator.execute_async("go", execution_id="one"))
        while not log.is_begun.is_set():
            await asyncio.sleep(0.001)
        ended = asyncio.Event()  # of the second one, whose record waits behind that of the first
        second = asyncio.ensure_future(
            made.orchestrator.execute_async(
                "go", execution_id="two", watch=lambda one: ended.set() if one.outputs else None
            )
        )
        await ended.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        first.cancel()
        second.cancel()
        await asyncio.sleep(0.01)
        log.may_go_on.set()
        for task in (first, second):
            with pytest.raises(asyncio.CancelledError):
                await task
        assert made.ledger.spent_usd == paid_usd(log.records)
        return log

    one, two = asyncio.run(main()).records
    assert (one.execution_id, one.success, one.interrupted) == ("one", True, False)
    assert two.execution_id == "two"


class Raises:
    """A chooser, or a check, that does."""

    name, observation_keys = "raises", ("action_mask",)

    def probabilities(self, obs: Any) -> Any:
        raise ConfigError("no choice")

    async def __call__(self, request: CallRequest, text: str) -> Verdict:
        raise ConfigError("no verdict")


@pytest.mark.parametrize(
    ("given", "message", "cost"),
    [
        ({"chooser": Raises()}, "no choice", 0.0),
        ({"check": lambda _: Raises()}, "no verdict", 0.05),
    ],
)
def test_what_raises_interrupts_and_goes_on(
    given: dict[str, Any], message: str, cost: float
) -> None:
    async def main() -> MemoryLog:
        made = bench(both(), **given)
        with pytest.raises(ConfigError, match=message):
            await made.orchestrator.execute_async("go")
        assert made.ledger.spent_usd == paid_usd(made.log.records) == cost
        return made.log

    (record,) = virtual_time.run(main()).records
    assert record.interrupted
