"""Measures what the orchestrator adds to calls of real workers, and how near it is to the ideal.

Run it with `python -m benchmarks.orchestrator`. A server on this machine answers like an
OpenAI-compatible endpoint. Time per call is compared with the bare client in the same run, in turn;
makespans with those of an ideal schedule whose latencies are known.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import openai

from benchmarks.timing import print_machine, print_table, spread
from orchestai_env.execution.calls.budget import sum_usd
from orchestai_env.execution.chooser import RandomChooser
from orchestai_env.execution.live_setup import live_means, live_workflows
from orchestai_env.execution.log.execution_log import ExecutionLogger
from orchestai_env.execution.orchestrator import Orchestrator
from orchestai_env.execution.workers.prompt import prompt_text
from orchestai_env.execution.workers.worker import CallRequest
from orchestai_env.execution.workers.worker_settings import LivePool
from orchestai_env.planning.annotated import AnnotatedPlanner
from orchestai_env.workflow import Subtask, Workflow
from tests.orchestai_env.execution.openai_server import OpenAIServer, SeenRequest
from tests.orchestai_env.execution.test_orchestrator_faults import FAULTS, execute_all, workflows

_PARALLEL = 64
_TYPE = "work"


class _Time(NamedTuple):
    """Time of a call."""

    wall_ms: float
    cpu_ms: float
    """Of this process, which the server is a part of: equal in all cases."""


Latency = float | Callable[[SeenRequest], float]
Execute = Callable[[Workflow], Awaitable[float]]


def main(argv: Sequence[str] | None = None) -> None:
    """Measures, and prints tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workflows", type=int, default=500, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dags", type=int, default=100, help="random ones, for makespans")
    parser.add_argument("--faulty", type=int, default=2000, help="workflows against faults")
    args = parser.parse_args(argv)
    print_machine()
    _print_overhead(args.workflows, args.rounds)
    ratios = asyncio.run(_makespans(args.dags))
    worst, median = max(ratios), statistics.median(ratios)
    print_table(
        ["makespan / ideal", "median", "mean", "largest"],
        [[f"{args.dags} random DAGs", *(f"{x:.4f}" for x in (median, np.mean(ratios), worst))]],
    )
    _print_faulty(args.faulty)


def _print_overhead(count: int, rounds: int) -> None:
    """Times the bare client, the orchestrator, and the orchestrator with its log, in turn."""
    times: dict[str, list[_Time]] = {
        "bare openai client": [],
        "orchestrator": [],
        "orchestrator, logged": [],
    }
    bare, unlogged, logged = times.values()
    for _ in range(rounds):
        bare.append(asyncio.run(_bare(count)))
        unlogged.append(asyncio.run(_orchestrated(count)))
        with tempfile.TemporaryDirectory() as folder, ExecutionLogger(folder) as log:
            logged.append(asyncio.run(_orchestrated(count, log)))
    for name, title in (("wall_ms", "per call, 64 at once"), ("cpu_ms", "the same, CPU time")):
        rows = []
        for case, found in times.items():
            taken, basis = ([getattr(time, name) for time in one] for one in (found, bare))
            added = [one - other for one, other in zip(taken, basis, strict=True)]
            ratio = statistics.median(taken) / statistics.median(basis)
            rows.append([case, *spread(taken), f"{ratio:.2f}", *spread(added)])
        header = [title, "median [ms]", "least", "most", "ratio"]
        print_table([*header, "median added [ms]", "least", "most"], rows)


def _print_faulty(count: int) -> None:
    """Executes workflows against a server that fails often, and prints what became of them."""
    jobs = workflows(count, np.random.default_rng(0))
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        out = execute_all(jobs, Path(folder) / "log", faults=FAULTS)
        took_s = time.perf_counter() - began
    ids = [record.execution_id for record in out.logged]
    calls = [decision.cost for record in out.logged for decision in record.decisions]
    rows = [
        ["workflows, all ended", f"{len(out.results):,}"],
        ["of them a success", f"{sum(result.success for result in out.results.values()):,}"],
        ["in the log, and different", f"{len(ids):,}, {len(set(ids)):,}"],
        ["requests", f"{out.requests:,}"],
        ["ledger less the sum of calls [USD]", f"{out.spent_usd - sum_usd(calls):.9f}"],
        ["seconds", f"{took_s:.1f}"],
    ]
    print_table([", ".join(f"{100 * p:g} % {kind}" for kind, p in FAULTS.items()), ""], rows)


