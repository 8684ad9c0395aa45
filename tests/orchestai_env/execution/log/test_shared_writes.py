"""SharedWrites: records that come while one is written share the next write."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from orchestai_env.errors import OrchestAIError
from orchestai_env.execution.log.execution_log import ExecutionLogger
from orchestai_env.execution.log.log_reading import read_log
from orchestai_env.execution.log.record import ExecutionRecord
from orchestai_env.execution.log.shared_writes import SharedWrites
from tests.orchestai_env.execution.log_records import record


class SlowLog:
    """Notes what is written at once; each write waits until it may go on."""

    def __init__(self, refused: str = "") -> None:
        self.writes: list[list[str]] = []
        self.may_go_on = threading.Semaphore(0)
        self._refused = refused

    def append(self, *records: ExecutionRecord) -> None:
        assert self.may_go_on.acquire(timeout=30.0)
        names = [one.execution_id for one in records]
        if self._refused in names:
            raise OrchestAIError(f"{', '.join(names)} cannot be written")
        self.writes.append(names)


async def written_while_one_is(log: SlowLog) -> list[BaseException | None]:
    """Appends "0", then three more while it is written."""
    writes = SharedWrites(log)
    first = asyncio.ensure_future(writes.append(record("0")))
    await asyncio.sleep(0)
    others = [asyncio.ensure_future(writes.append(record(name))) for name in "123"]
    await asyncio.sleep(0)
    assert not any(one.done() for one in (first, *others))
    log.may_go_on.release(2)
    return list(await asyncio.gather(first, *others, return_exceptions=True))


def test_what_comes_while_one_is_written_is_written_at_once() -> None:
    log = SlowLog()
    assert asyncio.run(written_while_one_is(log)) == [None] * 4
    assert log.writes == [["0"], ["1", "2", "3"]]


def test_a_write_that_is_refused_is_refused_to_all_of_it_and_the_next_goes_on() -> None:
    first, *others = asyncio.run(written_while_one_is(log := SlowLog(refused="2")))
    assert first is None
    assert {str(error) for error in others} == {"1, 2, 3 cannot be written"}

    log.may_go_on.release()
    asyncio.run(SharedWrites(log).append(record("4")))
    assert log.writes == [["0"], ["4"]]


def test_each_is_a_line_of_the_log(tmp_path: Path) -> None:
    async def write(log: ExecutionLogger) -> None:
        writes = SharedWrites(log)
        await asyncio.gather(*(writes.append(record(str(i))) for i in range(50)))

    with ExecutionLogger(tmp_path) as log:
        asyncio.run(write(log))
    assert sorted(one.execution_id for one in read_log(tmp_path)) == sorted(map(str, range(50)))


def test_a_cancelled_append_ends_once_its_record_is_written() -> None:
    async def main() -> SlowLog:
        log = SlowLog()
        writing = asyncio.ensure_future(SharedWrites(log).append(record("0")))
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.sleep(0)
        assert not writing.done()
        log.may_go_on.release()
        with pytest.raises(asyncio.CancelledError):
            await writing
        return log

    assert asyncio.run(main()).writes == [["0"]]
