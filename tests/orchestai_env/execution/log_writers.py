"""Writers of an execution log in processes of their own; run as a module, prints JSON.

    python -m tests.orchestai_env.execution.log_writers together FOLDER PROCESSES THREADS RECORDS
    python -m tests.orchestai_env.execution.log_writers killed FOLDER KILLS SEED

The children are forked, so that the library is imported once.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import IO

from orchestai_env.execution.log.execution_log import ExecutionLogger
from tests.orchestai_env.execution.log_records import record

MAX_FILE_MB = 0.05
"""Small, so that the files are rotated under way."""


def together(folder: str, num_processes: int, num_threads: int, num_records: int) -> list[str]:
    """Appends from several threads of several processes at once; returns what was acknowledged."""
    inherited = ExecutionLogger(folder, fsync="never", max_file_mb=MAX_FILE_MB)
    inherited.append(record("parent"))  # its file is open when the children begin

    def write(process: int, acknowledge: Callable[[str], object]) -> None:
        logger = inherited
        if process % 2:
            logger = ExecutionLogger(folder, fsync="never", max_file_mb=MAX_FILE_MB)

        def append(thread: int) -> None:
            for i in range(num_records):
                one = record(f"{process}-{thread}-{i}")
                logger.append(one)
                acknowledge(one.execution_id)

        threads = [threading.Thread(target=append, args=(k,)) for k in range(num_threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        logger.close()

    children = [_Child.running(functools.partial(write, k)) for k in range(num_processes)]
    inherited.close()
    for child in children:
        _, status = os.waitpid(child.pid, 0)
        assert status == 0
    return ["parent", *(ident for child in children for ident in child.acknowledged())]


def killed(folder: str, num_kills: int, seed: int) -> list[str]:
    """Kills one writer after the other at random moments; returns what was acknowledged."""
    rng = random.Random(seed)
    plain, large = record(), record(instruction="long " * 200_000)

    def write(name: str, acknowledge: Callable[[str], object]) -> None:
        logger = ExecutionLogger(folder, fsync="never", max_file_mb=20.0)
        i = 0
        while True:  # a large record takes long enough to be caught in the middle
            one = (large if i % 8 == 7 else plain).model_copy(
                update={"execution_id": f"{name}-{i}"}
            )
            logger.append(one)
            acknowledge(one.execution_id)
            i += 1

    found = []
    for k in range(num_kills):
        child = _Child.running(functools.partial(write, str(k)))
        time.sleep(rng.uniform(0.0, 0.1))
        os.kill(child.pid, signal.SIGKILL)
        os.waitpid(child.pid, 0)
        found += child.acknowledged()
    return found


@dataclasses.dataclass(frozen=True)
class _Child:
    """A forked process that runs a writer."""

    pid: int
    told: IO[bytes]
    """What was acknowledged; a file, which takes a line whole or not at all and never fills up."""

    @classmethod
    def running(cls, run: Callable[[Callable[[str], object]], None]) -> _Child:
        """Forks a child that runs a writer."""
        told = tempfile.TemporaryFile(buffering=0)
        pid = os.fork()
        if pid:
            return cls(pid, told)
        status = 1
        try:
            run(lambda ident: os.write(told.fileno(), f"{ident}\n".encode()))
            status = 0
        finally:
            os._exit(status)

    def acknowledged(self) -> list[str]:
        """Returns what it was told, once it has ended."""
        self.told.seek(0)
        with self.told:
            return self.told.read().decode().splitlines()


def main(kind: str, folder: str, *numbers: str) -> None:
    """Runs one of the two and prints the ids."""
    run = together if kind == "together" else killed
    print(json.dumps(run(folder, *map(int, numbers))))


if __name__ == "__main__":
    main(*sys.argv[1:])
