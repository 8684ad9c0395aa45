"""Stop signals: Ctrl-C and SIGTERM end a collection cleanly."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether a collection was told to stop."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        """The first that came."""


@contextlib.contextmanager
def stop_signals(on_stop: Callable[[], object] = lambda: None) -> Iterator[Stop]:
    """Turns the signals into a note while the block lasts; after the first, others do nothing.

    Where one came, Ctrl-C ends the process at once after the block, without a traceback: threads
    that still wait for a function of the user would hold it up.

    Args:
        on_stop: called once, in the main thread, between any two of its instructions.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():  # others get no signals
        yield stop
        return

    def note(number: int, _: FrameType | None) -> None:
        if stop.signal is None:
            stop.signal = signal.Signals(number)
            on_stop()

    before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if stop.signal else handler)
