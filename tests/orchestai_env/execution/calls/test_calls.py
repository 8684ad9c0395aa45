from __future__ import annotations

import asyncio
import random

import pytest

from orchestai_env.errors import ConfigError, UnknownWorkerError
from orchestai_env.execution.calls.breaker import BreakerSettings
from orchestai_env.execution.calls.budget import Ledger
from orchestai_env.execution.calls.call_records import (
    CallOutcome,
    CallProgress,
    CallSettings,
    Prices,
)
from orchestai_env.execution.calls.calls import Caller
from orchestai_env.execution.workers.worker import (
    PASSING_FAULTS,
    Answer,
    CallRequest,
    Usage,
    Worker,
    WorkerCallError,
)
from orchestai_env.settings import parse_settings
from tests.orchestai_env.execution.scripted_worker import (
    REQUEST,
    USAGE,
    ScriptedWorker,
    caller_of,
)
from tests.orchestai_env.execution.virtual_time import run

FREE = Prices(cost_usd=lambda name, usage: 0.0, upper_cost_usd=lambda name, request: 0.0)
CHARGED = Usage(input_tokens=7, output_tokens=3, cached_tokens=2, is_estimated=True)


def call(*workers: ScriptedWorker, ledger: Ledger | None = None, **settings) -> CallOutcome:
    """Calls the first worker once, in virtual time."""

    async def main() -> CallOutcome:
        caller = caller_of(*workers, ledger=ledger, **settings)
        return await caller.call(workers[0].name, REQUEST)

    return run(main())


def test_call_that_succeeds_at_once_says_so():
    ledger = Ledger()
    outcome = call(ScriptedWorker("mini", seconds=2.0), ledger=ledger)
    assert outcome == CallOutcome(
        called="mini",
        answer=Answer(text="answer of mini", usage=USAGE),
        fault=None,
        message="",
        cost_usd=0.05,
        usage=USAGE,
        tries=1,
        started_s=0.0,
        ended_s=2.0,
        running=0,
    )
    assert (ledger.spent_usd, ledger.reserved_usd) == (0.05, 0.0)


@pytest.mark.parametrize("fault", sorted(PASSING_FAULTS))
def test_call_tries_again_after_a_passing_fault(fault):
    outcome = call(ScriptedWorker("mini", [fault]))
    assert (outcome.tries, outcome.fault) == (2, None)
    assert outcome.answer is not None
    assert "mini: " in outcome.message


def test_call_ends_with_its_last_fault_when_its_tries_are_used_up():
    worker = ScriptedWorker("mini", ["rate_limit", "server", "malformed"])
    outcome = call(worker, mini=CallSettings(max_tries=3))
    assert outcome.answer is None
    assert (outcome.fault, outcome.tries, worker.tries) == ("malformed", 3, 3)
    assert outcome.message == (
        "mini: scripted rate_limit; then mini: scripted server; then mini: scripted malformed"
    )


def test_call_does_not_repeat_what_the_worker_refused():
    outcome = call(ScriptedWorker("mini", ["refused"]))
    assert (outcome.fault, outcome.tries) == ("refused", 1)


def test_call_gives_a_try_up_after_its_timeout():
    settings = CallSettings(timeout_s=5.0, max_tries=1)
    outcome = call(ScriptedWorker("mini", ["timeout"]), mini=settings)
    assert (outcome.fault, outcome.ended_s) == ("timeout", 5.0)
    assert outcome.message == "mini: no answer within 5 s"


def test_call_charges_failed_tries_whose_tokens_are_known():
    ledger = Ledger()
    failure = WorkerCallError("mini: cut off", fault="malformed", usage=CHARGED)
    outcome = call(ScriptedWorker("mini", [failure, "server"]), ledger=ledger)
    assert outcome.tries == 3
    assert outcome.usage == Usage(
        input_tokens=107, output_tokens=53, cached_tokens=2, is_estimated=True
    )
    assert outcome.cost_usd == ledger.spent_usd == 0.053


