"""Colours, hatches and lengths that all parts of a picture share."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BASE_WIDTH = 800
"""Width [pixels] that all lengths refer to; a wider picture scales them."""

BASE_DPI = 100
POINT = 72 / BASE_DPI
"""Points per pixel."""

# Okabe and Ito, "Color Universal Design" (2008). Hatches and outlines tell the same without colour.
INK, MUTED, BAND, WHITE, PURPLE = "#000000", "#777777", "#F3F3F3", "#FFFFFF", "#CC79A7"

STYLES: dict[str, dict[str, Any]] = {
    "succeeded": {"facecolor": "#009E73", "edgecolor": "#00684C"},
    "failed": {"facecolor": WHITE, "edgecolor": "#D55E00", "hatch": "//////"},
    "running": {"facecolor": "#A9D8F3", "edgecolor": "#0072B2", "linestyle": (0, (3, 2))},
    "waiting": {"facecolor": "#E69F00", "edgecolor": INK, "linestyle": (0, (1, 1))},
    "ready": {"facecolor": "#F0E442", "edgecolor": MUTED},
    "pending": {"facecolor": WHITE, "edgecolor": MUTED},
}
"""How matplotlib fills and outlines a call or subtask in each state."""

CRITICAL_WIDTH = 1.7
"""Width of the black line around what is on the critical path [points]."""


@dataclasses.dataclass(frozen=True, slots=True)
class Box:
    """A part of a picture, in pixels from its upper left corner."""

    left: float
    top: float
    width: float
    height: float

    def add_axes(self, figure: Figure, picture_height: float) -> Axes:
        """Returns new axes that fill the box, without frame or vertical ticks."""
        bottom = picture_height - self.top - self.height
        axes = figure.add_axes(
            (
                self.left / BASE_WIDTH,
                bottom / picture_height,
                self.width / BASE_WIDTH,
                self.height / picture_height,
            )
        )
        axes.set(xticks=[], yticks=[])
        axes.patch.set_alpha(0)
        axes.spines[:].set_visible(False)
        return axes
