"""Equality of nested data with tensors, such as checkpoints."""

from __future__ import annotations

from typing import Any

import torch


def assert_equal(first: Any, second: Any, place: str = "") -> None:
    """Asserts that both are equal bit for bit, dictionaries in their order too."""
    if isinstance(first, dict):
        assert list(first) == list(second), place
        for key in first:
            assert_equal(first[key], second[key], f"{place}.{key}")
    elif isinstance(first, list):
        assert len(first) == len(second), place
        for index, (ours, theirs) in enumerate(zip(first, second, strict=True)):
            assert_equal(ours, theirs, f"{place}[{index}]")
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second), place
    else:
        assert first == second, place
