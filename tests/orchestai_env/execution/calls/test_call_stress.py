from __future__ import annotations

import asyncio
import random

from orchestai_env.execution.calls.budget import Ledger, sum_usd
from orchestai_env.execution.calls.call_records import CallOutcome, CallSettings
from orchestai_env.execution.workers.worker import Answer, Fault, Usage, WorkerCallError
from tests.orchestai_env.execution.scripted_worker import (
    REQUEST,
    ScriptedWorker,
    Step,
    caller_of,
)
from tests.orchestai_env.execution.virtual_time import run

FAULTS: dict[Fault, float] = {
    "rate_limit": 0.05,
    "server": 0.05,
    "timeout": 0.02,
    "malformed": 0.01,
    "connection": 0.01,
}


class FaultyWorker(ScriptedWorker):
    """Mixes faults into its answers; answers malformed are charged, and some ask to wait."""

    def __init__(self, name: str, rng: random.Random) -> None:
        super().__init__(name)
        self.rng = rng

    async def _step(self, step: Step | None) -> Answer:
        self.seconds = self.rng.uniform(0.1, 2.0)
        usage = Usage(
            input_tokens=self.rng.randrange(1, 5000), output_tokens=self.rng.randrange(1, 1000)
        )
        kinds: list[Fault | None] = [None, *FAULTS]
        weights = [1.0 - sum(FAULTS.values()), *FAULTS.values()]
        fault = self.rng.choices(kinds, weights)[0]
        if fault is None:
            return await super()._step(Answer(text="fine", usage=usage))
        if fault == "timeout":
            return await super()._step(fault)
        error = WorkerCallError(
            f"{self.name}: {fault}",
            fault=fault,
            usage=usage if fault == "malformed" else None,
            retry_after_s=self.rng.choice([None, 1.0]) if fault == "rate_limit" else None,
        )
        return await super()._step(error)


def cost_usd(name: str, usage: Usage) -> float:
    """Prices whose sums are no round floats."""
    return usage.input_tokens * 0.15e-6 + usage.output_tokens * 0.6e-6


def stress(budget_usd: float | None) -> tuple[list[CallOutcome], Ledger, list[FaultyWorker]]:
    """Makes 2,000 calls of three workers, 64 at once."""
    rng = random.Random(6)
    workers = [FaultyWorker(name, rng) for name in ("mini", "middle", "large")]
    ledger = Ledger(budget_usd)
    settings = {
        "mini": CallSettings(concurrency=8, timeout_s=10.0, fallback="large"),
        "middle": CallSettings(concurrency=16, timeout_s=10.0, max_tries=1),
        "large": CallSettings(concurrency=12, timeout_s=10.0),
    }
    outcomes: list[CallOutcome] = []

    async def main() -> None:
        caller = caller_of(
            *workers,
            ledger=ledger,
            cost_usd=cost_usd,
            upper_usd=cost_usd("", Usage(input_tokens=5000, output_tokens=1000)),
            **settings,
        )
        left = iter(range(2000))

        async def work() -> None:
            for _ in left:
                outcomes.append(await caller.call(rng.choice(workers).name, REQUEST))
                assert budget_usd is None or ledger.spent_usd + ledger.reserved_usd <= budget_usd

        await asyncio.gather(*(work() for _ in range(64)))
        assert [caller.running(worker.name) for worker in workers] == [0, 0, 0]

    run(main())
    limits = [settings[worker.name].concurrency for worker in workers]
    assert [worker.most_running for worker in workers] == limits
    return outcomes, ledger, workers


def test_every_call_ends_in_an_outcome_and_the_ledger_is_their_sum():
    outcomes, ledger, workers = stress(None)
    assert len(outcomes) == 2000
    answered = sum(outcome.answer is not None for outcome in outcomes)
    assert all((outcome.answer is None) == (outcome.fault is not None) for outcome in outcomes)
    assert 0.9 < answered / 2000 < 1.0  # a third has one try only, and 14 % of the tries fail
    assert sum(outcome.tries for outcome in outcomes) == sum(worker.tries for worker in workers)
    assert ledger.spent_usd == sum_usd(outcome.cost_usd for outcome in outcomes)
    assert ledger.reserved_usd == 0.0


def test_budget_holds_among_many_calls_at_once():
    outcomes, ledger, _ = stress(0.5)
    assert ledger.spent_usd == sum_usd(outcome.cost_usd for outcome in outcomes)
    assert 0.45 < ledger.spent_usd <= 0.5  # 36 calls reserved up to 0.05 when it ran out
    assert sum(outcome.fault == "budget" for outcome in outcomes) > 500
    assert ledger.reserved_usd == 0.0
