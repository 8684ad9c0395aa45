"""BufferPool: observation buffers that are written again only when nobody holds them any more."""

from __future__ import annotations

import dataclasses
import sys
from collections import deque
from typing import Any

import numpy as np

from orchestai_env.handle import Table, address_table
from orchestai_env.observation import Observation, ObservationLayout

_KEPT = 3
"""Buffers that a pool holds on to: the last observation, the one before it, and the next."""


@dataclasses.dataclass(slots=True)
class Buffer:
    """Arrays of observations: as the record that compiled code fills, and by key."""

    record: Observation
    table: Table
    """address_table of the record."""
    by_key: dict[str, Any]
    """What callers get; of a single observation, without the axis of rows."""
    watched: tuple[Any, ...]
    """The arrays by key; every view of them counts as a reference to them."""
    free_count: int
    """Reference count of each while no caller holds any."""
    handle: Any = None
    """Handle of the machine that writes here, once there is one."""


class BufferPool:
    """Hands out buffers for observations; nothing is copied and nothing held is overwritten.

    Training code keeps the observation before the last one (Stable-Baselines3 stores it after the
    next step), so writing into one buffer would corrupt roll-outs in silence. The pool looks at
    the reference counts instead: arrays that somebody still holds, views included, are left alone.
    """

    def __init__(self, layout: ObservationLayout, num_rows: int | None = None) -> None:
        """Allocates nothing yet.

        Args:
            layout: of the observations.
            num_rows: of a batch; None = single observations.
        """
        self._layout, self._num_rows = layout, num_rows
        self._buffers: deque[Buffer] = deque(maxlen=_KEPT)

    def take(self) -> Buffer:
        """Returns a buffer that nobody else holds."""
        buffers = self._buffers
        for buffer in buffers:
            if max(map(sys.getrefcount, buffer.watched)) <= buffer.free_count:
                break
        else:
            buffer = self._allocate()
            buffers.append(buffer)
        return buffer

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles without the buffers, which callers may hold."""
        return BufferPool, (self._layout, self._num_rows)

    def _allocate(self) -> Buffer:
        record = self._layout.allocate(self._num_rows or 1)
        by_key = self._layout.as_dict(record)
        if self._num_rows is None:
            by_key = {key: np.zeros(rows.shape[1:], rows.dtype) for key, rows in by_key.items()}
            record = record._replace(**{key: array[None] for key, array in by_key.items()})
        watched = tuple(by_key.values())
        table = address_table(record, lambda array: int(array.ctypes.data))
        free_count = max(map(sys.getrefcount, watched))
        return Buffer(record, table, by_key, watched, free_count)
