"""Files of an execution log: how they are named, in which order they stand, how they are read."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Iterator
from pathlib import Path

from orchestai_env.errors import MissingFileError

_NAME = re.compile(r"executions-(\d{4}-\d{2}-\d{2})(?:\.(\d{3,}))?\.jsonl")


def log_name(day: datetime.date, index: int) -> str:
    """Returns the name of a file: executions-DAY.jsonl, then executions-DAY.001.jsonl.

    Args:
        day: UTC day on which its records are written.
        index: number of the file within the day, from 0.
    """
    return f"executions-{day.isoformat()}{f'.{index:03d}' if index else ''}.jsonl"


def newest_index(folder: Path, day: datetime.date) -> int:
    """Returns the number of the last file of a day, 0 where there is none.

    Raises:
        OSError: the folder cannot be listed.
    """
    places = [_place(name) for name in os.listdir(folder)]
    return max((place[1] for place in places if place and place[0] == day.isoformat()), default=0)


def log_files(place: Path) -> list[Path]:
    """Returns the files of a log in order of time.

    Args:
        place: folder, or one file of any name.
    Raises:
        MissingFileError: there is nothing at this place.
    """
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise MissingFileError(f"{place}: expected an execution log, got no file or folder there")
    found = [(_place(path.name), path) for path in place.iterdir()]
    return [path for _, path in sorted((order, path) for order, path in found if order)]


def log_lines(place: str | Path) -> Iterator[tuple[Path, int, bytes]]:
    """Yields the lines of a log, in order of time, as (file, number from 1, bytes).

    Raises:
        MissingFileError: there is no log at this place.
    """
    place = Path(place)
    files = log_files(place)
    if not files:
        raise MissingFileError(
            f"{place}: expected an execution log, got a folder without executions-*.jsonl"
        )
    for path in files:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                yield path, number, line


def _place(name: str) -> tuple[str, int] | None:
    """Returns day and number of a file, None where it is no file of a log."""
    match = _NAME.fullmatch(name)
    return match and (match[1], int(match[2] or 0))