def test_waits_are_drawn_below_a_doubling_ceiling_and_a_cap():
    """Full jitter: uniform from 0 to min(cap, base * 2^(tries - 1)), here 1, 2, 4, 5, 5 s."""
    settings = CallSettings(max_tries=6, backoff_base_s=1.0, backoff_cap_s=5.0)
    ceilings = [1.0, 2.0, 4.0, 5.0, 5.0]

    async def main(seed: int) -> float:
        caller = Caller(
            {"mini": ScriptedWorker("mini", ["server"] * 5, seconds=0.0)},
            {"mini": settings},
            Ledger(),
            FREE,
            clock=asyncio.get_running_loop().time,
            rng=random.Random(seed),
        )
        return (await caller.call("mini", REQUEST)).ended_s

    for seed in range(20):
        rng = random.Random(seed)
        expected = sum(rng.uniform(0.0, ceiling) for ceiling in ceilings)
        assert run(main(seed)) == pytest.approx(expected)


@pytest.mark.parametrize("asked_s", [3.0, 50.0])
def test_call_waits_as_long_as_the_worker_asks(asked_s):
    """50 s are more than the cap of the back-off; the jitter of at most 1 s comes on top."""
    busy = WorkerCallError("mini: busy", fault="rate_limit", retry_after_s=asked_s)
    settings = CallSettings(backoff_base_s=1.0, backoff_cap_s=10.0, retry_after_limit_s=50.0)
    outcome = call(ScriptedWorker("mini", [busy]), mini=settings)
    assert outcome.answer is not None
    assert 2.0 + asked_s <= outcome.ended_s <= 3.0 + asked_s


def test_call_gives_up_a_worker_that_asks_for_more_than_the_limit():
    busy = WorkerCallError("mini: busy", fault="rate_limit", retry_after_s=51.0)
    settings = CallSettings(retry_after_limit_s=50.0)
    outcome = call(ScriptedWorker("mini", [busy]), mini=settings)
    assert (outcome.fault, outcome.tries, outcome.ended_s) == ("rate_limit", 1, 1.0)


@pytest.mark.parametrize(
    ("steps", "tries"), [(["refused"], 2), (["server", "server"], 3), (["server", "refused"], 3)]
)
def test_fallback_answers_where_the_worker_gives_none(steps, tries):
    settings = CallSettings(max_tries=2, fallback="large")
    outcome = call(ScriptedWorker("mini", steps), ScriptedWorker("large"), mini=settings)
    assert (outcome.called, outcome.fault, outcome.tries) == ("large", None, tries)
    assert outcome.started_s == 0.0
    assert f"mini: scripted {steps[-1]}" in outcome.message


def test_fallback_of_a_fallback_is_called_too():
    outcome = call(
        ScriptedWorker("mini", ["refused"]),
        ScriptedWorker("middle", ["refused"]),
        ScriptedWorker("large"),
        mini=CallSettings(fallback="middle"),
        middle=CallSettings(fallback="large"),
    )
    assert (outcome.called, outcome.tries) == ("large", 3)


def test_call_that_fails_everywhere_names_the_worker_tried_last():
    outcome = call(
        ScriptedWorker("mini", ["server"]),
        ScriptedWorker("large", ["refused"]),
        mini=CallSettings(max_tries=1, fallback="large"),
    )
    assert (outcome.called, outcome.fault, outcome.tries) == ("large", "refused", 2)
    assert outcome.message == "mini: scripted server; then large: scripted refused"


def test_open_breaker_sends_calls_to_the_fallback_until_a_probe_succeeds():
    settings = CallSettings(
        max_tries=1, fallback="large", breaker=BreakerSettings(faults=2, recovery_s=100.0)
    )
    mini = ScriptedWorker("mini", ["server", "server"])

    async def main() -> list[tuple[str, int]]:
        caller = caller_of(mini, ScriptedWorker("large"), mini=settings)
        outcomes = [await caller.call("mini", REQUEST) for _ in range(3)]
        await asyncio.sleep(100.0)
        outcomes.append(await caller.call("mini", REQUEST))
        return [(outcome.called, outcome.tries) for outcome in outcomes]

    assert run(main()) == [("large", 2), ("large", 2), ("large", 1), ("mini", 1)]


def test_call_of_a_worker_left_alone_without_fallback_is_not_tried():
    settings = CallSettings(max_tries=1, breaker=BreakerSettings(faults=1))

    async def main() -> CallOutcome:
        caller = caller_of(ScriptedWorker("mini", ["server"]), mini=settings)
        await caller.call("mini", REQUEST)
        return await caller.call("mini", REQUEST)

    outcome = run(main())
    assert (outcome.fault, outcome.tries, outcome.started_s) == ("circuit_open", 0, None)
    assert (outcome.called, outcome.ended_s) == ("mini", 1.0)


