"""Jobs: the training commands that a benchmark needs, run side by side as processes.

A benchmark calls the same commands as a user; weights travel as files, so that agents need not
import supervised.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

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


def run_jobs(jobs: Sequence[Job], *, num_jobs: int, title: str) -> None:
    """Runs the jobs whose results are not there, `num_jobs` at a time, in an order that suits.

    Raises:
        JobError: a command failed; the message has its last line and the path of its log. Jobs
            that run are finished, no other is started; the next call takes their results up.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn()) as progress:
        bar = progress.add_task(title, total=len(jobs))
        with ThreadPoolExecutor(num_jobs) as pool:
            futures: dict[Job, Future[None]] = {}
            for job in jobs:  # a job comes after the one it waits for, so waiting cannot lock
                futures[job] = pool.submit(_run, job, futures.get(job.after) if job.after else None)
            try:
                for future in as_completed(futures.values()):
                    future.result()
                    progress.advance(bar)
            except BaseException:  # Ctrl-C too: start none of the jobs that wait
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _run(job: Job, needed: Future[None] | None) -> None:
    if needed is not None:
        needed.result()
    if job.result.is_file():
        return
    job.result.parent.mkdir(parents=True, exist_ok=True)
    log = job.result.parent / "log.txt"
    command = [sys.executable, "-m", job.module, *job.arguments]
    # One thread a job: they share the cores, and small networks run fastest on one.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with log.open("w") as file:
        done = subprocess.run(
            command, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False
        )
    if done.returncode != 0:
        lines = log.read_text().strip().splitlines() or ["no output"]
        raise JobError(f"{job.module} failed: {lines[-1]} (whole log: {log})")
