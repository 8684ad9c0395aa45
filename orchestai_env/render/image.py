"""A schedule as a picture: a Gantt chart of the workers beside the DAG of the subtasks.

matplotlib is imported when a picture is drawn, and what it keeps for the whole process stays as it
was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from orchestai_env.errors import ConfigError
from orchestai_env.render.dag import draw_dag
from orchestai_env.render.extra import needs_render_extra
from orchestai_env.render.gantt import draw_gantt
from orchestai_env.render.style import (
    BASE_DPI,
    BASE_WIDTH,
    CRITICAL_WIDTH,
    INK,
    PURPLE,
    STYLES,
    Box,
)
from orchestai_env.render.text import figures, headline, shortened
from orchestai_env.schedule import Schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Image = npt.NDArray[np.uint8]

MIN_WIDTH, MIN_HEIGHT = 400, 250
"""Pixels; below that nothing can be read."""

_TOP, _BOTTOM, _MARGIN, _DAG_WIDTH = 50.0, 58.0, 12.0, 250.0
_MAX_NAME, _CHARACTER = 27, 5.8
_LEGEND = {
    "succeeded": "succeeded",
    "failed": "failed (\N{MULTIPLICATION SIGN})",
    "running": "running (...)",
    "waiting": "waiting for a slot",
    "ready": "ready",
    "pending": "pending",
}


def render_image(schedule: Schedule, *, width: int = 960, height: int = 600) -> Image:
    """Draws a schedule as a picture.

    Left: a row per worker with the calls that it ran; a call that still runs reaches up to the
    clock. Right: the DAG. The critical path is outlined in black.

    Args:
        schedule: what to draw.
        width: pixels, >= 400.
        height: pixels, >= 250.
    Returns:
        uint8 (height, width, 3), RGB.
    Raises:
        ConfigError: the picture would be too small to read.
        MissingPackageError: matplotlib is not installed.
    """
    if width < MIN_WIDTH or height < MIN_HEIGHT:
        raise ConfigError(
            f"picture: expected at least {MIN_WIDTH} x {MIN_HEIGHT} pixels, got {width} x {height}"
        )
    with needs_render_extra():
        from matplotlib import style
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    dpi = BASE_DPI * width / BASE_WIDTH
    with style.context("default"):
        # Half a pixel more, so that rounding down does not lose one.
        figure = Figure(figsize=((width + 0.5) / dpi, (height + 0.5) / dpi), dpi=dpi)
        canvas: Any = FigureCanvasAgg(figure)
        _draw(figure, schedule, height * BASE_WIDTH / width)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def _draw(figure: Figure, schedule: Schedule, height: float) -> None:
    """Lays both charts out between a headline and a legend."""
    for y, size, weight, line in (
        (15.0, 9.5, "bold", headline(schedule)),
        (34.0, 8.5, "normal", "      ".join(figures(schedule))),
    ):
        place = (_MARGIN / BASE_WIDTH, 1 - y / height)
        figure.text(*place, line, fontsize=size, fontweight=weight, va="center")
    names = [shortened(name, _MAX_NAME) for name in schedule.workers]
    left = _MARGIN + 8 + _CHARACTER * max(map(len, names))
    right = BASE_WIDTH - _DAG_WIDTH - _MARGIN
    chart = Box(left, _TOP, right - 1.5 * _MARGIN - left, height - _TOP - _BOTTOM)
    draw_gantt(chart.add_axes(figure, height), schedule, names, chart)
    dag = Box(right, _TOP - 8, _DAG_WIDTH, height - _TOP - _BOTTOM + 28)
    draw_dag(dag.add_axes(figure, height), schedule, dag)
    _draw_legend(Box(0, height - 24, BASE_WIDTH, 22).add_axes(figure, height))


def _draw_legend(axes: Axes) -> None:
    for state, label in _LEGEND.items():
        axes.scatter([], [], s=70, marker="s", linewidth=0.9, label=label, **STYLES[state])
    axes.plot([], [], "o", ms=8, mew=3, mfc="none", mec=PURPLE, label="to be decided")
    axes.plot([], [], color=INK, linewidth=CRITICAL_WIDTH, label="critical path")
    axes.legend(
        loc="center",
        ncol=len(_LEGEND) + 2,
        frameon=False,
        fontsize=7.5,
        handletextpad=0.3,
        columnspacing=1.4,
        handlelength=1.2,
    )
