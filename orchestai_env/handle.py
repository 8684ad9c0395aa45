"""Handles: a record of arrays passed to compiled code as one table of addresses and shapes.

Compiled code takes NamedTuples of some sixty arrays. Passing them from Python one by one costs
ten times the step itself, and a GPU kernel has no room for so many arguments. `freeze` notes where
the arrays lie, once; inside compiled code `thaw` makes the record again, on a CPU or a GPU, and
what is not read costs nothing. Where nothing is compiled, the record is its own handle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

WORDS = 4
"""Words of an array in a handle: its address and up to three lengths."""

Table = npt.NDArray[np.int64]
Record = TypeVar("Record", bound=tuple[Any, ...])

_INT64 = ir.IntType(64)


def arrays_of(record: tuple[Any, ...]) -> Iterator[Any]:
    """Yields the arrays of nested NamedTuples, in order."""
    for field in record:
        if isinstance(field, tuple):
            yield from arrays_of(field)
        else:
            yield field


def map_arrays(record: Record, function: Callable[[Any], Any]) -> Record:
    """Returns the record with function(array) in the place of every array."""
    fields = (
        map_arrays(field, function) if isinstance(field, tuple) else function(field)
        for field in record
    )
    return type(record)(*fields)


def address_table(record: tuple[Any, ...], address: Callable[[Any], int]) -> Table:
    """Returns int64 (arrays, 4): address and lengths of every array of a record."""
    arrays = list(arrays_of(record))
    table = np.ones((len(arrays), WORDS), np.int64)
    for row, array in zip(table, arrays, strict=True):
        row[0] = address(array)
        row[1 : 1 + array.ndim] = array.shape
    return table


class RecordType:
    """A type of record, known by a sample; makes handles and gives records back."""

    def __init__(self, sample: tuple[Any, ...]) -> None:
        """Notes the types of the sample's arrays."""
        self.is_compiled = not numba.config.DISABLE_JIT  # type: ignore[attr-defined]
        self._kinds = [(array.dtype, array.ndim) for array in arrays_of(sample)]
        self._first = {}
        place = 0
        for name, field in zip(type(sample)._fields, sample, strict=True):  # type: ignore[attr-defined]
            self._first[name] = place
            place += len(list(arrays_of((field,))))
        self.thaw: Any = _thaw_as(sample) if self.is_compiled else _itself

    def freeze(self, record: tuple[Any, ...]) -> Any:
        """Returns the handle of a record; whoever keeps it must keep the record too.

        Raises:
            TypeError: an array has another dtype or dimension than the sample's, or is not
                C-contiguous.
        """
        for (dtype, ndim), array in zip(self._kinds, arrays_of(record), strict=True):
            if (array.dtype, array.ndim) != (dtype, ndim) or not array.flags.c_contiguous:
                raise TypeError(
                    f"expected a C-contiguous array of {ndim} dimensions of {dtype}, got "
                    f"{array.dtype} {array.shape} with strides {array.strides}"
                )
        if not self.is_compiled:
            return record
        return address_table(record, lambda array: int(array.ctypes.data))

    def with_part(self, handle: Any, name: str, part: tuple[Any, ...], table: Table) -> Any:
        """Returns the handle with another record in the field `name`; changes it where it can.

        Args:
            handle: of the whole record.
            name: a field that is a record itself.
            part: the record to put there.
            table: its address_table.
        """
        if not self.is_compiled:
            return handle._replace(**{name: part})
        first = self._first[name]
        handle[first : first + len(table)] = table
        return handle


def _itself(handle: Any) -> Any:
    return handle


def _thaw_as(sample: tuple[Any, ...]) -> Any:
    """Returns a function of compiled code that makes a record like the sample from its handle."""
    record_type: Any = numba.typeof(sample)  # type: ignore[no-untyped-call]

    def thaw(typing_context: Any, handle: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            table = context.make_helper(builder, signature.args[0], value=args[0])
            return _record(context, builder, record_type, _words(builder, table.data))

        return record_type(handle), generate

    return intrinsic(thaw)


def _words(builder: Any, table: Any) -> Iterator[Any]:
    """Yields instructions that read the table word by word."""
    place = 0
    while True:
        yield builder.load(builder.gep(table, [ir.Constant(_INT64, place)]))
        place += 1


def _record(context: Any, builder: Any, kind: Any, words: Iterator[Any]) -> Any:
    if isinstance(kind, types.Array):
        return _array(context, builder, kind, [next(words) for _ in range(WORDS)])
    fields = [_record(context, builder, field, words) for field in kind.types]
    return context.make_tuple(builder, kind, fields)


def _array(context: Any, builder: Any, kind: Any, words: list[Any]) -> Any:
    """Returns numba's structure of a C-contiguous array that numba does not own."""
    array = context.make_helper(builder, kind)
    size = context.get_abi_sizeof(context.get_data_type(kind.dtype))
    shape = words[1 : 1 + kind.ndim]
    step = ir.Constant(_INT64, size)
    strides: list[Any] = []
    for length in reversed(shape):
        strides.insert(0, step)
        step = builder.mul(step, length)
    nitems = ir.Constant(_INT64, 1)
    for length in shape:
        nitems = builder.mul(nitems, length)
    array.data = builder.inttoptr(words[0], array.data.type)
    array.shape = _packed(builder, shape)
    array.strides = _packed(builder, strides)
    array.itemsize = ir.Constant(_INT64, size)
    array.nitems = nitems
    array.meminfo = ir.Constant(array.meminfo.type, None)
    array.parent = ir.Constant(array.parent.type, None)
    return array._getvalue()


def _packed(builder: Any, values: list[Any]) -> Any:
    packed = ir.Constant(ir.ArrayType(_INT64, len(values)), ir.Undefined)
    for place, value in enumerate(values):
        packed = builder.insert_value(packed, value, place)
    return packed
