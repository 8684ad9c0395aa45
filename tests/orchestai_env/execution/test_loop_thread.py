"""LoopThread: coroutines for callers that are not asynchronous."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from orchestai_env.execution.loop_thread import LoopThread


async def double(x: int) -> int:
    await asyncio.sleep(0)
    return 2 * x


def test_coroutines_run_in_one_loop_of_another_thread() -> None:
    thread, names = LoopThread(), set()

    async def where() -> int:
        names.add(threading.current_thread().name)
        return id(asyncio.get_running_loop())

    assert thread.run(where()) == thread.run(where())
    assert names != {threading.current_thread().name}
    assert thread.run(double(4)) == 8
    thread.close()


def test_errors_reach_the_caller() -> None:
    thread = LoopThread()

    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        thread.run(fail())
    thread.close()


@pytest.fixture
def _ctrl_c() -> Iterator[None]:
    """Has Ctrl-C raise, also where the tests run in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c")
def test_ctrl_c_reaches_the_caller_once_its_coroutine_has_ended() -> None:
    thread, ended = LoopThread(), []

    async def work() -> None:
        try:
            await asyncio.sleep(0.1)  # until the caller waits
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(1e6)
        finally:
            await asyncio.sleep(0.05)
            ended.append(True)

    with pytest.raises(KeyboardInterrupt):
        thread.run(work())
    assert ended == [True]
    thread.close()


def test_close_cancels_what_runs_and_may_be_called_twice() -> None:
    thread, ended = LoopThread(), []

    async def work() -> None:
        try:
            await asyncio.sleep(1e6)
        finally:
            ended.append(True)

    async def start() -> None:
        thread.kept = asyncio.ensure_future(work())  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    thread.run(start())
    thread.close()
    thread.close()

    assert ended == [True]