def test_call_whose_fault_opens_the_breaker_does_not_wait_for_another_try():
    settings = CallSettings(backoff_base_s=10.0, breaker=BreakerSettings(faults=1))
    outcome = call(ScriptedWorker("mini", ["server"]), mini=settings)
    assert (outcome.fault, outcome.tries, outcome.ended_s) == ("server", 1, 1.0)


def test_progress_tells_what_a_call_has_done_so_far():
    failure = WorkerCallError("mini: cut off", fault="malformed", usage=CHARGED)
    progress = CallProgress()

    async def main() -> None:
        worker = ScriptedWorker("mini", [failure, "timeout"], seconds=1.0)
        caller = caller_of(worker, mini=CallSettings(timeout_s=1e9))
        task = asyncio.create_task(caller.call("mini", REQUEST, progress=progress))
        await asyncio.sleep(10.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert (progress.called, progress.tries, progress.started_s) == ("mini", 2, 0.0)
    assert (progress.usage, progress.cost_usd) == (CHARGED, 0.003)


def test_an_exception_that_is_no_fault_passes_and_leaves_nothing_behind():
    class BrokenWorker(ScriptedWorker):
        async def call(self, request: CallRequest) -> Answer:
            raise ZeroDivisionError

    ledger = Ledger()

    async def main() -> None:
        caller = caller_of(BrokenWorker("mini"), ledger=ledger)
        with pytest.raises(ZeroDivisionError):
            await caller.call("mini", REQUEST)
        assert caller.running("mini") == 0

    run(main())
    assert ledger.reserved_usd == 0.0


def test_worker_behind_a_caller_answers_through_it():
    ledger = Ledger()

    async def main() -> Answer:
        worker = caller_of(ScriptedWorker("mini", ["server"]), ledger=ledger).as_worker("mini")
        assert isinstance(worker, Worker)
        return await worker.call(REQUEST)

    assert run(main()).text == "answer of mini"
    assert ledger.spent_usd == 0.05


@pytest.mark.parametrize(("budget", "fault"), [(0.0, "refused"), (None, "server")])
def test_worker_behind_a_caller_says_why_it_does_not_answer(budget, fault):
    async def main() -> None:
        caller = caller_of(ScriptedWorker("mini", ["server"] * 4), ledger=Ledger(budget))
        with pytest.raises(WorkerCallError, match="mini: ") as caught:
            await caller.as_worker("mini").call(REQUEST)
        assert caught.value.fault == fault

    run(main())


def test_unknown_worker_is_refused():
    async def main() -> None:
        caller = caller_of(ScriptedWorker("mini"))
        with pytest.raises(
            UnknownWorkerError, match=r"unknown worker 'mino'\. Did you mean 'mini'"
        ):
            await caller.call("mino", REQUEST)
        with pytest.raises(UnknownWorkerError, match="unknown worker 'mino'"):
            caller.as_worker("mino")

    run(main())


@pytest.mark.parametrize(
    ("fallbacks", "message"),
    [
        ({"a": "a"}, "got a cycle: a -> a"),
        ({"a": "b", "b": "c", "c": "b"}, "got a cycle: a -> b -> c -> b"),
        ({"a": "d"}, "worker 'a', fallback: unknown worker 'd'"),
    ],
)
def test_fallbacks_that_lead_nowhere_are_refused(fallbacks, message):
    settings = {name: CallSettings(fallback=fallbacks.get(name)) for name in "abc"}
    with pytest.raises(ConfigError, match=message):
        Caller({name: ScriptedWorker(name) for name in "abc"}, settings, Ledger(), FREE)


def test_worker_without_settings_is_refused():
    with pytest.raises(ConfigError, match="apart are: large, mini"):
        Caller({"mini": ScriptedWorker("mini")}, {"large": CallSettings()}, Ledger(), FREE)


def test_call_settings_name_a_wrong_key():
    with pytest.raises(
        ConfigError, match=r"here: max_trys: unknown key .* Did you mean 'max_tries'"
    ):
        parse_settings({"max_trys": 3}, CallSettings, where="here")
