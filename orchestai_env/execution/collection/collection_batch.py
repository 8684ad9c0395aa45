"""Batch: a part of a collection that one process of a cluster executes."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import os
import platform
import sys

from orchestai_env.errors import ConfigError, MissingPackageError
from orchestai_env.execution.collection.collection import Collection, Share
from orchestai_env.execution.collection.tenure import CHECK_S, batch_lock, is_wanted
from orchestai_env.execution.workers.worker_settings import LivePool


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """What every process needs for its batches; it holds no keys, which machines read themselves.

    Instructions are made up or read anew in each process, rather than sent.
    """

    args: argparse.Namespace
    """Of the command."""
    token: str
    """Of the collection; see `tenure`."""
    python_path: tuple[str, ...]
    """Folders of PYTHONPATH where the command runs; modules of the user may be there."""

    @classmethod
    def of(cls, args: argparse.Namespace, token: str) -> Assignment:
        """Takes the arguments of the command that runs here."""
        folders = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        return cls(
            args=args,
            token=token,
            python_path=tuple(os.path.abspath(folder) for folder in folders if folder),
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Executions that one process is to do."""

    indices: tuple[int, ...]
    slot: int
    """Which of the batches that run at once it is, 0..num_slots-1."""
    num_slots: int
    """Batches that run at once."""
    budget_usd: float | None
    """Most that it may cost [USD]; None = no limit."""

    def share(self, collection: Collection) -> Share:
        """Returns what it has of the limits; those of all batches that run at once add up."""
        return Share(
            num_parallel=self._part(collection.args.num_parallel),
            budget_usd=self.budget_usd,
            pool=LivePool(
                specs=tuple(
                    spec.model_copy(update={"concurrency": self._part(spec.concurrency)})
                    for spec in collection.pool.specs
                ),
                env_file=collection.pool.env_file,
            ),
        )

    def _part(self, whole: int) -> int:
        """Returns its part of a number; 1 of a pipeline of transformers, which each process has."""
        return max(1, whole // self.num_slots + (self.slot < whole % self.num_slots))


_at_work: tuple[Assignment, Collection] | None = None


def start(assignment: Assignment) -> None:
    """Prepares a process for batches.

    Raises:
        OrchestAIError: a file is missing or wrong, or a package is not there.
    """
    global _at_work  # one per process, which serves one collection at a time
    sys.path += [folder for folder in assignment.python_path if folder not in sys.path]
    _at_work = (assignment, Collection.of(assignment.args))


def run_batch(batch: Batch) -> tuple[int, ...]:
    """Executes a batch, in a process that was started.

    Returns:
        Indices of the executions that are done and logged. Others are missing where the budget of
        the batch is spent, or the collection has ended meanwhile.
    Raises:
        OrchestAIError: as `Collection.execute` does; where the settings are wrong, or the machine
            lacks a key or a package, it names the machine.
    """
    assert _at_work is not None
    assignment, collection = _at_work
    try:
        with batch_lock(collection.folder, assignment.token):
            return asyncio.run(_execute(collection, batch, assignment.token))
    except (ConfigError, MissingPackageError) as error:  # the machine may lack a key or a module
        raise type(error)(f"in a task on {platform.node()}: {error}") from None


async def _execute(collection: Collection, batch: Batch, token: str) -> tuple[int, ...]:
    """Executes until all is done, or the collection has ended."""
    done: list[int] = []
    work = asyncio.create_task(
        collection.execute(batch.indices, batch.share(collection), done.append)
    )
    try:
        while not (await asyncio.wait([work], timeout=CHECK_S))[0]:
            if not is_wanted(collection.folder, token):
                work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work
    finally:
        work.cancel()
    return tuple(done)
