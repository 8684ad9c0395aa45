"""Jobs: the training commands that a benchmark needs, run side by side as processes.

A benchmark calls the same commands as a user; weights travel as files, so that agents need not
import supervised.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from orchestai_env.engine import Engine, closing_executor, open_executor
from orchestai_env.errors import OrchestAIError


class JobError(OrchestAIError):
    """A training command of a benchmark failed."""


@dataclasses.dataclass(frozen=True)
class Job:
    """One command, and the file that shows that it is done."""

    module: str
    arguments: tuple[str, ...]
    result: Path
    """The file that the command writes last; the log goes beside it."""
    after: Job | None = None
    """The job whose result this one reads."""

    @property
    def log(self) -> Path:
        """File of everything that the command prints."""
        return self.result.parent / "log.txt"


def run_jobs(jobs: Sequence[Job], *, num_jobs: int, title: str, engine: Engine = "local") -> None:
    """Runs the jobs whose results are not there, in an order that suits.

    Args:
        jobs: what to run; a job whose `after` is among them waits for it.
        num_jobs: how many run at once on this machine; a Ray cluster runs one per core.
        title: of the progress bar.
        engine: where they run.
    Raises:
        JobError: commands failed; the message has a line for each, with its last words and its
            log. Jobs that need none of those have run; the next call takes all results up.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn()) as progress, _open_pool(engine, num_jobs) as pool:
        bar = progress.add_task(title, total=len(jobs))
        failures = _run_in_order(jobs, pool, lambda: progress.advance(bar))
    if failures:
        raise JobError(
            "\n".join(failures) + "; what finished is kept: once that is mended (or left out of "
            "the settings), run the same command again to go on from there"
        )


def _open_pool(engine: Engine, num_jobs: int) -> contextlib.AbstractContextManager[Executor]:
    """Returns threads that wait for processes of this machine, or a Ray cluster."""
    if engine == "local":
        return closing_executor(ThreadPoolExecutor(num_jobs))
    return open_executor(engine, num_jobs, _nothing, ())


def _nothing() -> None:
    """Starts nothing: a job brings its own process."""


def _run_in_order(jobs: Sequence[Job], pool: Executor, advance: Callable[[], None]) -> list[str]:
    """Runs every job once the one that it needs is done; returns a line per failure."""
    followers: dict[Job | None, list[Job]] = {job: [] for job in (None, *jobs)}
    for job in dict.fromkeys(jobs):
        followers[job.after if job.after in followers else None].append(job)
    ready, running, failures = followers[None], dict[Future[str], Job](), list[str]()
    while ready or running:
        running |= {pool.submit(_run, job): job for job in ready}
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        ready = []
        for future in done:
            job = running.pop(future)
            advance()
            try:
                failure = future.result()
            except BrokenExecutor:  # a process of Ray, or the machine that it was on
                failure = "the process that ran it died"
            if failure:
                failures.append(f"{job.module} failed: {failure} (whole log: {job.log})")
            else:
                ready += followers[job]
    return failures


def _run(job: Job) -> str:
    """Runs one job where it is called; returns why it failed, and nothing where it did not."""
    if job.result.is_file():
        return ""
    job.result.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", job.module, *job.arguments]
    # One thread a job: they share the cores, and small networks run fastest on one.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with job.log.open("w") as file:
        done = subprocess.run(
            command, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False
        )
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        hint = "; is memory short?" if name == "SIGKILL" else ""
        return f"killed by signal {-done.returncode} ({name}){hint}"
    if done.returncode > 0:
        return (job.log.read_text().strip().splitlines() or ["no output"])[-1]
    return ""
