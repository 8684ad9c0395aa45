"""Products that are rounded by themselves, compiled and not."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestai_env.compiled import compiled
from orchestai_env.exact import _plain_product, product

FLOATS = st.floats(allow_nan=False)


@compiled
def multiply(x: float, y: float) -> float:
    """Returns the product as compiled code gets it."""
    return float(product(x, y))


@compiled
def multiply_and_add(x: float, y: float, z: float) -> float:
    """Returns a product and a sum, which some compilers fuse."""
    return float(product(x, y) + z)


def bits(value: float) -> bytes:
    """Returns the bits of a float; of "not a number" only that it is none."""
    return b"nan" if math.isnan(value) else struct.pack("<d", value)


@settings(max_examples=1000)
@given(x=FLOATS, y=FLOATS)
@example(x=0.0, y=-1.0)
@example(x=math.inf, y=0.0)
@example(x=1.7e308, y=10.0)
@example(x=5e-324, y=0.5)
@example(x=2.3e-308, y=0.3)
def test_product_is_that_of_python_bit_for_bit(x: float, y: float) -> None:
    assert bits(multiply(x, y)) == bits(_plain_product(x, y)) == bits(x * y)


@settings(max_examples=1000)
@given(x=FLOATS, y=FLOATS, z=FLOATS)
@example(x=1.0 + 2.0**-30, y=1.0 - 2.0**-30, z=-1.0)  # 0 when rounded twice, else -2**-60
def test_product_is_rounded_before_it_is_added(x: float, y: float, z: float) -> None:
    rounded = x * y
    assert bits(multiply_and_add(x, y, z)) == bits(rounded + z)


@pytest.mark.parametrize(("x", "y"), [(3, 0.1), (7, 7), (True, 0.3)])
def test_product_of_whole_numbers_is_a_float(x: float, y: float) -> None:
    assert bits(multiply(x, y)) == bits(float(x) * float(y))
