"""Calls under a budget: what is sent, what waits, and whose ledger pays or refuses."""

from __future__ import annotations

import asyncio

from orchestai_env.execution.calls.budget import Ledger
from orchestai_env.execution.calls.call_records import CallOutcome, CallSettings, Prices
from orchestai_env.execution.calls.calls import Caller
from orchestai_env.execution.workers.worker import WorkerCallError
from tests.orchestai_env.execution.scripted_worker import REQUEST, USAGE, ScriptedWorker, caller_of
from tests.orchestai_env.execution.virtual_time import run


def test_call_that_the_budget_does_not_allow_is_not_sent():
    worker, ledger = ScriptedWorker("mini"), Ledger(0.9)

    async def main() -> CallOutcome:
        return await caller_of(worker, ledger=ledger).call("mini", REQUEST)

    outcome = run(main())  # a call may cost 1 USD
    assert (outcome.fault, outcome.tries, worker.tries) == ("budget", 0, 0)
    assert outcome.message == "mini: the budget does not allow a call of up to 1 USD"
    assert (ledger.spent_usd, ledger.reserved_usd) == (0.0, 0.0)


def test_budget_is_checked_before_every_try_and_at_the_worker_really_called():
    """A try that failed has used the money up; the cheaper fallback still fits."""
    failure = WorkerCallError("mini: cut off", fault="malformed", usage=USAGE)
    mini, free = ScriptedWorker("mini", [failure]), ScriptedWorker("free")
    ledger = Ledger(1.0)
    uppers = {"mini": 1.0, "free": 0.1}

    async def main() -> CallOutcome:
        caller = Caller(
            {"mini": mini, "free": free},
            {"mini": CallSettings(fallback="free"), "free": CallSettings()},
            ledger,
            Prices(
                cost_usd=lambda name, usage: uppers[name] / 2,
                upper_cost_usd=lambda name, request: uppers[name],
            ),
            clock=asyncio.get_running_loop().time,
        )
        return await caller.call("mini", REQUEST)

    outcome = run(main())
    assert (mini.tries, free.tries, outcome.called) == (1, 1, "free")
    assert outcome.cost_usd == ledger.spent_usd == 0.55
    assert ledger.spent_by_worker() == {"mini": 0.5, "free": 0.05}


def test_call_waits_while_others_hold_the_money_and_none_is_refused_for_it():
    """Each may cost 1 USD and costs 0.05; the budget pays for twenty, but holds two at once."""
    ledger = Ledger(2.0)

    async def main() -> list[CallOutcome]:
        caller = caller_of(ScriptedWorker("mini"), ledger=ledger)
        return await asyncio.gather(*(caller.call("mini", REQUEST) for _ in range(30)))

    outcomes = run(main())
    paid = [outcome for outcome in outcomes if outcome.answer]
    assert len(paid) == 21  # after which less than 1 USD is left
    assert {outcome.fault for outcome in outcomes if not outcome.answer} == {"budget"}
    assert ledger.spent_usd == 1.05


def test_waiting_call_that_is_cancelled_leaves_its_turn_to_the_next():
    ledger = Ledger(1.2)

    async def main() -> list[CallOutcome | BaseException]:
        caller = caller_of(ScriptedWorker("mini"), ledger=ledger)
        tasks = [asyncio.ensure_future(caller.call("mini", REQUEST)) for _ in range(3)]
        await asyncio.sleep(0.5)
        tasks[1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, second, third = run(main())
    assert isinstance(second, asyncio.CancelledError)
    assert isinstance(first, CallOutcome)
    assert isinstance(third, CallOutcome)
    assert (first.ended_s, third.fault, third.ended_s) == (1.0, None, 2.0)
    assert ledger.reserved_usd == 0.0


def test_outcome_says_whose_budget_forbade_a_try():
    whole = Ledger(1.2)
    part, own = Ledger(5.0, parent=whole), Ledger(0.1, parent=whole)

    async def main() -> list[CallOutcome]:
        caller = caller_of(
            ScriptedWorker("mini"),
            ScriptedWorker("free", ["refused"]),
            ledger=whole,
            cost_usd=lambda name, usage: 0.5 if name == "mini" else 0.0,
            mini=CallSettings(fallback="free"),
        )
        ledgers = (own, part, part)
        return [await caller.call("mini", REQUEST, ledger=ledger) for ledger in ledgers]

    assert [outcome.refused_by for outcome in run(main())] == [own, None, whole]


def test_call_with_a_ledger_of_its_own_is_charged_to_both():
    whole = Ledger(10.0)
    part = Ledger(0.5, parent=whole)

    async def main() -> list[str | None]:
        caller = caller_of(ScriptedWorker("mini"), ledger=whole, upper_usd=0.48)
        outcomes = [await caller.call("mini", REQUEST, ledger=part) for _ in range(2)]
        outcomes.append(await caller.call("mini", REQUEST))
        return [outcome.fault for outcome in outcomes]

    assert run(main()) == [None, "budget", None]
    assert (part.spent_usd, whole.spent_usd) == (0.05, 0.1)
