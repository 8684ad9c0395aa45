"""LoopThread: an event loop in a thread of its own, for callers that are not asynchronous."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for synchronous callers; calls go on while no caller waits."""

    def __init__(self) -> None:
        """Starts the thread; it ends with the process, or with `close`."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine and returns what it returns; interrupted, it is cancelled first."""
        future = asyncio.run_coroutine_threadsafe(main, self._loop)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            concurrent.futures.wait([future])
            raise

    def time(self) -> float:
        """Returns the loop's clock [s]."""
        return self._loop.time()

    @property
    def is_closed(self) -> bool:
        """Whether it has ended, and runs nothing any more."""
        return self._loop.is_closed()

    def close(self) -> None:
        """Cancels what runs and ends the thread; a second time does nothing."""
        if self.is_closed:
            return
        self.run(_cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
