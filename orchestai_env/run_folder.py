"""Run folder: held by one process at a time, so that two runs cannot mix their files."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from orchestai_env.errors import ConfigError, OrchestAIError
from orchestai_env.execution.extra import needs_extra

LOCK, OWNER = ".lock", ".owner"
"""Files of a run folder: the lock, which the system frees when its process ends in whatever way,
and who holds it."""


class RunFolderError(OrchestAIError):
    """A run folder is being written to by another process."""


def check_output_dir(path: Path) -> None:
    """Refuses a run folder that is a file.

    Raises:
        ConfigError: it is.
    """
    if path.exists() and not path.is_dir():
        raise ConfigError(f"--output_dir {path}: expected a folder, got a file; name another")


@contextlib.contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Makes a run folder and holds it for this process while the block lasts.

    Raises:
        ConfigError: there is a file in its place.
        RunFolderError: another process holds it.
        MissingPackageError: filelock is not installed.
    """
    with needs_extra("live", what="run folders"):
        from filelock import FileLock, Timeout
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
