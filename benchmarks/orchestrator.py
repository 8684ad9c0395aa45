"""Measures what the orchestrator adds to calls of real workers, and how near it is to the ideal.

Run it with `python -m benchmarks.orchestrator`. A server on this machine, a process of its own,
answers like an OpenAI-compatible endpoint. Time per call is compared with the bare client in the
same run, in turn; makespans with those of an ideal schedule whose latencies are known, as are those
of the bare client where it does the same workflows.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import multiprocessing
import re
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import numpy as np
import openai

from benchmarks.timing import print_machine, print_table, spread
from orchestai_env.execution.calls.budget import sum_usd
from orchestai_env.execution.chooser import RandomChooser
from orchestai_env.execution.live_setup import close_workers, live_means, live_workflows
from orchestai_env.execution.log.execution_log import ExecutionLogger
from orchestai_env.execution.orchestrator import Orchestrator
from orchestai_env.execution.workers.prompt import prompt_text
from orchestai_env.execution.workers.worker import CallRequest
from orchestai_env.execution.workers.worker_settings import LivePool
from orchestai_env.planning.annotated import AnnotatedPlanner
from orchestai_env.workflow import Subtask, Workflow
from tests.orchestai_env.execution.openai_server import OpenAIServer
from tests.orchestai_env.execution.test_orchestrator_faults import FAULTS, execute_all, workflows

_PARALLEL = 64
_SIDE_BY_SIDE = 8
_TYPE = "work"
_LATENCY = re.compile(r"takes ([0-9.]+) s")


class _Time(NamedTuple):
    """Time of a call."""

    wall_ms: float
    cpu_ms: float
    """Of this process."""


Execute = Callable[[Workflow], Awaitable[float]]
"""Does a workflow; returns its makespan [ms]."""

Doing = Callable[[Sequence[Workflow]], contextlib.AbstractAsyncContextManager[Execute]]
"""Makes ready to do any of some workflows."""


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
    _print_makespans(args.dags)
    _print_faulty(args.faulty)


def _print_overhead(count: int, rounds: int) -> None:
    """Times the bare client, the orchestrator, and the orchestrator with its log, in turn."""
    times: dict[str, list[_Time]] = {
        "bare openai client": [],
        "orchestrator": [],
        "orchestrator, logged": [],
    }
    bare, unlogged, logged = times.values()
    jobs = _chains(count)
    for _ in range(rounds):
        bare.append(asyncio.run(_per_call(jobs, _asking)))
        unlogged.append(asyncio.run(_per_call(jobs, _serving)))
        with tempfile.TemporaryDirectory() as folder, ExecutionLogger(folder) as log:
            logged.append(asyncio.run(_per_call(jobs, functools.partial(_serving, log=log))))
    for name, title in (("wall_ms", "per call, 64 at once"), ("cpu_ms", "the same, CPU time")):
        rows = []
        for case, found in times.items():
            taken, basis = ([getattr(time, name) for time in one] for one in (found, bare))
            added = [one - other for one, other in zip(taken, basis, strict=True)]
            ratio = statistics.median(taken) / statistics.median(basis)
            rows.append([case, *spread(taken), f"{ratio:.2f}", *spread(added)])
        header = [title, "median [ms]", "least", "most", "ratio"]
        print_table([*header, "median added [ms]", "least", "most"], rows)


def _print_makespans(count: int) -> None:
    """Compares makespans with those of the critical path, where nothing queues."""
    jobs = _random_dags(count)
    rows = []
    for name, doing in (("bare openai client", _asking), ("orchestrator", _serving)):
        ratios = asyncio.run(_ratios(jobs, doing))
        figures = statistics.median(ratios), statistics.mean(ratios), max(ratios)
        late = sum(ratio > 1.03 for ratio in ratios)
        rows.append([name, *(f"{figure:.4f}" for figure in figures), str(late)])
    title = f"makespan / ideal, {count} random DAGs"
    print_table([title, "median", "mean", "largest", "over 1.03"], rows)


def _print_faulty(count: int) -> None:
    """Executes workflows against a server that fails often, and prints what became of them."""
    jobs = workflows(count, np.random.default_rng(0))
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        out = execute_all(jobs, Path(folder) / "log", faults=FAULTS, timeout_s=1.5)
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


def _workflow(name: str, subtasks: Sequence[str], links: Sequence[tuple[int, int]]) -> Workflow:
    parts = tuple(Subtask(name=subtask, type=_TYPE) for subtask in subtasks)
    return Workflow(id=name, instruction=f"job {name}", subtasks=parts, links=tuple(links))


def _chains(count: int) -> list[Workflow]:
    """Returns chains of two subtasks that take no time."""
    return [_workflow(str(k), ("step 0", "step 1"), ((0, 1),)) for k in range(count)]


def _random_dags(count: int) -> list[Workflow]:
    """Returns workflows of 2 to 5 subtasks that take 0.2 to 1 s each."""
    rng = np.random.default_rng(0)
    found = []
    for k in range(count):
        size = int(rng.integers(2, 6))
        links = [(i, j) for j in range(size) for i in range(j) if rng.random() < 0.4]
        names = [f"step {i} takes {rng.uniform(0.2, 1.0):.6f} s" for i in range(size)]
        found.append(_workflow(str(k), names, links))
    return found


def _latency_s(text: str) -> float:
    """Returns the latency that a subtask, or the prompt for it, asks for [s]."""
    found = _LATENCY.search(text)
    return 0.0 if found is None else float(found[1])


@contextlib.contextmanager
def _server() -> Iterator[str]:
    """Yields the URL of a server that does not share this process's interpreter."""
    spawned = multiprocessing.get_context("spawn")
    ours, theirs = spawned.Pipe()
    process = spawned.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    yield str(ours.recv())
    ours.send("end")
    process.join()


