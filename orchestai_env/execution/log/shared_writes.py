"""SharedWrites: records of many executions, written to a log by as few writes as its disk needs."""

from __future__ import annotations

import asyncio
import functools
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from orchestai_env.execution.calls.to_the_end import to_the_end
from orchestai_env.execution.log.record import ExecutionRecord


class Log(Protocol):
    """What executions are written to; see `execution_log.ExecutionLogger`."""

    def append(self, *records: ExecutionRecord) -> None:
        """Writes executions, all of them or none."""


class SharedWrites:
    """Writes beside the event loop; what comes while it writes goes into the next write.

    A disk takes some hundred writes a second that are forced to it, however large they are, and
    executions would wait for each other's.
    """

    def __init__(self, log: Log) -> None:
        """Takes the log; used by one event loop at a time."""
        self._log = log
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="log")
        self._waiting: list[tuple[ExecutionRecord, asyncio.Future[None]]] = []
        self._is_writing = False

    async def append(self, record: ExecutionRecord) -> None:
        """Returns once a record is in the log; whole, whatever is cancelled.

        Raises:
            OrchestAIError: it cannot be written.
        """
        written = asyncio.get_running_loop().create_future()
        self._waiting.append((record, written))
        if not self._is_writing:
            self._write()
        try:
            await to_the_end(written)
        finally:
            written.result()

    def _write(self) -> None:
        """Starts a write of all that waits."""
        group, self._waiting, self._is_writing = self._waiting, [], True
        loop, records = asyncio.get_running_loop(), [record for record, _ in group]
        writing = loop.run_in_executor(self._thread, functools.partial(self._log.append, *records))
        ended = functools.partial(self._end, [written for _, written in group])
        writing.add_done_callback(ended)

    def _end(self, group: list[asyncio.Future[None]], writing: asyncio.Future[None]) -> None:
        """Passes on how a write ended, and starts the next one."""
        self._is_writing = False
        for written in group:
            if writing.cancelled():  # the event loop is given up
                written.cancel()
            elif (error := writing.exception()) is not None:
                written.set_exception(error)
            else:
                written.set_result(None)
        if self._waiting:
            self._write()
