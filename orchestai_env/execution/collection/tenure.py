"""Tenure: whose batches may write to the folder of a collection.

A collection that is killed may leave batches on other machines that do not know it yet. Each batch
holds a lock on the folder that batches share, and looks every half second whether the folder still
belongs to the collection that sent it. So a new collection writes its own token, waits until the
lock is free, and is then alone.
"""

from __future__ import annotations

import contextlib
import os
import platform
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from orchestai_env.errors import ConfigError
from orchestai_env.execution.log.log_writing import system_locks
from orchestai_env.run_folder import LOCK, RunFolderError

BATCHES = ".batches"
"""File of the folder: the token of the collection that it belongs to, and the lock of batches."""

CHECK_S = 0.5
"""How often a batch looks whether it is still wanted [s]. Chosen."""

_WAIT_S = 60.0
_NOBODY = b"-" * 32


@contextlib.contextmanager
def tenure(folder: Path) -> Iterator[str]:
    """Makes the folder this collection's; yields its token. Leaving the block tells batches to end.

    Args:
        folder: claimed by this process already; see `run_folder.claim`.
    Raises:
        RunFolderError: batches of an earlier collection still write to it after a minute.
    """
    token = secrets.token_hex(16)
    descriptor = os.open(folder / BATCHES, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _write(descriptor, token.encode())
        _wait_for_batches(folder, descriptor)
        try:
            yield token
        finally:
            _write(descriptor, _NOBODY)
    finally:
        os.close(descriptor)


def end_tenure(folder: Path) -> None:
    """Tells the batches of the collection to end; those that run log how far they have come."""
    descriptor = os.open(folder / BATCHES, os.O_RDWR)
    try:
        _write(descriptor, _NOBODY)
    finally:
        os.close(descriptor)


def is_wanted(folder: Path, token: str) -> bool:
    """Returns whether the folder still belongs to the collection of this token."""
    # Opened anew each time: a shared disk shows then what another machine has written.
    return (folder / BATCHES).read_bytes() == token.encode()


@contextlib.contextmanager
def batch_lock(folder: Path, token: str) -> Iterator[None]:
    """Holds the lock that batches share.

    Raises:
        ConfigError: the folder is not that of the collection, which has ended meanwhile or has its
            folder on a disk of its own; or file locks do not reach from machine to machine.
    """
    fcntl = system_locks()
    elsewhere = ConfigError(
        f"{folder}: on {platform.node()} it is not the folder of this collection; every machine of "
        "the cluster needs it at the same path, on a shared disk"
    )
    try:
        descriptor = os.open(folder / BATCHES, os.O_RDONLY)
    except FileNotFoundError:
        raise elsewhere from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if not is_wanted(folder, token):
            raise elsewhere
        _check_locks(folder, token)
        yield
    finally:
        os.close(descriptor)


def _write(descriptor: int, token: bytes) -> None:
    """Writes a token, whose length never changes, in place: a reader has the old or the new."""
    os.pwrite(descriptor, token, 0)
    os.fsync(descriptor)


def _wait_for_batches(folder: Path, descriptor: int) -> None:
    """Waits until no batch holds the lock; those that start later find that they are not wanted."""
    fcntl, until_s = system_locks(), time.monotonic() + _WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until_s:
                raise RunFolderError(
                    f"{folder}: batches of an earlier collection are still writing to it; stop "
                    "them (on the machines of its Ray cluster), or name another --output_dir"
                ) from None
            time.sleep(0.1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            return


def _check_locks(folder: Path, token: str) -> None:
    """Checks that the lock which the collection holds is seen here: the log needs such locks."""
    fcntl, descriptor = system_locks(), os.open(folder / LOCK, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    finally:
        os.close(descriptor)
    if is_wanted(folder, token):  # else the collection has just ended
        raise ConfigError(
            f"{folder}: {platform.node()} does not see the file lock that the collection holds; "
            "mount the shared disk so that locks reach all machines (NFS: without nolock and "
            "local_lock)"
        )
