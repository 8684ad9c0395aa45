"""The orchestrator against a server that fails in every way: nothing is lost, nothing hangs."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from orchestai_env.execution.budget import sum_usd
from orchestai_env.execution.chooser import RandomChooser
from orchestai_env.execution.execution_log import ExecutionLogger
from orchestai_env.execution.live_setup import live_means, live_workflows
from orchestai_env.execution.log_reading import read_log
from orchestai_env.execution.orchestrator import Orchestrator
from orchestai_env.execution.record import ExecutionRecord
from orchestai_env.execution.worker_settings import LivePool
from orchestai_env.execution_result import ExecutionResult
from orchestai_env.planning.annotated import AnnotatedPlanner
from orchestai_env.workflow import Subtask, Workflow
from tests.orchestai_env.execution.openai_server import OpenAIServer

FAULTS = {
    "rate_limit": 0.05,
    "server": 0.05,
    "timeout": 0.02,
    "malformed": 0.01,
    "dropped": 0.01,
    "trickle": 0.01,
}
PER_MTOK = 100_000.0  # dear, so that a cent counts


@dataclasses.dataclass
class Outcome:
    """What many executions left."""

    results: dict[str, ExecutionResult]
    logged: list[ExecutionRecord]
    spent_usd: float
    requests: int


def pool(base_url: str, concurrency: int) -> LivePool:
    """Returns two workers at the server."""
    common = {
        "model": "m",
        "base_url": base_url,
        "timeout_s": 3.0,
        "concurrency": concurrency,
        "input_usd_per_mtok": PER_MTOK / 10,
        "output_usd_per_mtok": PER_MTOK,
        "max_output_tokens": 8,
    }
    return LivePool.model_validate({"specs": ({"name": "a", **common}, {"name": "b", **common})})


def workflows(count: int, rng: np.random.Generator) -> list[Workflow]:
    """Returns random DAGs of 1 to 5 subtasks."""
    found = []
    for k in range(count):
        size = int(rng.integers(1, 6))
        links = [(i, j) for j in range(size) for i in range(j) if rng.random() < 0.4]
        subtasks = tuple(Subtask(name=f"step {i} of {k}", type="work") for i in range(size))
        found.append(
            Workflow(id=str(k), instruction=f"job {k}", subtasks=subtasks, links=tuple(links))
        )
    return found


def execute_all(
    jobs: Sequence[Workflow],
    folder: Path,
    *,
    faults: dict[str, float],
    budget_usd: float | None = None,
    concurrency: int = 32,
    num_parallel: int = 64,
) -> Outcome:
    """Executes workflows side by side against a server with faults."""

    async def main() -> Outcome:
        async with OpenAIServer(faults=faults, seed=1, slow_s=4.0) as server:  # type: ignore[arg-type]
            live = pool(server.base_url, concurrency)
            means, workers = live_means(live, budget_usd=budget_usd)
            with ExecutionLogger(folder, fsync="never") as log:
                known = live_workflows(live, jobs)
                orchestrator = Orchestrator(
                    known,
                    planner=AnnotatedPlanner(jobs, known.task_types),
                    chooser=RandomChooser(),
                    means=means,
                    log=log,
                )
                results, waiting = {}, iter(jobs)

                async def work() -> None:
                    for job in waiting:
                        record, result = await orchestrator.execute_async(
                            job.instruction, execution_id=job.id
                        )
                        results[record.execution_id] = result

                async with asyncio.TaskGroup() as group:
                    for _ in range(num_parallel):
                        group.create_task(work())
            for worker in workers.values():
                await worker.close()
            return Outcome(
                results, list(read_log(folder)), means.ledger.spent_usd, len(server.requests)
            )

    return asyncio.run(main())


def test_every_workflow_ends_and_is_logged_once_and_every_cent_is_counted(tmp_path: Path) -> None:
    jobs = workflows(120, np.random.default_rng(0))
    out = execute_all(jobs, tmp_path / "log", faults=FAULTS)

    assert sorted(out.results) == sorted(job.id for job in jobs)
    assert sorted(record.execution_id for record in out.logged) == sorted(out.results)
    calls = [decision.cost for record in out.logged for decision in record.decisions]
    assert out.spent_usd == pytest.approx(sum_usd(calls), abs=1e-9)
    assert out.spent_usd == pytest.approx(sum(record.cost for record in out.logged), abs=1e-6)
    tries = sum(decision.tries for record in out.logged for decision in record.decisions)
    assert tries >= out.requests  # one may fail before it is sent
    assert sum(result.success for result in out.results.values()) > 0.9 * len(jobs)


def test_budget_is_exceeded_by_no_more_than_what_was_in_flight(tmp_path: Path) -> None:
    jobs = workflows(60, np.random.default_rng(1))
    free = execute_all(jobs, tmp_path / "free", faults={})
    budget_usd = free.spent_usd / 3
    out = execute_all(jobs, tmp_path / "log", faults=FAULTS, budget_usd=budget_usd)

    assert out.spent_usd <= budget_usd  # the upper estimate of a try holds here
    assert sorted(out.results) == sorted(job.id for job in jobs)
    faults = {decision.fault for record in out.logged for decision in record.decisions}
    assert "budget" in faults
