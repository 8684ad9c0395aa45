"""The right half of a picture: the subtasks and what each of them needs."""

from __future__ import annotations

import dataclasses
import itertools
import textwrap
from typing import TYPE_CHECKING, Any

from orchestai_env.render.layout import bend, dag_layout
from orchestai_env.render.style import (
    CRITICAL_WIDTH,
    INK,
    MUTED,
    POINT,
    PURPLE,
    STYLES,
    WHITE,
    Box,
)
from orchestai_env.render.text import shortened
from orchestai_env.schedule import Schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GROUND = {"facecolor": WHITE, "edgecolor": "none", "pad": 0.3, "alpha": 0.85}
_MAX_RADIUS, _CHARACTER, _TYPE_FONT = 14.0, 4.9, 6.8


def draw_dag(axes: Axes, schedule: Schedule, box: Box) -> None:
    """Draws a circle per subtask, parents above, and an arrow per link.

    Args:
        axes: empty axes that fill the box.
        schedule: what to draw.
        box: where the axes are.
    """
    parents = [subtask.parents for subtask in schedule.subtasks]
    layout = dag_layout(parents)
    axes.set(xlim=(0, box.width), ylim=(box.height, 0))
    row, column = box.height / layout.num_rows, box.width / layout.num_columns
    painter = _Painter(
        axes,
        schedule,
        places=[(x * box.width, y * box.height) for x, y in zip(layout.x, layout.y, strict=True)],
        radius=min(_MAX_RADIUS, 0.4 * row, 0.4 * column),
        row=row,
        widths=[share * box.width for share in layout.widths],
    )
    path = schedule.critical_path
    critical = set(itertools.pairwise(path))
    for child, above in enumerate(parents):
        for parent in above:
            painter.draw_link(parent, child, is_critical=(parent, child) in critical)
    for i in range(len(parents)):
        painter.draw_subtask(i, is_critical=i in path)


def shown_status(schedule: Schedule, i: int) -> str:
    """Returns the status of a subtask; a call that waits shows, one that was dropped does not."""
    status = schedule.subtasks[i].status
    if status != "running":
        return status
    outcome = schedule.calls_of(i)[-1].outcome
    return "pending" if outcome == "dropped" else outcome


@dataclasses.dataclass(frozen=True, slots=True)
class _Painter:
    """The axes of the DAG, one unit a pixel."""

    axes: Axes
    schedule: Schedule
    places: list[tuple[float, float]]
    radius: float
    row: float
    widths: list[float]

    def draw_link(self, parent: int, child: int, *, is_critical: bool) -> None:
        """Draws an arrow from a subtask to one that needs it, bent where others are in the way."""
        gap = (self.radius + 1) * POINT
        start, end = self.places[parent], self.places[child]
        others = [place for i, place in enumerate(self.places) if i not in (parent, child)]
        arc = f"arc3,rad={bend(start, end, others, self.radius + 3)}"
        self.axes.annotate(
            "",
            xy=end,
            xytext=start,
            arrowprops={
                "arrowstyle": "-|>,head_width=0.16,head_length=0.32",
                "connectionstyle": arc,
                "color": INK if is_critical else "#A0A0A0",
                "linewidth": CRITICAL_WIDTH if is_critical else 0.8,
                "shrinkA": gap,
                "shrinkB": gap,
                "zorder": 2 if is_critical else 1,
            },
        )

    def draw_subtask(self, i: int, *, is_critical: bool) -> None:
        """Draws a subtask with its number, its failed calls and, where there is room, its type."""
        x, y = self.places[i]
        status = shown_status(self.schedule, i)
        self._draw_circle(x, y, 0, zorder=4, linewidth=0.9, **STYLES[status])
        if i == self.schedule.current:
            self._draw_circle(x, y, 4, zorder=3, color=PURPLE, linewidth=0)
        if is_critical:
            outline = {"facecolor": "none", "edgecolor": INK, "linewidth": CRITICAL_WIDTH}
            self._draw_circle(x, y, 0, zorder=5, **outline)
        self._write(x, y, str(i), status)
        num_failed = sum(call.outcome == "failed" for call in self.schedule.calls_of(i))
        if num_failed:
            self._write_failures(x, y, num_failed)
        self._write_type(i, x, y)

    def _draw_circle(self, x: float, y: float, margin: float, **style: Any) -> None:
        """Draws a circle that is larger than a subtask's by a margin; the box does not cut it."""
        size = (2 * (self.radius + margin) * POINT) ** 2
        self.axes.scatter(x, y, s=size, clip_on=False, **style)

    def _write(self, x: float, y: float, label: str, status: str) -> None:
        """Writes a label into a circle; on a hatch it needs a ground of its own."""
        self.axes.text(
            x,
            y,
            label,
            fontsize=min(8.5, self.radius * 0.95 * POINT + 1),
            ha="center",
            va="center_baseline",
            zorder=6,
            bbox=_GROUND if status == "failed" else None,
        )

    def _write_failures(self, x: float, y: float, number: int) -> None:
        """Writes the number of failed calls to the upper right of a circle."""
        side = 0.8 * self.radius
        self.axes.text(
            x + side,
            y - side,
            f"\N{MULTIPLICATION SIGN}{number}",
            fontsize=min(7.5, self.radius * POINT),
            fontweight="bold",
            color=STYLES["failed"]["edgecolor"],
            ha="left",
            va="center",
            zorder=7,
        )

    def _write_type(self, i: int, x: float, y: float) -> None:
        """Writes the task type under the circle, or right of it where rows are low."""
        name = self.schedule.subtasks[i].task_type
        below = self.row >= 2 * self.radius + 16
        room = self.widths[i] - 8 if below else self.widths[i] / 2 - 2 * self.radius - 6
        characters = int(room / _CHARACTER)
        if characters < 7:
            return
        lines = [name]
        if self.row >= 2 * self.radius + 28:
            words = textwrap.wrap(name.replace("_", " "), characters, break_long_words=False)
            lines = words if len(words) <= 2 else lines
        text = "\n".join(shortened(line, characters) for line in lines)
        side = self.radius + 5
        self.axes.text(
            x if below else x + side + self.radius,
            y + side - 2 if below else y,
            text,
            fontsize=_TYPE_FONT,
            color=MUTED,
            ha="center" if below else "left",
            va="top" if below else "center_baseline",
            linespacing=0.95,
            zorder=6,
            bbox=_GROUND,
        )
