"""SideCalls: who pays for a judge or a planner."""

from __future__ import annotations

import asyncio

import pytest

from orchestai_env.execution.calls.budget import Ledger
from orchestai_env.execution.calls.side_calls import SideCalls
from orchestai_env.execution.workers.worker import Answer, WorkerCallError
from tests.orchestai_env.execution import virtual_time
from tests.orchestai_env.execution.scripted_worker import REQUEST, ScriptedWorker, caller_of

CALL_USD = 0.05


def test_calls_are_charged_to_whoever_made_them() -> None:
    async def main() -> None:
        whole = Ledger()
        worker = caller_of(ScriptedWorker("mini"), ledger=whole).as_worker("mini")
        sides = [SideCalls(whole) for _ in range(3)]

        async def pay(side: SideCalls, calls: int) -> None:
            with side.paying():
                await asyncio.gather(*(worker.call(REQUEST) for _ in range(calls)))

        await asyncio.gather(*map(pay, sides, range(3)))
        await worker.call(REQUEST)
        assert [side.cost_usd for side in sides] == [0.0, CALL_USD, 2 * CALL_USD]
        assert whole.spent_usd == pytest.approx(4 * CALL_USD)

    virtual_time.run(main())


def test_calls_from_a_thread_are_charged_to_whoever_started_it() -> None:
    async def main() -> None:
        whole, loop = Ledger(), asyncio.get_running_loop()
        caller = caller_of(ScriptedWorker("mini", seconds=0.0), ledger=whole)
        worker, side = caller.as_worker("mini"), SideCalls(whole)

        def ask() -> Answer:
            return asyncio.run_coroutine_threadsafe(worker.call(REQUEST), loop).result()

        with side.paying():
            thread = asyncio.ensure_future(asyncio.to_thread(ask))
        await thread
        assert side.cost_usd == whole.spent_usd == CALL_USD

    asyncio.run(main())


@pytest.mark.parametrize(("budget_usd", "was_refused"), [(0.5, True), (None, False)])
def test_a_refusal_for_want_of_money_is_noted(budget_usd: float | None, was_refused: bool) -> None:
    async def main() -> bool:
        whole = Ledger(budget_usd)
        side = SideCalls(whole)
        worker = caller_of(ScriptedWorker("mini", ["refused"]), ledger=whole).as_worker("mini")
        with side.paying(), pytest.raises(WorkerCallError):
            await worker.call(REQUEST)
        return side.was_refused

    assert virtual_time.run(main()) == was_refused


def test_no_call_follows_once_they_are_stopped() -> None:
    async def main() -> None:
        worker = ScriptedWorker("mini")
        whole = Ledger()
        side, asked = SideCalls(whole), caller_of(worker, ledger=whole).as_worker("mini")
        with side.paying():
            running = asyncio.ensure_future(asked.call(REQUEST))
            await asyncio.sleep(0.5)
            await side.stop()
            assert running.cancelled()
            with pytest.raises(WorkerCallError, match="no call after the execution was cut short"):
                await asked.call(REQUEST)
        assert worker.tries == 1
        await asked.call(REQUEST)

    virtual_time.run(main())
