"""An event loop whose time jumps to the next timer, so that tests wait for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop that is never idle: where it would sleep, its clock moves on instead."""

    def __init__(self) -> None:
        """Starts at 0 s."""
        super().__init__()
        self._now_s = 0.0
        selector: Any = self._selector  # type: ignore[attr-defined]
        select = selector.select

        def skip(timeout: float | None = None) -> Any:
            """Looks for what is ready, and lets the time pass that was to be slept."""
            if timeout is None:  # only another thread can wake the loop
                return select(None)
            self._now_s += max(0.0, timeout)
            return select(0)

        selector.select = skip

    def time(self) -> float:
        """Returns the virtual time [s]."""
        return self._now_s


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
