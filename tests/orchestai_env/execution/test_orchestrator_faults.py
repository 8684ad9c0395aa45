"""The orchestrator against a server that fails in every way: nothing is lost, nothing hangs."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestai_env.errors import PlanningError
from orchestai_env.execution.calls.budget import sum_usd
from orchestai_env.execution.chooser import RandomChooser
from orchestai_env.execution.execution import Means
from orchestai_env.execution.live_setup import live_means, live_workflows
from orchestai_env.execution.log.execution_log import ExecutionLogger
from orchestai_env.execution.log.log_reading import read_log
from orchestai_env.execution.log.record import ExecutionRecord
from orchestai_env.execution.orchestrator import Orchestrator
from orchestai_env.execution.worker_planner import WorkerPlanner
from orchestai_env.execution.workers.worker_settings import LivePool
from orchestai_env.planning.annotated import AnnotatedPlanner
from orchestai_env.planning.planner import Planner
from orchestai_env.workflow import Subtask, Workflow
from tests.orchestai_env.execution.log_records import done_ids
from tests.orchestai_env.execution.openai_server import Kind, OpenAIServer, SeenRequest

AT_ONCE_FAULTS: Mapping[Kind, float] = {
    "rate_limit": 0.05,
    "server": 0.05,
    "malformed": 0.01,
    "dropped": 0.01,
}
"""What tests take: what comes of them does not depend on how busy the machine is."""
SLOW_FAULTS: Mapping[Kind, float] = {"timeout": 0.02, "trickle": 0.01}
FAULTS: Mapping[Kind, float] = {**AT_ONCE_FAULTS, **SLOW_FAULTS}
NO_FAULTS: Mapping[Kind, float] = {}
PER_MTOK = 100_000.0  # dear, so that a cent counts


@dataclasses.dataclass
class Outcome:
    """What many executions left."""

    results: dict[str, ExecutionRecord]
    """As they were returned, by id."""
    unplanned: set[str]
    """Executions that raised PlanningError."""
    cancelled: set[str]
    """Executions whose task was cancelled before it ended."""
    logged: list[ExecutionRecord]
    spent_usd: float
    requests: int


def pool(base_url: str, timeout_s: float) -> LivePool:
    """Returns two workers at the server, and two more that only judge and plan."""
    common = {
        "model": "m",
        "base_url": base_url,
        "timeout_s": timeout_s,
        "concurrency": 32,
        "input_usd_per_mtok": PER_MTOK / 10,
        "output_usd_per_mtok": PER_MTOK,
        "max_output_tokens": 64,
    }
    specs: list[dict[str, object]] = [{"name": name, **common} for name in ("a", "b")]
    specs[0]["fallback"] = "b"
    specs += [{"name": n, "capabilities": [n], **common} for n in ("judge", "planner")]
    return LivePool.model_validate({"specs": tuple(specs)})


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


def answer(request: SeenRequest) -> str:
    """Answers as a judge that likes most, a planner that is seldom lost, or a worker."""
    rng = np.random.default_rng(request.number)
    if "Rate how well" in request.text:
        return str(rng.choice(["0.9", "0.8", "0.1", "rather good"], p=[0.5, 0.3, 0.1, 0.1]))
    if "Split an instruction" in request.text:
        if rng.random() < 0.2:
            return "no plan"
        subtasks = [{"name": f"step {i}", "type": "work"} for i in range(int(rng.integers(1, 5)))]
        return json.dumps({"subtasks": subtasks})
    return "the answer"


def orchestrator_of(
    live: LivePool, means: Means, jobs: Sequence[Workflow], log: ExecutionLogger, by_workers: bool
) -> Orchestrator:
    """Returns one that looks plans up, or has a worker plan."""
    known = live_workflows(live, jobs, max_subtasks=20)
    planner: Planner = AnnotatedPlanner(jobs, known.task_types)
    if by_workers:
        planner = WorkerPlanner(means.caller.as_worker("planner"), known.task_types)
    return Orchestrator(known, planner=planner, chooser=RandomChooser(), means=means, log=log)


async def cancel_after(
    running: asyncio.Future[Any], server: OpenAIServer, num_requests: int
) -> None:
    """Cancels an execution once the server has seen so many more requests, of whomever."""
    until = len(server.requests) + num_requests
    while not running.done() and len(server.requests) < until:
        await asyncio.sleep(0.001)
    running.cancel()


def execute_all(
    jobs: Sequence[Workflow],
    folder: Path,
    *,
    faults: Mapping[Kind, float] = AT_ONCE_FAULTS,
    timeout_s: float = 60.0,
    num_parallel: int = 64,
    budget_usd: float | None = None,
    by_workers: bool = False,
    cancel_every: int | None = None,
) -> Outcome:
    """Executes workflows, many at once.

    Args:
        jobs: their instructions are executed.
        folder: of the log.
        faults: of the server; one that keeps silent or trickles does so for longer than timeout_s.
        timeout_s: of a call [s].
        num_parallel: executions at once.
        budget_usd: of all.
        by_workers: whether workers plan the workflows, and judge the outputs.
        cancel_every: each execution of so many is cancelled at some moment.
    """
    checks = {"default": {"kind": "judge", "worker": "judge"}} if by_workers else None
    results: dict[str, ExecutionRecord] = {}
    unplanned, cancelled = set(), set()

    async def execute(
        orchestrator: Orchestrator, server: OpenAIServer, number: int, job: Workflow
    ) -> None:
        running = asyncio.ensure_future(
            orchestrator.execute_async(job.instruction, execution_id=job.id)
        )
        if cancel_every is not None and number % cancel_every == 0:
            await cancel_after(running, server, 8 * (number % 50))
        try:
            results[job.id], _ = await running
        except PlanningError:
            unplanned.add(job.id)
        except asyncio.CancelledError:
            cancelled.add(job.id)

    async def main() -> Outcome:
        slow_s = timeout_s + 0.5
        async with OpenAIServer(faults=faults, seed=1, slow_s=slow_s, answer=answer) as server:
            live = pool(server.base_url, timeout_s)
            means, workers = live_means(live, checks=checks, budget_usd=budget_usd)
            with ExecutionLogger(folder, fsync="never") as log:
                orchestrator = orchestrator_of(live, means, jobs, log, by_workers)
                waiting: Iterator[tuple[int, Workflow]] = iter(enumerate(jobs))

                async def work() -> None:
                    for number, job in waiting:
                        await execute(orchestrator, server, number, job)

                async with asyncio.TaskGroup() as group:
                    for _ in range(num_parallel):
                        group.create_task(work())
            for worker in workers.values():
                await worker.close()
            assert means.ledger.reserved_usd == 0.0
            return Outcome(
                results,
                unplanned,
                cancelled,
                list(read_log(folder)),
                means.ledger.spent_usd,
                len(server.requests),
            )

    return asyncio.run(main())


def logged_usd(out: Outcome) -> float:
    """Returns the sum of all that the log says was paid, without error [USD]."""
    calls = [call for record in out.logged for call in record.decisions]
    beside = [call.check_cost for call in calls] + [one.planning_cost for one in out.logged]
    return sum_usd([*(call.cost for call in calls), *beside])


def assert_nothing_is_lost(jobs: Sequence[Workflow], out: Outcome) -> None:
    """Checks what holds whatever happened."""
    logged = {record.execution_id: record for record in out.logged}
    assert len(logged) == len(out.logged)  # each at most once
    assert logged.keys() <= {job.id for job in jobs}
    ends = [out.results.keys(), out.unplanned, out.cancelled]
    assert sorted(itertools.chain(*ends)) == sorted(job.id for job in jobs)
    for name, record in out.results.items():
        one = logged.get(name)
        assert one == record or (one is None and record.interrupted and record.planning_cost == 0.0)
    assert out.unplanned <= logged.keys()
    for name in out.cancelled & logged.keys():  # it may have ended while it was cancelled
        ended = logged[name]
        assert ended.interrupted or ended.decisions or not ended.planner_outputs.task_types
    assert out.spent_usd == logged_usd(out)
    for record in out.logged:
        assert record.cost == pytest.approx(sum(call.cost for call in record.decisions), abs=1e-9)
        parts = (subtask.cost for subtask in record.execution_result.subtasks)
        assert record.cost == pytest.approx(sum(parts), abs=1e-9)
        assert not (record.interrupted and record.success)


@pytest.mark.parametrize("by_workers", [False, True])
def test_every_workflow_ends_and_is_logged_once_and_every_cent_is_counted(
    tmp_path: Path, by_workers: bool
) -> None:
    jobs = workflows(120, np.random.default_rng(0))
    out = execute_all(jobs, tmp_path, by_workers=by_workers)

    assert_nothing_is_lost(jobs, out)
    assert not out.cancelled
    assert len(out.logged) == len(jobs)
    assert not any(record.interrupted for record in out.logged)
    calls = [call for record in out.logged for call in record.decisions]
    successes = sum(record.success for record in out.results.values())
    assert successes > (0.6 if by_workers else 0.9) * len(jobs)
    assert (sum(call.check_cost for call in calls) > 0.0) == by_workers
    assert (sum(record.planning_cost for record in out.logged) > 0.0) == by_workers
    if not by_workers:
        assert sum(call.tries for call in calls) >= out.requests  # one may fail before it is sent


def test_silent_and_trickling_servers_are_given_up(tmp_path: Path) -> None:
    jobs = workflows(120, np.random.default_rng(3))
    out = execute_all(jobs, tmp_path, faults=SLOW_FAULTS, timeout_s=3.0, num_parallel=16)

    assert_nothing_is_lost(jobs, out)  # successes would depend on how busy the machine is
    assert len(out.logged) == len(jobs)
    assert any(call.tries > 1 for record in out.logged for call in record.decisions)  # given up


@pytest.mark.parametrize("by_workers", [False, True])
def test_budget_is_never_exceeded_and_what_it_stops_is_interrupted(
    tmp_path: Path, by_workers: bool
) -> None:
    jobs = workflows(100, np.random.default_rng(1))
    free = execute_all(jobs[:20], tmp_path / "free", faults=NO_FAULTS, by_workers=by_workers)
    budget_usd = 2.0 * free.spent_usd
    out = execute_all(
        # With 64 at once the money may go to so many beginnings that hardly an execution ends.
        jobs,
        tmp_path / "log",
        num_parallel=16,
        budget_usd=budget_usd,
        by_workers=by_workers,
    )

    assert_nothing_is_lost(jobs, out)
    assert out.spent_usd <= budget_usd  # the upper estimate of a try holds here
    upper_usd = PER_MTOK * 1e-6 * (64 + 200)
    assert out.spent_usd > budget_usd - 2 * upper_usd  # what others have reserved is waited for
    interrupted = {name for name, record in out.results.items() if record.interrupted}
    assert 10 < len(interrupted) < 90
    for record in out.logged:
        faults = {call.fault for call in record.decisions}
        assert record.interrupted or "budget" not in faults
    assert done_ids(tmp_path / "log").isdisjoint(interrupted)


@pytest.mark.parametrize("by_workers", [False, True])
def test_what_cancelled_executions_have_cost_is_in_the_log(
    tmp_path: Path, by_workers: bool
) -> None:
    jobs = workflows(100, np.random.default_rng(2))
    out = execute_all(jobs, tmp_path, by_workers=by_workers, cancel_every=2)

    assert_nothing_is_lost(jobs, out)
    assert out.cancelled
    interrupted = {record.execution_id for record in out.logged if record.interrupted}
    assert interrupted
    assert interrupted <= out.cancelled
