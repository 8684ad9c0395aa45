"""LeftOut: what an import does with a bad line."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from orchestai_env.errors import DataError

SHOWN = 5
"""Lines that a summary shows; the file of an import has all."""


class LeftOut:
    """Refuses the first bad line, or lists all of them in a file and goes on."""

    def __init__(self, path: Path | None) -> None:
        """Takes the file to list them in, made when there is one; None refuses the first."""
        self.count = 0
        self.first: list[str] = []
        self._path = path
        self._file: TextIO | None = None

    def add(self, place: str, reason: str) -> None:
        """Takes one bad line.

        Args:
            place: file and line (of a Parquet file: row), from 1.
            reason: what was expected and what came.
        Raises:
            DataError: bad lines are refused; the message has place and reason.
        """
        line = f"{place}: {' '.join(reason.split())}"
        if self._path is None:
            raise DataError(f"{line}; repair the line, or leave such lines out with --skip-bad")
        if self._file is None:
            self._file = self._path.open("w", encoding="utf-8")
        self._file.write(line + "\n")
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(line)

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
