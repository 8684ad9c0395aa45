"""BufferPool: observation buffers that are written again only when nobody holds them any more."""

from __future__ import annotations

import dataclasses
import sys
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

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
    free_counts: list[int]
    """Their reference counts while no caller holds any."""
    handle: Any = None
    """Handle of the machine that writes here, once there is one."""


BufferType = TypeVar("BufferType", bound=Buffer)


class BufferPool(Generic[BufferType]):
    """Hands out buffers for observations; nothing is copied and nothing held is overwritten.

    Training code keeps the observation before the last one (Stable-Baselines3 stores it after the
    next step), so writing into one buffer would corrupt roll-outs in silence. The pool looks at
    the reference counts instead: arrays that somebody still holds, views included, are left alone.
    """

    def __init__(self, allocate: Callable[[], BufferType]) -> None:
        """Allocates nothing yet."""
        self._allocate = allocate
        self._buffers: deque[BufferType] = deque(maxlen=_KEPT)

    def take(self) -> BufferType:
        """Returns a buffer that nobody else holds."""
        buffers = self._buffers
        for buffer in buffers:
            if list(map(sys.getrefcount, buffer.watched)) == buffer.free_counts:
                break
        else:
            buffer = self._allocate()
            buffers.append(buffer)
        return buffer

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles without the buffers, which callers may hold."""
        return BufferPool, (self._allocate,)


def batch_buffer(layout: ObservationLayout, num_rows: int) -> Buffer:
    """Allocates observations of `num_rows` rows."""
    record = layout.allocate(num_rows)
    return _buffer(record, layout.as_dict(record))


def single_buffer(layout: ObservationLayout) -> Buffer:
    """Allocates one observation; its arrays by key are without the axis of rows."""
    record = layout.allocate(1)
    by_key = {
        key: np.zeros(rows.shape[1:], rows.dtype) for key, rows in layout.as_dict(record).items()
    }
    arrays: dict[str, Any] = {key: array[None] for key, array in by_key.items()}
    return _buffer(record._replace(**arrays), by_key)


def _buffer(record: Observation, by_key: dict[str, Any]) -> Buffer:
    watched = tuple(by_key.values())
    table = address_table(record, lambda array: int(array.ctypes.data))
    return Buffer(record, table, by_key, watched, list(map(sys.getrefcount, watched)))
