"""LogTail: what has come to an execution log since it was read last."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pydantic

from orchestai_env.execution.log.log_files import log_files
from orchestai_env.execution.log.record import ExecutionRecord


class LogTail:
    """Reads every record of a log once, those of other processes and machines too."""

    def __init__(self, folder: Path) -> None:
        """Takes the folder of the log, which need not be there yet."""
        self._folder = folder
        self._read: defaultdict[str, int] = defaultdict(int)

    def records(self) -> Iterator[ExecutionRecord]:
        """Yields what is new; lines that are no record, as a killed process leaves, are left out.

        Raises:
            OSError: a file cannot be read.
        """
        if not self._folder.is_dir():
            return
        for path in log_files(self._folder):
            # Opened anew each time: a shared disk shows then what other machines have written.
            with path.open("rb") as file:
                file.seek(self._read[path.name])
                for line in file:
                    record = _record(line)
                    if record is None and not line.endswith(b"\n"):
                        break  # it is being written; or torn, and the next writer ends it
                    self._read[path.name] += len(line)
                    if record is not None:
                        yield record


def _record(line: bytes) -> ExecutionRecord | None:
    """Returns what a line holds, None where it is no record.

    A record is whole without its line feed, too, which the next writer adds after a kill.
    """
    try:
        return ExecutionRecord.model_validate_json(line)
    except pydantic.ValidationError:
        return None
