"""A matplotlib backend that opens windows which nobody sees."""

from __future__ import annotations

from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg

WAITS: list[float] = []
"""Seconds that windows were left to live, one entry per picture."""


class FigureManager(FigureManagerBase):
    """A window."""

    def show(self) -> None:
        """Opens nothing."""


class FigureCanvas(FigureCanvasAgg):
    """What is in the window."""

    manager_class = FigureManager

    def start_event_loop(self, timeout: float = 0) -> None:
        """Draws the picture and notes the time instead of waiting."""
        self.draw()
        WAITS.append(timeout)
