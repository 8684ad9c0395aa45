"""read_log: the records of an execution log, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self, get_args

import pydantic

from orchestai_env.errors import DataError, shown
from orchestai_env.execution.log.log_files import log_lines
from orchestai_env.execution.log.record import ExecutionRecord, ReadableVersion

MAX_REJECTED = 1000
"""Rejected lines that a reader lists; it counts all of them. Chosen, so that memory is bounded."""


class Rejected(NamedTuple):
    """A line that is no record."""

    file: Path
    line: int
    """From 1."""
    reason: str


class LogReader(Iterator[ExecutionRecord]):
    """Reads a log line by line; holds one record at a time."""

    def __init__(self, place: str | Path, *, skip_bad: bool) -> None:
        self.rejected: list[Rejected] = []
        """The first 1,000 lines that were left out so far."""
        self.num_rejected = 0
        """Lines that were left out so far."""
        self.num_bytes = 0
        """Length of the lines that were read so far."""
        self._lines = log_lines(place)
        self._skip_bad = skip_bad

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ExecutionRecord:
        for file, number, line in self._lines:
            self.num_bytes += len(line)
            try:
                return ExecutionRecord.model_validate_json(line)
            except pydantic.ValidationError as error:
                self._reject(Rejected(file, number, _reason(error, line)))
        raise StopIteration

    def _reject(self, rejected: Rejected) -> None:
        if not self._skip_bad:
            raise DataError(
                f"{rejected.file}:{rejected.line}: expected an execution, but {rejected.reason}; "
                "mend the line, or leave bad lines out (--skip-bad)"
            )
        self.num_rejected += 1
        if self.num_rejected <= MAX_REJECTED:
            self.rejected.append(rejected)


def read_log(place: str | Path, *, skip_bad: bool = False) -> LogReader:
    """Returns an iterator over the records of a log, in order of time of their writing.

    Args:
        place: folder of the log, or one file of any name.
        skip_bad: whether lines that are no record are left out, counted in `num_rejected` and
            listed in `rejected`.
    Raises:
        MissingFileError: there is no log at this place; when the first record is asked for.
        DataError: a line is no record, and `skip_bad` is not set; likewise.
    """
    return LogReader(place, skip_bad=skip_bad)


def reason_of(error: pydantic.ValidationError) -> str:
    """Returns as one line what is wrong with a record: its first fault, by its full path."""
    problems = error.errors(include_url=False)
    for problem in problems:
        if problem["loc"] == ("schema_version",):
            readable = " and ".join(map(str, get_args(ReadableVersion)))
            return (
                f"it has schema_version {shown(problem['input'])}, where this release reads "
                f"{readable}; read it with the release that wrote it"
            )
    first, more = problems[0], f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    reason = first["msg"].removeprefix("Value error, ")
    if first["type"] == "json_invalid":
        return reason
    path = ".".join(map(str, first["loc"]))
    got = "" if first["type"] == "missing" else f"; got {shown(first['input'])}"
    return f"{path + ': ' if path else ''}{reason}{got}{more}"


def _reason(error: pydantic.ValidationError, line: bytes) -> str:
    torn = "" if line.endswith(b"\n") else "it is incomplete (its writer was killed, or is busy): "
    return torn + reason_of(error)
