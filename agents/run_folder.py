"""Run folder: held by one process at a time, so that two runs cannot mix their files."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from agents.experiment import check_output_dir
from orchestai_env.errors import OrchestAIError

LOCK, OWNER = ".lock", ".owner"
"""Files of a run folder: the lock, which the system frees when its process ends in whatever way,
and who holds it."""


class RunFolderError(OrchestAIError):
    """A run folder is being written to by another process."""


@contextlib.contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Makes a run folder and holds it for this process while the block lasts.

    Raises:
        ConfigError: there is a file in its place.
        RunFolderError: another process holds it.
    """
    check_output_dir(folder)
    folder.mkdir(parents=True, exist_ok=True)
    owner = folder / OWNER
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RunFolderError(
            f"{folder}: another run ({_holder(owner)}) is writing to it; wait for it, stop it, or "
            "name another --output_dir"
        ) from None
    try:
        owner.write_text(f"pid {os.getpid()} on {platform.node()}\n")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _holder(owner: Path) -> str:
    try:
        return owner.read_text().strip() or "just started"
    except OSError:  # between the lock and its note
        return "just started"