def _serve(pipe: Connection) -> None:
    with OpenAIServer(latency_s=lambda request: _latency_s(request.text)) as server:
        pipe.send(server.base_url)
        pipe.recv()


@contextlib.asynccontextmanager
async def _asking(jobs: Sequence[Workflow]) -> AsyncIterator[Execute]:
    """Yields what does a workflow with asyncio and the client alone."""
    with _server() as url:
        client = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0)

        async def ask(job: Workflow, j: int, parents: Sequence[asyncio.Task[None]]) -> None:
            for parent in parents:
                await parent
            request = CallRequest(
                instruction=job.instruction, subtask=job.subtasks[j].name, task_type=_TYPE
            )
            await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": prompt_text(request)}]
            )

        async def execute(job: Workflow) -> float:
            began = time.perf_counter()
            calls: list[asyncio.Task[None]] = []
            for j in range(len(job.subtasks)):
                parents = [calls[a] for a, b in job.links if b == j]
                calls.append(asyncio.ensure_future(ask(job, j, parents)))
            await asyncio.gather(*calls)
            return 1000 * (time.perf_counter() - began)

        await execute(jobs[0])  # loads what the client needs
        yield execute
        await client.close()


@contextlib.asynccontextmanager
async def _serving(
    jobs: Sequence[Workflow], log: ExecutionLogger | None = None
) -> AsyncIterator[Execute]:
    """Yields what does a workflow with the orchestrator."""
    with _server() as url:
        pool = _pool(url)
        means, workers = live_means(pool)
        known = live_workflows(pool, jobs)
        orchestrator = Orchestrator(
            known,
            planner=AnnotatedPlanner(jobs, known.task_types),
            chooser=RandomChooser(),
            means=means,
            log=log,
        )
        orchestrator.warm_up()

        async def execute(job: Workflow) -> float:
            _, result = await orchestrator.execute_async(job.instruction)
            return result.total_latency_ms

        await execute(jobs[0])  # as above
        yield execute
        await close_workers(workers)


async def _per_call(jobs: Sequence[Workflow], doing: Doing) -> _Time:
    """Does workflows, 64 at once; returns the time of each of their calls."""
    async with doing(jobs) as execute:
        began, cpu_s = time.perf_counter(), time.process_time()
        await _each(jobs, execute, _PARALLEL)
        took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_s
    calls = sum(len(job.subtasks) for job in jobs)
    return _Time(1000 * took_s / calls, 1000 * cpu_s / calls)


async def _ratios(jobs: Sequence[Workflow], doing: Doing) -> list[float]:
    """Returns the makespans of workflows by the ideal ones, eight side by side."""
    async with doing(jobs) as execute:
        # Those that are done twice, first, begin at one instant and open the connections.
        makespans = await _each([*jobs[:_SIDE_BY_SIDE], *jobs], execute, _SIDE_BY_SIDE)
    makespans = makespans[_SIDE_BY_SIDE:]
    return [ms / _ideal_ms(job) for job, ms in zip(jobs, makespans, strict=True)]


async def _each(jobs: Sequence[Workflow], execute: Execute, num_parallel: int) -> list[float]:
    """Does every workflow, so many at once; returns their makespans [ms]."""
    makespans, waiting = [0.0] * len(jobs), iter(enumerate(jobs))

    async def work() -> None:
        for k, job in waiting:
            makespans[k] = await execute(job)

    await asyncio.gather(*(work() for _ in range(num_parallel)))
    return makespans


def _ideal_ms(job: Workflow) -> float:
    """Returns the length of the critical path [ms]; 5 subtasks at most run side by side."""
    ends: list[float] = []
    for j, subtask in enumerate(job.subtasks):
        begin = max((ends[a] for a, b in job.links if b == j), default=0.0)
        ends.append(begin + 1000 * _latency_s(subtask.name))
    return max(ends)


if __name__ == "__main__":
    main()
