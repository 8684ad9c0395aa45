"""Workflows executed by the real orchestrator in virtual time, with notes of what its agent saw."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestai_env.dataset import Dataset
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.execution.calls.budget import Ledger
from orchestai_env.execution.calls.call_records import CallSettings, Prices
from orchestai_env.execution.calls.calls import Caller
from orchestai_env.execution.checks.check_settings import Checks
from orchestai_env.execution.checks.checks import Check, Verdict
from orchestai_env.execution.execution import Execution, Means
from orchestai_env.execution.log.record import ExecutionRecord
from orchestai_env.execution.orchestrator import Orchestrator, OrchestratorSettings
from orchestai_env.execution.workers.function_worker import FunctionWorker
from orchestai_env.execution.workers.worker import Answer, CallRequest, Usage
from orchestai_env.outcomes.live import live_dataset
from orchestai_env.planning.planner import Plan
from orchestai_env.reward import RewardWeights
from orchestai_env.rules import EpisodeRules
from orchestai_env.workers import WorkerPool
from orchestai_env.workflow import Subtask, Workflow
from tests.orchestai_env.execution import virtual_time

KEYS = ("subtasks", "adjacency", "workers", "context", "action_mask")
WEIGHTS = RewardWeights(success_weight=7.0, cost_weight=150.0, latency_weight=2.0e-4)
_TICK_S = 1e-5  # a clock moves on between two readings, by more than a rounded microsecond


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """What is executed."""

    workflow: Workflow
    rules: EpisodeRules
    concurrency: Sequence[int]
    """Of each worker."""
    has_fallbacks: bool
    seed: int
    """Of choices, latencies, faults and costs."""


@dataclasses.dataclass(kw_only=True)
class Executed:
    """One execution, and what its agent saw."""

    record: ExecutionRecord
    known: Dataset
    observations: list[dict[str, npt.NDArray[Any]]]
    rewards: list[float]


class _Planner:
    name = "fixed"

    def __init__(self, workflow: Workflow, task_types: tuple[str, ...]) -> None:
        self._workflow, self.task_types = workflow, task_types

    def plan(self, instructions: Sequence[str]) -> list[Plan]:
        return [
            Plan(
                workflow=dataclasses.replace(self._workflow, instruction=instruction),
                planner=self.name,
                confidence=1.0,
            )
            for instruction in instructions
        ]


class _RandomAgent:
    """Prefers some workers, anew at each decision."""

    name, observation_keys = "random", KEYS

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def probabilities(self, obs: Any) -> Any:
        return self._rng.dirichlet(np.full(len(obs["action_mask"]), 0.5))


def known_workers(concurrency: Sequence[int]) -> Dataset:
    """Returns a live data set of the first workers of the built-in pool."""
    data = builtin_dataset("validation", num_workflows=2)
    data = data.with_workers(data.pool.names[: len(concurrency)])
    specs = zip(data.pool.workers, concurrency, strict=True)
    pool = WorkerPool(tuple(s.model_copy(update={"concurrency": c}) for s, c in specs))
    data = dataclasses.replace(data, pool=pool)
    return live_dataset(data, np.asarray(data.outcomes.capable > 0))


def workflow_of(types: Sequence[str], links: Sequence[tuple[int, int]]) -> Workflow:
    """Returns a workflow of so many subtasks."""
    subtasks = tuple(Subtask(name=f"step {i}", type=kind) for i, kind in enumerate(types))
    return Workflow(id="w", instruction="", subtasks=subtasks, links=tuple(links))


def execute(cases: Sequence[Case], *, at_once: bool = False) -> list[Executed]:
    """Executes one workflow after the other, or all at once in one event loop."""

    async def main() -> list[Executed]:
        runs = [_execute(case, f"case-{k}") for k, case in enumerate(cases)]
        if at_once:
            return list(await asyncio.gather(*runs))
        return [await run for run in runs]

    return virtual_time.run(main())


async def _execute(case: Case, name: str) -> Executed:
    known, rng = known_workers(case.concurrency), random.Random(case.seed)
    clock, ledger = _ticking_clock(), Ledger()
    observations: list[dict[str, Any]] = []
    rewards: list[float] = []

    def watch(execution: Execution) -> None:
        out = execution.episodes.out
        observations.append({key: getattr(out, key)[0].copy() for key in KEYS})
        rewards.append(execution.episodes.reward.item(0))

    orchestrator = Orchestrator(
        known,
        planner=_Planner(case.workflow, known.task_types),
        chooser=_RandomAgent(case.seed),
        means=Means(
            caller=_caller(case, known, rng, ledger, clock),
            check=_slow_check(rng),
            ledger=ledger,
            clock=clock,
        ),
        settings=OrchestratorSettings(
            rules=case.rules, weights=WEIGHTS, seed=case.seed, exploration=0.2
        ),
    )
    record, _ = await orchestrator.execute_async("go", execution_id=name, watch=watch)
    return Executed(record=record, known=known, observations=observations, rewards=rewards[1:])


def _slow_check(rng: random.Random) -> Check:
    """Returns a check that lets the loop go round, so that ends are met one by one or together."""
    check = Checks()

    async def judge(request: CallRequest, text: str) -> Verdict:
        for _ in range(rng.randrange(6)):
            await asyncio.sleep(0)
        return await check(request, text)

    return judge


def _caller(
    case: Case, known: Dataset, rng: random.Random, ledger: Ledger, clock: Callable[[], float]
) -> Caller:
    names = known.pool.names

    async def answer(request: CallRequest) -> Answer:
        await asyncio.sleep(rng.choice([0.0, 0.1, 0.5, 0.5, 1.0, rng.uniform(0.0, 2.0)]))
        if rng.random() < 0.2:
            raise RuntimeError("scripted")
        text = "" if rng.random() < 0.2 else "an answer"
        return Answer(text=text, usage=Usage(input_tokens=10, output_tokens=rng.randrange(2000)))

    settings = {
        name: CallSettings(
            max_tries=rng.randint(1, 3),
            concurrency=rng.randint(1, 4),
            fallback=names[w + 1] if case.has_fallbacks and w + 1 < len(names) else None,
        )
        for w, name in enumerate(names)
    }
    return Caller(
        {name: FunctionWorker(name, answer) for name in names},
        settings,
        ledger,
        Prices(
            cost_usd=lambda name, usage: usage.output_tokens * 1e-6,
            upper_cost_usd=lambda name, request: 0.002,
        ),
        clock=clock,
        rng=rng,
    )


def _ticking_clock() -> Callable[[], float]:
    """Returns a clock of the loop's time that is never read twice at the same instant."""
    loop, readings = asyncio.get_running_loop(), 0

    def clock() -> float:
        nonlocal readings
        readings += 1
        return loop.time() + _TICK_S * readings

    return clock
