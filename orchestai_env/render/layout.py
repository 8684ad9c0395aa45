"""Where the picture of a DAG puts its subtasks: rows by depth, ordered under their parents."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

Point = tuple[float, float]

_BENDS = (0.0, 0.2, -0.2, 0.35, -0.35, 0.5, -0.5, 0.7, -0.7)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DagLayout:
    """A place for every subtask; both coordinates are in 0..1, and y grows downwards."""

    x: tuple[float, ...]
    rows: tuple[int, ...]
    """Row of each subtask, 0 on top; above that of every subtask that depends on it."""
    widths: tuple[float, ...]
    """Share of the width that each subtask has for itself; alike within a row."""
    num_rows: int
    num_columns: int
    """Most subtasks in a row."""

    @property
    def y(self) -> tuple[float, ...]:
        """Middle of each subtask's row."""
        return tuple((row + 0.5) / self.num_rows for row in self.rows)


def dag_layout(parents: Sequence[Sequence[int]]) -> DagLayout:
    """Places the subtasks of a DAG.

    A depth has a row of its own, or several where it has too many subtasks for one; within a row
    they stand in the order of their parents' mean place.

    Args:
        parents: of each subtask, indexes below its own; at least one subtask.
    """
    depth = depths(parents)
    most = max(4, math.ceil(math.sqrt(len(parents))))
    x: dict[int, float] = {}
    rows: list[list[int]] = []
    for level in range(max(depth) + 1):
        means = {
            i: sum(x[p] for p in parents[i]) / len(parents[i]) if parents[i] else 0.5
            for i, d in enumerate(depth)
            if d == level
        }
        members = sorted(means, key=lambda i: (means[i], i))
        count = math.ceil(len(members) / most)
        for first in range(count):
            row = members[first::count]
            shift = (first + 0.5) / count - 0.5
            x.update({i: (place + 0.5 + shift / 2) / len(row) for place, i in enumerate(row)})
            rows.append(row)
    row_of = {i: number for number, row in enumerate(rows) for i in row}
    return DagLayout(
        x=tuple(x[i] for i in range(len(parents))),
        rows=tuple(row_of[i] for i in range(len(parents))),
        widths=tuple(1 / len(rows[row_of[i]]) for i in range(len(parents))),
        num_rows=len(rows),
        num_columns=max(map(len, rows)),
    )


def depths(parents: Sequence[Sequence[int]]) -> list[int]:
    """Returns the number of links on the longest way to each subtask."""
    found: list[int] = []
    for above in parents:
        found.append(1 + max((found[p] for p in above), default=-1))
    return found


def bend(start: Point, end: Point, others: Iterable[Point], clearance: float) -> float:
    """Returns how far to bend a link, so that it passes the other subtasks by.

    The link is a quadratic Bezier curve; its control point lies beside the middle between start
    and end, at this share of their distance. The smallest bend counts that keeps the clearance,
    else the one that comes closest to it.

    Args:
        start: of the link.
        end: of the link.
        others: what it should not touch.
        clearance: least distance to keep from them.
    """
    avoided = list(others)
    best, widest = 0.0, -1.0
    for candidate in _BENDS:
        curve = _curve(start, end, candidate)
        gap = min((math.dist(p, q) for p in curve for q in avoided), default=clearance)
        if gap >= clearance:
            return candidate
        if gap > widest:
            best, widest = candidate, gap
    return best


def _curve(start: Point, end: Point, share: float) -> list[Point]:
    """Returns points along a bent link; y grows downwards."""
    (x0, y0), (x1, y1) = start, end
    control = ((x0 + x1) / 2 - share * (y1 - y0), (y0 + y1) / 2 + share * (x1 - x0))
    points = []
    for step in range(1, 20):
        t = step / 20
        a, b, c = (1 - t) ** 2, 2 * t * (1 - t), t**2
        points.append((a * x0 + b * control[0] + c * x1, a * y0 + b * control[1] + c * y1))
    return points