def _pool(base_url: str) -> LivePool:
    spec = {"name": "w", "model": "m", "base_url": base_url, "concurrency": 1000}
    return LivePool.model_validate({"specs": (spec,)})


def _jobs(count: int) -> list[Workflow]:
    """Returns chains of two subtasks."""
    subtasks = tuple(Subtask(name=f"step {i}", type=_TYPE) for i in range(2))
    return [
        Workflow(id=str(k), instruction=f"job {k}", subtasks=subtasks, links=((0, 1),))
        for k in range(count)
    ]


async def _timed(count: int, work: Callable[[], Awaitable[None]]) -> _Time:
    """Does the work 64 times at once; returns the time of each of so many calls."""
    began, cpu_s = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work() for _ in range(_PARALLEL)))
    took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_s
    return _Time(1000 * took_s / count, 1000 * cpu_s / count)


async def _bare(count: int) -> _Time:
    """Times calls of the client alone, two after another in each of many."""
    request = CallRequest(instruction="job", subtask="step 0", task_type=_TYPE)
    with OpenAIServer() as server:
        client = openai.AsyncOpenAI(base_url=server.base_url, api_key="none", max_retries=0)
        waiting = iter(range(count))

        async def work() -> None:
            for _ in waiting:
                for _ in range(2):
                    await client.chat.completions.create(
                        model="m", messages=[{"role": "user", "content": prompt_text(request)}]
                    )

        taken = await _timed(2 * count, work)
        await client.close()
    return taken


@contextlib.asynccontextmanager
async def _serving(
    jobs: Sequence[Workflow], latency_s: Latency = 0.0, log: ExecutionLogger | None = None
) -> AsyncIterator[Execute]:
    """Yields what executes one of the jobs and returns its makespan [ms]."""
    with OpenAIServer(latency_s=latency_s) as server:
        pool = _pool(server.base_url)
        means, workers = live_means(pool)
        known = live_workflows(pool, jobs)
        orchestrator = Orchestrator(
            known,
            planner=AnnotatedPlanner(jobs, known.task_types),
            chooser=RandomChooser(),
            means=means,
            log=log,
        )

        async def execute(job: Workflow) -> float:
            _, result = await orchestrator.execute_async(job.instruction)
            return result.total_latency_ms

        yield execute
        for worker in workers.values():
            await worker.close()


async def _orchestrated(count: int, log: ExecutionLogger | None = None) -> _Time:
    """Times the same calls in workflows."""
    jobs = _jobs(count)
    async with _serving(jobs, log=log) as execute:
        await execute(jobs[0])  # compiles
        waiting = iter(jobs)

        async def work() -> None:
            for job in waiting:
                await execute(job)

        return await _timed(2 * count, work)


async def _makespans(count: int) -> list[float]:
    """Returns the makespan of random DAGs by that of their critical path, where nothing queues."""
    rng = np.random.default_rng(0)
    jobs: list[Workflow] = []
    latency_s: dict[str, float] = {}
    for k in range(count):
        size = int(rng.integers(2, 6))
        links = [(i, j) for j in range(size) for i in range(j) if rng.random() < 0.4]
        names = [f"step {i} of {k}" for i in range(size)]
        latency_s |= {name: float(rng.uniform(0.2, 1.0)) for name in names}
        subtasks = tuple(Subtask(name=name, type=_TYPE) for name in names)
        jobs.append(
            Workflow(id=str(k), instruction=f"job {k}", subtasks=subtasks, links=tuple(links))
        )

    def asked(request: SeenRequest) -> float:
        return next(s for name, s in latency_s.items() if f" {name}\n" in request.text)

    async with _serving(jobs, asked) as execute:
        ratios: list[float] = []
        waiting = iter(jobs)

        async def work() -> None:
            for job in waiting:
                ratios.append(await execute(job) / _ideal_ms(job, latency_s))

        await asyncio.gather(*(work() for _ in range(8)))
    return ratios


def _ideal_ms(job: Workflow, latency_s: dict[str, float]) -> float:
    """Returns the length of the critical path [ms]; 5 subtasks at most run side by side."""
    ends: list[float] = []
    for j, subtask in enumerate(job.subtasks):
        begin = max((ends[a] for a, b in job.links if b == j), default=0.0)
        ends.append(begin + 1000 * latency_s[subtask.name])
    return max(ends)


if __name__ == "__main__":
    main()
