"""The left half of a picture: which worker ran which call when."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING

from orchestai_env.render.style import BAND, CRITICAL_WIDTH, INK, POINT, STYLES, WHITE, Box
from orchestai_env.schedule import CallRecord, Schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_BAR, _OVERHANG = 30.0, 22.0
_ROOM = 1.15
# End and step of a time axis, to be scaled by a power of ten.
_ROUND = (
    (1.0, 0.2),
    (1.2, 0.2),
    (1.5, 0.5),
    (2.0, 0.5),
    (2.5, 0.5),
    (3.0, 0.5),
    (4.0, 1.0),
    (5.0, 1.0),
    (6.0, 1.0),
    (8.0, 2.0),
    (10.0, 2.0),
)
_LABELS = {"failed": "{}\N{MULTIPLICATION SIGN}", "running": "{}..."}


def draw_gantt(axes: Axes, schedule: Schedule, names: list[str], box: Box) -> None:
    """Draws a row per worker over seconds, as many lanes high as calls of it overlap.

    Args:
        axes: empty axes that fill the box.
        schedule: what to draw.
        names: of the workers, short enough for the room left of the box.
        box: where the axes are.
    """
    now = schedule.clock_ms / 1000
    horizon, step = time_axis(now)
    lanes = [schedule.lanes(worker) or ((),) for worker in range(len(names))]
    edges = [0, *itertools.accumulate(map(len, lanes))]
    middles = [(top + bottom) / 2 for top, bottom in itertools.pairwise(edges)]
    axes.set(xlim=(0, horizon), ylim=(edges[-1], 0))
    axes.set_yticks(middles, names)
    ticks = [step * number for number in range(round(horizon / step) + 1)]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.tick_params(length=0, labelsize=7.5)
    axes.set_xlabel("seconds", fontsize=7.5, labelpad=1)
    axes.grid(axis="x", color="#D5D5D5", linewidth=0.6)
    axes.set_axisbelow(True)
    painter = _Painter(axes, schedule, box.width / horizon, box.height / edges[-1])
    for worker, top in enumerate(edges[:-1]):
        if worker % 2 == 0:
            axes.axhspan(top, edges[worker + 1], color=BAND, linewidth=0, zorder=0)
        for number, lane in enumerate(lanes[worker]):
            for call in lane:
                painter.draw_call(call, top + number + 0.5)
        painter.draw_queue(worker, middles[worker])
    axes.axvline(now, color=INK, linewidth=0.9, linestyle=(0, (4, 2)))


def time_axis(now: float) -> tuple[float, float]:
    """Returns end and step of the time axis: round numbers with room for a queue past the clock."""
    if now <= 0:
        return 1.0, 0.2
    least = _ROOM * now
    power = 10.0 ** math.floor(math.log10(least))
    end, step = next((pair for pair in _ROUND if pair[0] * power >= least), _ROUND[-1])
    return end * power, step * power


@dataclasses.dataclass(frozen=True, slots=True)
class _Painter:
    """The axes of the chart and their scales."""

    axes: Axes
    schedule: Schedule
    pixels_per_s: float
    lane_pixels: float

    @property
    def _overhang(self) -> float:
        """How far a call that still runs reaches past the clock [s]: it ends some time later."""
        return _OVERHANG / self.pixels_per_s

    @property
    def bar_height(self) -> float:
        """Height of a bar [lanes]."""
        return min(0.78, _MAX_BAR / self.lane_pixels)

    @property
    def font_size(self) -> float:
        """Size of the numbers on bars [points]."""
        return min(8.5, 0.75 * self.bar_height * self.lane_pixels * POINT)

    def draw_call(self, call: CallRecord, y: float) -> None:
        """Draws a call as a bar, with the number of its subtask where that fits."""
        start = (call.start_ms or 0.0) / 1000
        width = max(self.schedule.until_ms(call) / 1000 - start, 3 / self.pixels_per_s)
        if call.outcome == "running" and self.schedule.progress == "ongoing":
            width = self.schedule.clock_ms / 1000 - start + self._overhang
        self._draw_bar(y, start, width, call.outcome)
        if call.subtask in self.schedule.critical_path:
            self.axes.barh(
                y,
                width,
                left=start,
                height=self.bar_height,
                facecolor="none",
                edgecolor=INK,
                linewidth=CRITICAL_WIDTH,
            )
        marked = _LABELS.get(call.outcome, "{}").format(call.subtask)
        for label in (marked, str(call.subtask)):
            if 0.66 * self.font_size / POINT * len(label) + 3 <= width * self.pixels_per_s:
                self._write(start + width / 2, y, label, has_ground=call.outcome == "failed")
                break

    def draw_queue(self, worker: int, y: float) -> None:
        """Draws the calls that wait for the worker, as boxes behind the clock."""
        waiting = [
            str(call.subtask)
            for call in self.schedule.calls
            if call.worker == worker and call.outcome == "waiting"
        ]
        now, size = self.schedule.clock_ms / 1000 + self._overhang, 20 / self.pixels_per_s
        room = max(1, int((self.axes.get_xlim()[1] - now) / size))
        if len(waiting) > room:
            waiting = [*waiting[: room - 1], f"+{len(waiting) - room + 1}"]
        for number, label in enumerate(waiting):
            left = now + (number + 0.2) * size
            self._draw_bar(y, left, 0.8 * size, "waiting")
            self._write(left + 0.4 * size, y, label)

    def _draw_bar(self, y: float, left: float, width: float, outcome: str) -> None:
        style = STYLES[outcome]
        self.axes.barh(y, width, left=left, height=self.bar_height, linewidth=0.8, **style)

    def _write(self, x: float, y: float, label: str, *, has_ground: bool = False) -> None:
        """Writes a label; on a hatch it needs a ground of its own."""
        ground = {"facecolor": WHITE, "edgecolor": "none", "pad": 0.6} if has_ground else None
        size = self.font_size
        self.axes.text(x, y, label, fontsize=size, bbox=ground, ha="center", va="center_baseline")
