"""ExecutionLogger: appends executions to the log, whole or not at all."""

from __future__ import annotations

import datetime
import errno
import math
import os
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypedDict, Unpack

import pydantic
import pydantic_core

from orchestai_env.errors import ConfigError, DataError, shown
from orchestai_env.execution.log.log_files import log_name, newest_index
from orchestai_env.execution.log.log_reading import reason_of
from orchestai_env.execution.log.log_schema import write_schema
from orchestai_env.execution.log.log_writing import (
    ExecutionLogError,
    LogFile,
    sync_folder,
    system_locks,
)
from orchestai_env.execution.log.logged_result import logged_result
from orchestai_env.execution.log.record import (
    SCHEMA_VERSION,
    Decision,
    ExecutionRecord,
    LoggedResult,
    PlannerOutputs,
)
from orchestai_env.execution_result import ExecutionResult

Fsync = Literal["always", "rotate", "never"]

_REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EFBIG: "raise the limit on the size of a file, or lower max_file_mb",
    errno.EACCES: "make the folder writable, or name another one",
    errno.EPERM: "make the folder writable, or name another one",
    errno.EROFS: "name another folder",
    errno.ENOENT: "make the folder again, or name another one",
    errno.ENOTDIR: "move that file away, or name another folder",
    errno.EEXIST: "move that file away, or name another folder",
}


class ExecutionDetails(TypedDict, total=False):
    """What an execution may be logged with beside its plan and its result."""

    execution_id: str
    """Unique; drawn at random where it is not given."""
    timestamp: datetime.datetime
    """When it began, with its time zone; now minus the makespan where it is not given."""
    planner: str
    """Name; "unknown" where it is not given."""
    agent: str
    """Likewise."""
    interrupted: bool
    """Whether it was cut short from outside; not where it is not given."""
    planning_cost: float
    """[USD]; 0 where it is not given."""
    decisions: Sequence[Decision | dict[str, Any]]
    """In their order; none where they are not given."""


