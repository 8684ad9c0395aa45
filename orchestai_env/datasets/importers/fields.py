"""Checked fields of a record: text, and numbers from text or JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from orchestai_env.errors import DataError, shown


def text(fields: Mapping[str, Any], key: str, *, may_be_empty: bool = False) -> str:
    """Returns a text.

    Raises:
        DataError: it is missing, no text, or empty.
    """
    value = fields.get(key)
    if value is None and may_be_empty:
        return ""
    if not isinstance(value, str) or not (value.strip() or may_be_empty):
        raise DataError(f"{key}: expected text, got {_got(fields, key)}")
    return value


def number(fields: Mapping[str, Any], key: str, *, most: float = math.inf) -> float | None:
    """Returns a number of 0..most; None where nothing was recorded: no key, null, NaN, no text.

    Raises:
        DataError: it is no number, or out of range.
    """
    value = fields.get(key)
    if value is None or value == "":
        return None
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        parsed = float(value)
    except (ValueError, OverflowError):
        parsed = -1.0
    if math.isnan(parsed):
        return None
    if not 0.0 <= parsed <= most or math.isinf(parsed):
        expected = "0 or more" if math.isinf(most) else f"0..{most:g}"
        raise DataError(f"{key}: expected a number, {expected}, got {shown(value)}")
    return parsed


def _got(fields: Mapping[str, Any], key: str) -> str:
    return shown(fields[key]) if key in fields else f"no such key among {', '.join(fields)}"
