"""`product`: multiplication that gives the same bits on a CPU and a GPU.

GPU compilers fuse a product and a sum into one operation that rounds once, a CPU rounds twice. The
state of an episode is to be the same on both, so its products are kept apart.
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic


def _plain_product(x: float, y: float) -> float:
    """Returns x * y, rounded by itself."""
    return x * y


def _compiled_product(typing_context: Any, x: Any, y: Any) -> Any:
    """Returns x * y, rounded by itself."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if "cuda" not in type(context).__module__:
            return builder.fmul(*args)
        double = ir.DoubleType()
        instruction = "mul.rn.f64 $0, $1, $2;"  # ".rn" is what forbids fusing it
        multiply = ir.InlineAsm(ir.FunctionType(double, [double] * 2), instruction, "=d,d,d")
        return builder.call(multiply, args)

    return types.float64(types.float64, types.float64), generate


product: Any = (
    _plain_product
    if numba.config.DISABLE_JIT  # type: ignore[attr-defined]
    else intrinsic(_compiled_product)
)
