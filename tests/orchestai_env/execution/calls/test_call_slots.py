from __future__ import annotations

import asyncio
import dataclasses
import random

import pytest

from orchestai_env.execution.calls.breaker import BreakerSettings
from orchestai_env.execution.calls.budget import Ledger
from orchestai_env.execution.calls.call_records import CallOutcome, CallSettings
from orchestai_env.execution.calls.calls import Caller
from tests.orchestai_env.execution.scripted_worker import REQUEST, ScriptedWorker, caller_of
from tests.orchestai_env.execution.virtual_time import run


def start(caller: Caller, index: int) -> asyncio.Task[CallOutcome]:
    return asyncio.create_task(caller.call("mini", dataclasses.replace(REQUEST, index=index)))


def test_calls_get_slots_in_the_order_in_which_they_came():
    worker = ScriptedWorker("mini", seconds=2.0)

    async def main() -> list[CallOutcome]:
        caller = caller_of(worker, mini=CallSettings(concurrency=2))
        return await asyncio.gather(*(start(caller, i) for i in range(6)))

    outcomes = run(main())
    assert worker.served == list(range(6))
    assert worker.most_running == 2
    assert [outcome.started_s for outcome in outcomes] == [0.0, 0.0, 2.0, 2.0, 4.0, 4.0]
    assert [outcome.running for outcome in outcomes] == [0, 1, 0, 1, 0, 1]


def test_call_keeps_its_slot_between_its_tries():
    worker = ScriptedWorker("mini", ["server", "server"])

    async def main() -> None:
        caller = caller_of(worker, mini=CallSettings(concurrency=1))
        await asyncio.gather(*(start(caller, i) for i in range(2)))

    run(main())
    assert worker.served == [0, 0, 0, 1]


def test_waiting_calls_go_to_the_fallback_once_the_breaker_opens():
    settings = CallSettings(
        concurrency=1, fallback="large", breaker=BreakerSettings(faults=2, recovery_s=1e6)
    )
    mini, large = ScriptedWorker("mini", ["server"] * 9), ScriptedWorker("large")

    async def main() -> list[CallOutcome]:
        caller = caller_of(mini, large, mini=settings)
        return await asyncio.gather(*(start(caller, i) for i in range(5)))

    assert [outcome.called for outcome in run(main())] == ["large"] * 5
    assert mini.tries == 2


def test_waiter_that_is_cancelled_loses_nobodys_turn():
    worker = ScriptedWorker("mini")
    ledger = Ledger()

    async def main() -> None:
        caller = caller_of(worker, ledger=ledger, mini=CallSettings(concurrency=1))
        tasks = [start(caller, i) for i in range(4)]
        await asyncio.sleep(0.5)
        tasks[1].cancel()
        tasks[2].cancel()
        await asyncio.wait(tasks)
        assert caller.running("mini") == 0

    run(main())
    assert worker.served == [0, 3]
    assert (ledger.spent_usd, ledger.reserved_usd) == (0.1, 0.0)


@pytest.mark.parametrize("after_s", [0.5, 1.0, 1.2])
def test_call_that_is_cancelled_gives_back_slot_and_reservation(after_s):
    """It is cancelled in its first try, as that ends, and between its tries."""
    worker, ledger = ScriptedWorker("mini", ["server", "server"]), Ledger(1.5)

    async def main() -> None:
        settings = CallSettings(concurrency=1, backoff_base_s=1e3, backoff_cap_s=1e3)
        caller = caller_of(worker, ledger=ledger, mini=settings)
        task = start(caller, 0)
        await asyncio.sleep(after_s)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert caller.running("mini") == 0
        assert (ledger.spent_usd, ledger.reserved_usd) == (0.0, 0.0)
        assert (await caller.call("mini", REQUEST)).answer is not None

    run(main())


def test_probe_that_is_cancelled_makes_room_for_the_next():
    settings = CallSettings(
        max_tries=1, timeout_s=1e9, breaker=BreakerSettings(faults=1, recovery_s=10.0)
    )

    async def main() -> None:
        caller = caller_of(ScriptedWorker("mini", ["server", "timeout"]), mini=settings)
        await caller.call("mini", REQUEST)
        await asyncio.sleep(10.0)
        probe = start(caller, 1)
        await asyncio.sleep(1.0)
        assert (await caller.call("mini", REQUEST)).fault == "circuit_open"
        probe.cancel()
        await asyncio.wait([probe])
        assert (await caller.call("mini", REQUEST)).answer is not None

    run(main())


@pytest.mark.parametrize("seed", range(10))
def test_no_slot_is_lost_however_calls_are_cancelled(seed):
    rng = random.Random(seed)
    worker, ledger = ScriptedWorker("mini"), Ledger()

    async def main() -> None:
        caller = caller_of(worker, ledger=ledger, mini=CallSettings(concurrency=3))
        tasks = [start(caller, i) for i in range(60)]
        for _ in range(40):
            await asyncio.sleep(rng.choice([0.0, 0.25, 0.5]))
            rng.choice(tasks).cancel()
        await asyncio.wait(tasks)
        assert caller.running("mini") == 0
        before = asyncio.get_running_loop().time()
        await asyncio.gather(*(start(caller, i) for i in range(3)))
        assert asyncio.get_running_loop().time() == before + 1.0  # all three at once

    run(main())
    assert worker.most_running == 3
    assert ledger.reserved_usd == 0.0


def test_caller_serves_one_event_loop_after_another():
    workers = [ScriptedWorker("mini", seconds=0.0)]

    async def make() -> Caller:
        return caller_of(*workers, mini=CallSettings(concurrency=1))

    async def use(caller: Caller) -> int:
        outcomes = await asyncio.gather(*(start(caller, i) for i in range(3)))
        return sum(outcome.answer is not None for outcome in outcomes)

    caller = run(make())
    assert [run(use(caller)) for _ in range(2)] == [3, 3]
