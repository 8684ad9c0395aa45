"""to_the_end: waits for what must not be left half done."""

from __future__ import annotations

import asyncio
from typing import Any


async def to_the_end(*futures: asyncio.Future[Any]) -> None:
    """Waits until futures are done, whatever they end in; they are not cancelled.

    Raises:
        asyncio.CancelledError: this task was cancelled meanwhile; it is raised when all are done.
    """
    cancelled: asyncio.CancelledError | None = None
    while waiting := [future for future in futures if not future.done()]:
        try:
            await asyncio.wait(waiting)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
