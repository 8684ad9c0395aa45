"""Handles: compiled code sees through them the very arrays of a record."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestai_env.compiled import compiled, inlined
from orchestai_env.handle import WORDS, RecordType, address_table, arrays_of, map_arrays


class Inner(NamedTuple):
    """A record inside others."""

    counts: Any
    """int32, 1 dimension."""
    grid: Any
    """float64, 2 dimensions."""


class Middle(NamedTuple):
    """A record that holds one and is held."""

    small: Any
    """int8, 3 dimensions."""
    inner: Inner


class Outer(NamedTuple):
    """A record of all dtypes and dimensions that the package uses, nested two deep."""

    flags: Any
    """bool, 1 dimension."""
    middle: Middle
    cube: Any
    """float32, 3 dimensions."""
    other: Inner
    words: Any
    """int64, 2 dimensions."""
    short: Any
    """int16, 1 dimension."""


Shape = tuple[int, int, int]


def make_inner(shape: Shape, seed: int) -> Inner:
    rng = np.random.default_rng(seed)
    return Inner(rng.integers(-99, 99, shape[0]).astype(np.int32), rng.normal(size=shape[:2]))


def make(shape: Shape, seed: int = 0) -> Outer:
    """Returns random arrays; the three lengths appear in several orders."""
    rng = np.random.default_rng(seed)
    a, b, c = shape
    return Outer(
        flags=rng.integers(0, 2, b).astype(np.bool_),
        middle=Middle(rng.integers(-99, 99, shape).astype(np.int8), make_inner(shape, seed + 1)),
        cube=rng.normal(size=(c, a, b)).astype(np.float32),
        other=make_inner((b, c, a), seed + 2),
        words=rng.integers(-(2**62), 2**62, (c, b)),
        short=rng.integers(-99, 99, c).astype(np.int16),
    )


RECORD = RecordType(make((1, 1, 1)))
thaw = RECORD.thaw


@inlined
def copy_row(row: Any, into: Any) -> None:
    for i in range(len(row)):
        into[i] = row[i]


@inlined
def copy_table(table: Any, into: Any) -> None:
    for i in range(table.shape[0]):
        for j in range(table.shape[1]):
            into[i, j] = table[i, j]


@inlined
def copy_cube(cube: Any, into: Any) -> None:
    for i in range(len(cube)):
        copy_table(cube[i], into[i])


@inlined
def copy_inner(inner: Inner, into: Inner) -> None:
    copy_row(inner.counts, into.counts)
    copy_table(inner.grid, into.grid)


@compiled
def copy_out(handle: Any, into: Outer) -> None:
    """Copies every number, one by one, by the shapes that the handle tells."""
    record = thaw(handle)
    copy_row(record.flags, into.flags)
    copy_cube(record.middle.small, into.middle.small)
    copy_inner(record.middle.inner, into.middle.inner)
    copy_cube(record.cube, into.cube)
    copy_inner(record.other, into.other)
    copy_table(record.words, into.words)
    copy_row(record.short, into.short)


@compiled
def describe(handle: Any, cube: Any, table: Any, column: Any) -> None:
    """Tells how two arrays lie in memory, and copies a column across their rows."""
    record = thaw(handle)
    for axis in range(3):
        cube[axis] = record.cube.strides[axis]
    for axis in range(2):
        table[axis] = record.words.strides[axis]
    cube[3], cube[4] = record.cube.itemsize, record.cube.size
    table[3], table[4] = record.words.itemsize, record.words.size
    for i, value in enumerate(record.words[:, 1]):
        column[i] = value


@compiled
def write_through(handle: Any) -> None:
    """Changes one number of every array: the last one."""
    record = thaw(handle)
    record.flags[-1] = not record.flags[-1]
    record.middle.small[-1, -1, -1] += 1
    record.middle.inner.counts[-1] += 1
    record.middle.inner.grid[-1, -1] += 1.0
    record.cube[-1, -1, -1] += 1.0
    record.other.counts[-1] += 1
    record.other.grid[-1, -1] += 1.0
    record.words[-1, -1] += 1
    record.short[-1] += 1


def seen_through(handle: Any, like: Outer) -> Outer:
    """Returns what compiled code reads; `like` has the shapes that it ought to find."""
    into = map_arrays(like, np.zeros_like)
    copy_out(handle, into)
    return into


def assert_same(first: Outer, second: Outer) -> None:
    for array, other in zip(arrays_of(first), arrays_of(second), strict=True):
        assert array.dtype == other.dtype
        np.testing.assert_array_equal(array, other)


def test_arrays_of_a_record_come_in_the_order_of_their_fields() -> None:
    record = make((2, 3, 4))
    expected = [record.flags, record.middle.small, *record.middle.inner, record.cube]
    expected += [*record.other, record.words, record.short]
    assert list(map(id, arrays_of(record))) == list(map(id, expected))


def test_map_arrays_keeps_the_records_and_replaces_their_arrays() -> None:
    record = make((2, 3, 4))
    sizes = map_arrays(record, np.size)

    assert sizes == Outer(3, Middle(24, Inner(2, 6)), 24, Inner(3, 12), 12, 4)
    assert type(sizes.middle.inner) is Inner


@settings(max_examples=40)
@given(shape=st.tuples(*[st.integers(1, 7)] * 3), seed=st.integers(0, 1000))
def test_thawed_record_is_the_frozen_one(shape: Shape, seed: int) -> None:
    record = make(shape, seed)
    assert_same(seen_through(RECORD.freeze(record), record), record)


def test_thawed_array_knows_how_it_lies_in_memory() -> None:
    record = make((2, 3, 4))
    cube, table, column = (np.zeros(5, np.int64) for _ in range(3))
    describe(RECORD.freeze(record), cube, table, column)

    assert cube.tolist() == [*record.cube.strides, 4, record.cube.size]
    assert table.tolist() == [*record.words.strides, 0, 8, record.words.size]
    assert column[:4].tolist() == record.words[:, 1].tolist()


@pytest.mark.parametrize("shape", [(0, 2, 3), (2, 0, 3), (2, 3, 0), (0, 0, 0)])
def test_thawed_record_may_have_empty_arrays(shape: Shape) -> None:
    record = make(shape)
    assert_same(seen_through(RECORD.freeze(record), record), record)


def test_compiled_code_writes_into_the_record_itself() -> None:
    record = make((2, 3, 4))
    before = map_arrays(record, np.copy)
    handle = RECORD.freeze(record)
    write_through(handle)

    for array, old in zip(arrays_of(record), arrays_of(before), strict=True):
        assert (array != old).sum() == 1
        assert array.flat[-1] != old.flat[-1]
    assert_same(seen_through(handle, record), record)


def test_handle_shows_what_python_writes_later() -> None:
    record = make((2, 3, 4))
    handle = RECORD.freeze(record)
    record.words[1, 2] = 12345
    record.middle.inner.grid[:] = 0.5

    assert_same(seen_through(handle, record), record)


def test_with_part_swaps_one_record_and_leaves_the_rest() -> None:
    record, part = make((2, 3, 4)), make_inner((3, 4, 2), 99)
    table = address_table(part, lambda array: int(array.ctypes.data))
    handle = RECORD.with_part(RECORD.freeze(record), "other", part, table)
    expected = record._replace(other=part)

    assert_same(seen_through(handle, expected), expected)
    back = address_table(record.other, lambda array: int(array.ctypes.data))
    handle = RECORD.with_part(handle, "other", record.other, back)
    assert_same(seen_through(handle, record), record)


def test_with_part_swaps_a_nested_record_of_another_size() -> None:
    record, part = make((2, 3, 4)), make((5, 6, 1), 7).middle
    table = address_table(part, lambda array: int(array.ctypes.data))
    handle = RECORD.with_part(RECORD.freeze(record), "middle", part, table)
    expected = record._replace(middle=part)

    assert_same(seen_through(handle, expected), expected)


def test_address_table_holds_addresses_and_lengths() -> None:
    record = make((2, 3, 4))
    table = address_table(record, lambda array: int(array.ctypes.data))

    assert table.dtype == np.int64
    assert table.shape == (9, WORDS)
    assert table[:, 0].tolist() == [array.ctypes.data for array in arrays_of(record)]
    assert table[:, 1:].tolist() == [
        [3, 1, 1], [2, 3, 4], [2, 1, 1], [2, 3, 1], [4, 2, 3], [3, 1, 1], [3, 4, 1], [4, 3, 1],
        [4, 1, 1],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        (
            {"words": np.zeros((2, 3), np.int32)},
            r"array of 2 dimensions of int64, got int32 \(2, 3\) with strides \(12, 4\)",
        ),
        (
            {"cube": np.zeros((1, 2, 3))},
            r"array of 3 dimensions of float32, got float64 \(1, 2, 3\)",
        ),
        (
            {"short": np.zeros((2, 3), np.int16)},
            r"array of 1 dimensions of int16, got int16 \(2, 3\)",
        ),
        (
            {"other": Inner(np.zeros(2, np.int32), np.zeros(2))},
            r"array of 2 dimensions of float64, got float64 \(2,\)",
        ),
        (
            {"words": np.zeros((3, 2), np.int64).T},
            r"C-contiguous array of 2 .* got int64 \(2, 3\) with strides \(8, 16\)",
        ),
        (
            {"short": np.zeros(8, np.int16)[::2]},
            r"C-contiguous array of 1 .* got int16 \(4,\) with strides \(4,\)",
        ),
    ],
    ids=["dtype", "float dtype", "dimensions", "nested dimensions", "transposed", "every second"],
)
def test_freeze_refuses_what_compiled_code_would_misread(
    replaced: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=f"expected a .*{message}"):
        RECORD.freeze(make((2, 3, 4))._replace(**replaced))


def test_freeze_refuses_a_record_of_another_length() -> None:
    with pytest.raises(ValueError, match="shorter"):
        RECORD.freeze(make((2, 3, 4))[:-1])