class ExecutionLogger:
    """Appends executions to the files of a folder, one file a UTC day, several where it is large.

    Threads may share a logger, and processes a folder. An execution is acknowledged when its call
    returns: it is then in the log, whole, whatever happens to the process. Where the call raises,
    it is not in the log.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        fsync: Fsync | float = "always",
        max_file_mb: float = 256.0,
        redaction: Callable[[ExecutionRecord], ExecutionRecord] | None = None,
        clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        """Makes the folder; the first record makes the first file, with the schema beside it.

        Args:
            folder: of the log.
            fsync: when written records are forced to the disk. "always": each before it is
                acknowledged, so that it survives a power cut; "rotate": with each file that is
                done, and when the logger is closed; a number of seconds: likewise, and with a
                record that comes so long after the last time; "never": when the system does it.
                A killed process loses nothing in either case.
            max_file_mb: size of a file [MB] after which the next one begins.
            redaction: takes out of a record what the log must not hold; all is kept without it.
            clock: gives the present time, with its time zone.
        Raises:
            ConfigError: an argument is out of range.
            ExecutionLogError: there is a file in place of the folder, or it cannot be written to.
            OrchestAIError: the system has no file locks; see `log_writing.system_locks`.
        """
        system_locks()  # said before anybody pays for an execution
        self._interval_s = _interval_s(fsync)
        self._is_synced_at_close = fsync != "never"
        self._max_bytes = 1e6 * _checked_size(max_file_mb)
        self._folder = Path(folder)
        self._redaction = redaction
        self._clock = clock
        self._lock = threading.Lock()
        self._file: LogFile | None = None
        self._place = (datetime.date.min, 0)
        self._synced_s = -math.inf
        self._make_folder()
        _loggers.add(self)

    def log_execution(
        self,
        *,
        instruction: str,
        planner_outputs: PlannerOutputs | dict[str, Any],
        execution_result: ExecutionResult | LoggedResult | dict[str, Any],
        **details: Unpack[ExecutionDetails],
    ) -> str:
        """Appends an execution.

        Args:
            instruction: as the user gave it.
            planner_outputs: model_selections, task_types and workflow_graph; N subtasks.
            execution_result: what the same N subtasks did, took and cost.
            details: what else is known about it.
        Returns:
            Its execution_id.
        Raises:
            DataError: a part is malformed, or parts do not agree; nothing was written.
            ExecutionLogError: it could not be written, and is not in the log.
        """
        try:
            if isinstance(execution_result, ExecutionResult):
                execution_result = logged_result(execution_result)
            result = LoggedResult.model_validate(execution_result)
            record = ExecutionRecord.model_validate(
                {
                    "execution_id": uuid.uuid4().hex,
                    "timestamp": self._start(result.total_latency_ms),
                    "planner": "unknown",
                    "agent": "unknown",
                    "decisions": (),
                    **details,
                    "instruction": instruction,
                    "success": result.success,
                    "cost": result.total_cost,
                    "latency_ms": result.total_latency_ms,
                    "planner_outputs": planner_outputs,
                    "execution_result": result,
                }
            )
        except pydantic.ValidationError as error:
            raise DataError(f"log_execution: {error.title}: {reason_of(error)}") from None
        self.append(record)
        return record.execution_id

    def append(self, *records: ExecutionRecord) -> None:
        """Appends records by one write, and forces them to the disk together.

        Raises:
            ExecutionLogError: they could not be written, and none of them is in the log.
        """
        hide = self._redaction
        lines = b"".join(_line(one if hide is None else hide(one)) for one in records)
        with self._lock:
            try:
                self._append(lines)
            except OSError as error:
                names = ", ".join(record.execution_id for record in records)
                verb = "is" if len(records) == 1 else "are"
                raise self._refusal(error, f"{names} {verb} not in the log") from error

    def close(self) -> None:
        """Closes the file; a later record opens it again.

        Raises:
            ExecutionLogError: the last records could not be forced to the disk.
        """
        with self._lock:
            try:
                self._close()
            except OSError as error:
                raise self._refusal(error, "its last records may not be on the disk") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, latency_ms: float) -> datetime.datetime:
        """Returns when an execution began that has just ended."""
        return self._clock().astimezone(datetime.UTC) - datetime.timedelta(milliseconds=latency_ms)

    def _append(self, lines: bytes) -> None:
        day = self._clock().astimezone(datetime.UTC).date()
        if self._file is None or self._place[0] != day:
            self._open(day, newest_index(self._folder, day))
        while True:
            now_s = time.monotonic()
            is_due = now_s - self._synced_s >= self._interval_s
            assert self._file is not None
            outcome = self._file.append(lines, max_bytes=self._max_bytes, sync=is_due)
            if outcome == "written":
                self._synced_s = now_s if is_due else self._synced_s
                return
            index = newest_index(self._folder, day)
            if outcome == "full":
                index = max(index, self._place[1] + 1)
            self._open(day, index)

    def _open(self, day: datetime.date, index: int) -> None:
        self._close()
        write_schema(self._folder)
        file = LogFile(self._folder / log_name(day, index))
        try:
            if self._is_synced_at_close and file.was_empty:
                sync_folder(self._folder)  # so that its name survives a power cut, too
        except OSError:
            file.close()
            raise
        self._file, self._place = file, (day, index)
        self._synced_s = time.monotonic()

    def _close(self) -> None:
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            if self._is_synced_at_close:
                file.sync()
        finally:
            file.close()

    def _make_folder(self) -> None:
        try:
            missing = [path for path in (self._folder, *self._folder.parents) if not path.exists()]
            self._folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self._folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            if self._is_synced_at_close:
                for path in missing:
                    sync_folder(path.parent)
        except OSError as error:
            raise self._refusal(error, "nothing was written") from error

    def _refusal(self, error: OSError, consequence: str) -> ExecutionLogError:
        place = self._folder if self._file is None else self._file.path
        remedy = _REMEDIES.get(error.errno or 0, "look at the disk")
        reason = error.strerror or str(error)
        return ExecutionLogError(
            f"{place}: expected to write here, got: {reason}; {consequence}; {remedy}"
        )

    def _forget_file(self) -> None:
        """Opens the file anew in a forked child, whose lock would else be that of its parent."""
        self._lock = threading.Lock()
        if self._file is not None:
            self._file.close()
            self._file = None


_loggers: weakref.WeakSet[ExecutionLogger] = weakref.WeakSet()


def _forget_files() -> None:
    for logger in list(_loggers):
        logger._forget_file()


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_forget_files)


def _interval_s(fsync: Fsync | float) -> float:
    """Returns after how long the next record is forced to the disk [s]; 0 is each of them."""
    if isinstance(fsync, str):
        intervals = {"always": 0.0, "rotate": math.inf, "never": math.inf}
        if fsync in intervals:
            return intervals[fsync]
    elif not isinstance(fsync, bool) and 0.0 < fsync < math.inf:
        return float(fsync)
    raise ConfigError(
        f"fsync: expected always, rotate, never or a number of seconds > 0, got {shown(fsync)}"
    )


def _checked_size(max_file_mb: float) -> float:
    if not 0.0 < max_file_mb <= math.inf:
        raise ConfigError(f"max_file_mb: expected a number of MB > 0, got {shown(max_file_mb)}")
    return max_file_mb


def _line(record: ExecutionRecord) -> bytes:
    """Returns a record as its line, in the present version, its time as that of UTC.

    JSON cuts the seconds of other offsets. Half characters, which UTF-8 cannot hold, become U+FFFD.
    """
    began = record.timestamp.astimezone(datetime.UTC)
    record = record.model_copy(update={"timestamp": began, "schema_version": SCHEMA_VERSION})
    try:
        return record.model_dump_json().encode() + b"\n"
    except pydantic_core.PydanticSerializationError:
        whole = ExecutionRecord.model_validate(_without_half_characters(record.model_dump()))
        return whole.model_dump_json().encode() + b"\n"


def _without_half_characters(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {
            _without_half_characters(key): _without_half_characters(item)
            for key, item in value.items()
        }
    if isinstance(value, tuple):
        return tuple(map(_without_half_characters, value))
    return value
