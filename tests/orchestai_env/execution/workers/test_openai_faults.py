"""Retry-After in all its forms."""

from __future__ import annotations

import pytest

from orchestai_env.execution.workers.openai_faults import retry_after_s

DATE = "Mon, 05 Jan 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "12"}, 12.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "12"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "12"}, 12.0),
        ({"retry-after": "Mon, 05 Jan 2026 10:00:30 GMT", "date": DATE}, 30.0),
        ({"retry-after": "Mon, 05 Jan 2026 10:00:30 -0000", "date": DATE}, 30.0),
        ({"retry-after": "Mon, 05 Jan 2026 09:59:00 GMT", "date": DATE}, 0.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "later"}, None),
        ({"retry-after": ""}, None),
    ],
)
def test_retry_after_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers) == seconds
