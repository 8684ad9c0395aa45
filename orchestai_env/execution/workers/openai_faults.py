"""Why an OpenAI-compatible endpoint gave no answer: errors of the client as WorkerCallError."""

from __future__ import annotations

import email.utils
import math
from collections.abc import Mapping
from datetime import UTC, datetime

import openai

from orchestai_env.execution.workers.keys import said
from orchestai_env.execution.workers.worker import Fault, WorkerCallError


def failure_of(error: openai.OpenAIError, name: str, key: str) -> WorkerCallError:
    """Returns what an error of the client means; the result does not refer to the error.

    Args:
        error: as it was caught.
        name: of the worker.
        key: hidden in what the server says.
    """
    if isinstance(error, openai.APIStatusError):
        return _status_failure(error, name, key)
    fault: Fault = "connection" if isinstance(error, openai.APIConnectionError) else "malformed"
    why = f": {type(error.__cause__).__name__}: {error.__cause__}" if error.__cause__ else ""
    return WorkerCallError(f"worker {name!r}: {said(f'{error}{why}', key)}", fault=fault)


def _status_failure(error: openai.APIStatusError, name: str, key: str) -> WorkerCallError:
    wait_s = retry_after_s(error.response.headers)
    wait = "" if wait_s is None else f", to be tried again in {wait_s:g} s"
    body = error.body
    reason = said(body.get("message") if isinstance(body, dict) else error.response.text, key)
    return WorkerCallError(
        f"worker {name!r}: HTTP {error.status_code}{wait}: {reason or 'no reason given'}",
        fault=_fault(error.status_code, error.code),
        retry_after_s=wait_s,
    )


def _fault(status: int, code: str | None) -> Fault:
    # OpenAI says 429, too, when an account has run out of money, which no waiting mends.
    # Source: OpenAI, "Error codes", 429 "You exceeded your current quota".
    if status == 429 and code != "insufficient_quota":
        return "rate_limit"
    if status >= 500:
        return "server"
    return "timeout" if status == 408 else "refused"


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Returns the seconds that a server asks to wait, >= 0; None where it does not say.

    Args:
        headers: of the response, by lower-case name. `retry-after-ms` (OpenAI) comes before
            `retry-after`, which is seconds or a date (RFC 9110, 10.2.3); a date is measured against
            the server's own clock where it sends one.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000.0
    value = headers.get("retry-after")
    seconds, until = _number(value), _date(value)
    if seconds is None and until is not None:
        now = _date(headers.get("date")) or datetime.now(UTC)
        seconds = max(0.0, (until - now).total_seconds())
    return seconds


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _date(text: str | None) -> datetime | None:
    try:
        date = email.utils.parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
