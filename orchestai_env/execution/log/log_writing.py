"""LogFile: one file of the execution log, to which several processes append whole lines."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Literal

from orchestai_env.errors import OrchestAIError

Appended = Literal["written", "full", "moved"]


class ExecutionLogError(OrchestAIError, OSError):
    """A record could not be written; whatever was acknowledged before is in the log."""


class LogFile:
    """A file that is open for appending.

    The lock is on the file itself: it says who appends to this file, and only its end matters.
    """

    def __init__(self, path: Path) -> None:
        """Opens a file, which is made where there is none.

        Raises:
            OSError: it can be neither opened nor made.
            OrchestAIError: the system has no such locks.
        """
        self._locks = system_locks()
        self.path = path
        self._raw = path.open("a+b", buffering=0)
        self._stat = os.fstat(self._raw.fileno())
        self.was_empty = self._stat.st_size == 0
        """When it was opened."""

    def append(self, lines: bytes, *, max_bytes: float, sync: bool) -> Appended:
        """Appends lines, all of them or none.

        A line that a killed process left half-written is ended first, in the same write.

        Args:
            lines: each with its line feed; one at least.
            max_bytes: size that the file keeps to; what it begins with may be larger.
            sync: whether they have to be on the disk when this returns.
        Returns:
            "written"; or nothing was written because the file is "full", or because it was "moved"
            or deleted, so that another has to be opened.
        Raises:
            OSError: the system refused; the file ends where it did before.
        """
        descriptor = self._raw.fileno()
        with self._locked(descriptor):
            try:
                found = os.stat(self.path)
            except FileNotFoundError:
                return "moved"
            if not os.path.samestat(found, self._stat):
                return "moved"
            end = found.st_size
            if end and os.pread(descriptor, 1, end - 1) != b"\n":
                lines = b"\n" + lines
            if end and end + len(lines) > max_bytes:
                return "full"
            try:
                _write_all(descriptor, lines)
                if sync:
                    os.fsync(descriptor)
            except BaseException:  # Ctrl-C between two writes as well
                os.ftruncate(descriptor, end)
                raise
            return "written"

    @contextlib.contextmanager
    def _locked(self, descriptor: int) -> Iterator[None]:
        """Holds the file, among all processes, while the block lasts."""
        self._locks.flock(descriptor, self._locks.LOCK_EX)
        try:
            yield
        finally:
            self._locks.flock(descriptor, self._locks.LOCK_UN)

    def sync(self) -> None:
        """Waits until all that was written is on the disk.

        Raises:
            OSError: the system could not do it.
        """
        os.fsync(self._raw.fileno())

    def close(self) -> None:
        """Closes the file for this process; its lock stays with whoever holds it."""
        self._raw.close()


def sync_folder(folder: Path) -> None:
    """Waits until the names of the files in a folder are on the disk.

    Raises:
        OSError: the system could not do it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def system_locks() -> ModuleType:
    """Returns the module of the locks that the system frees when their process ends.

    Run folders are held by the filelock library. Here it would cost 70 us an append instead of 5
    (measured), and a process that waits would sleep and ask again, rather than go on as soon as the
    other is done.

    Raises:
        OrchestAIError: the system has no such locks.
    """
    try:
        import fcntl
    except ImportError:
        raise OrchestAIError(
            "the execution log needs the file locks of a POSIX system; on Windows, write it in WSL"
        ) from None
    return fcntl


def _write_all(descriptor: int, data: bytes) -> None:
    """Writes bytes by one call; a disk that is nearly full takes a part, and refuses the next."""
    written = os.write(descriptor, data)
    while written < len(data):
        data = data[written:]
        written = os.write(descriptor, data)
