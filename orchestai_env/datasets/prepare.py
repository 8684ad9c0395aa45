"""prepare: an execution log in, training data and tables of recorded outcomes out."""

from __future__ import annotations

import array
import collections
import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai_env.datasets.logged_outcomes import LoggedOutcomes
from orchestai_env.datasets.prepare_report import PrepareReport, report_path
from orchestai_env.datasets.splits import SPLITS
from orchestai_env.datasets.training_data import (
    SUFFIXES,
    example_of,
    example_writer,
    line_of,
    plan_digest,
    reason_to_leave_out,
)
from orchestai_env.errors import ConfigError, MissingFileError
from orchestai_env.execution.log.log_files import log_files
from orchestai_env.execution.log.log_reading import read_log
from orchestai_env.execution.log.record import ExecutionRecord

_TOLD_EVERY = 4_000_000  # bytes between two words on progress, some 50 ms


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareRequest:
    """What is to be prepared."""

    logs: Path
    """Folder of an execution log, or one file of it."""
    output: Path
    """Training data to write, .json or .parquet."""
    outcomes: Path | None = None
    """Folder to write tables of recorded outcomes to; None = none."""
    deduplicate: bool = False
    """Whether only the newest execution of an instruction and plan becomes an example. The outcome
    tables keep all: a repeated call is another trial there."""
    split: bool = False
    """Whether examples say train, validation or test."""
    skip_bad: bool = False
    """Whether bad lines are left out and listed, instead of ending it all."""


def log_sizes(logs: Path) -> dict[Path, int]:
    """Returns the files of a log in order of time, with their sizes in bytes.

    Raises:
        MissingFileError: there is no log at this place.
    """
    files = log_files(logs)
    if not files:
        raise MissingFileError(
            f"{logs}: expected an execution log, got a folder without executions-*.jsonl; name the "
            "folder that `orchestai collect --output_dir` or an ExecutionLogger wrote to"
        )
    return {file: file.stat().st_size for file in files}


def prepare(
    request: PrepareRequest,
    *,
    on_progress: Callable[[int, int], None] = lambda num_bytes, executions: None,
) -> PrepareReport:
    """Makes training data of an execution log, and the report beside it.

    The log is read once, as a stream. Memory does not grow with it, but for the queries of a 64th
    of the outcome tables and, where duplicates are sought, 25 bytes per example (some 60 at the
    end, when they are told). Files are made aside and moved in when whole.

    Args:
        request: what is to be prepared.
        on_progress: told every few megabytes how many bytes of the log were read, and how many
            executions there were.
    Returns:
        What was read, written and left out; it lies beside the output too.
    Raises:
        MissingFileError: there is no log.
        DataError: a line of the log is bad, and `skip_bad` is not set.
        ConfigError: the output has another ending, is a folder or a file of the log, or cannot be
            written; likewise the folder of outcomes.
        MissingPackageError: the output is a Parquet file, and pyarrow is not installed.
    """
    logs = log_sizes(request.logs)
    _check_paths(request, logs)
    report = PrepareReport()
    try:
        _write(_records(request, report, on_progress), request, report)
    except OSError as error:
        if error.filename is not None:  # it says itself which file
            raise
        places = " and ".join(str(path) for path in (request.output, request.outcomes) if path)
        raise ConfigError(
            f"{places}: could not be written ({error.strerror}); make room, or name another place"
        ) from None
    return report


def _write(
    records: Iterator[ExecutionRecord], request: PrepareRequest, report: PrepareReport
) -> None:
    """Writes all files aside, then moves them in; the report comes last."""
    if request.split:
        report.splits = collections.Counter(dict.fromkeys(SPLITS, 0))
    with contextlib.ExitStack() as stack:
        partial = stack.enter_context(_folder_in(request.output.parent))
        tables = None
        if request.outcomes is not None:
            folder = stack.enter_context(_folder_in(request.outcomes))
            tables = stack.enter_context(contextlib.closing(LoggedOutcomes(folder)))
        examples: Iterator[_Line] = _examples(records, request, tables, report)
        lines = _newest(examples, partial / "all", report) if request.deduplicate else examples
        _write_examples(lines, partial / "examples", request, report)
        if tables is not None and request.outcomes is not None:
            tables.write()
            report.queries, report.calls = tables.counts.queries, tables.counts.calls
            report.calls_left_out = dict(tables.counts.left_out)
            tables.move_to(request.outcomes)
        report.write(partial / "report")
        report_path(request.output).unlink(missing_ok=True)  # a kill here leaves none, not another
        (partial / "examples").replace(request.output)
        (partial / "report").replace(report_path(request.output))


def _write_examples(
    lines: Iterable[_Line], path: Path, request: PrepareRequest, report: PrepareReport
) -> None:
    writer = example_writer(path, request.output.suffix, with_split=request.split)
    with contextlib.closing(writer):
        for line in lines:
            writer.write(line.text)
            report.examples += 1
            if report.splits is not None:
                report.splits[line.split] += 1


def _check_paths(request: PrepareRequest, logs: Iterable[Path]) -> None:
    """Checks what would otherwise fail when the log has been read.

    Raises:
        ConfigError: see `prepare`.
    """
    output, outcomes = request.output, request.outcomes
    if output.suffix not in SUFFIXES:
        raise ConfigError(f"{output}: expected a file name that ends in {' or '.join(SUFFIXES)}")
    if output.is_dir():
        raise ConfigError(f"{output}: expected a file to write to, got a folder; name a file")
    for path in (output, report_path(output)):
        if path.exists() and any(path.samefile(log) for log in logs):
            raise ConfigError(f"{path}: this is a file of the log itself; name another output")
    if outcomes is None:
        return
    if outcomes.exists() and not outcomes.is_dir():
        raise ConfigError(f"{outcomes}: expected a folder to write to, got a file; name another")
    taken = {output.resolve(), *(log.resolve().parent for log in logs)}
    if outcomes.resolve() in taken:
        raise ConfigError(
            f"{outcomes}: expected a folder of its own for the outcome tables, got the output or "
            "the folder of the log; name another"
        )


def _records(
    request: PrepareRequest, report: PrepareReport, on_progress: Callable[[int, int], None]
) -> Iterator[ExecutionRecord]:
    """Yields the records of the log, and tells the report and whoever asked about them."""
    reader, told = read_log(request.logs, skip_bad=request.skip_bad), 0
    for record in reader:
        report.executions += 1
        if reader.num_bytes - told >= _TOLD_EVERY:
            told = reader.num_bytes
            on_progress(told, report.executions)
        yield record
    if reader.num_rejected:
        report.executions += reader.num_rejected
        report.left_out["bad line"] += reader.num_rejected
        report.bad_lines += [f"{bad.file}:{bad.line}: {bad.reason}" for bad in reader.rejected]
    on_progress(reader.num_bytes, report.executions)


@contextlib.contextmanager
def _folder_in(folder: Path) -> Iterator[Path]:
    """Makes a passing folder inside another one, which is made if missing.

    Where nothing comes of it, a folder that was made is removed again.

    Raises:
        ConfigError: that cannot be done.
    """
    was_there = folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        passing = tempfile.TemporaryDirectory(dir=folder, prefix=".prepare-")
    except OSError as error:
        raise ConfigError(
            f"{folder}: no files can be written there ({error.strerror}); name another folder"
        ) from None
    try:
        with passing as name:
            yield Path(name)
    except BaseException:
        if not was_there:
            with contextlib.suppress(OSError):  # it holds something by now
                folder.rmdir()
        raise


class _Line(NamedTuple):
    """An example, and what is to be known of it."""

    text: bytes
    """Its JSON."""
    split: str
    """Empty where none was asked for."""
    digest: tuple[int, int]
    """See `plan_digest`; (0, 0) where duplicates are not sought."""
    time: float
    """When the execution began [s]; 0 likewise."""


def _examples(
    records: Iterable[ExecutionRecord],
    request: PrepareRequest,
    tables: LoggedOutcomes | None,
    report: PrepareReport,
) -> Iterator[_Line]:
    """Yields the executions that are examples, and adds all to the tables and the report."""
    for record in records:
        if tables is not None:
            tables.add(record)
        reason = reason_to_leave_out(record)
        if reason is not None:
            report.left_out[reason] += 1
            continue
        example: dict[str, Any] = example_of(record, with_split=request.split)
        digest = plan_digest(example) if request.deduplicate else (0, 0)
        split = example.get("split", "")
        time = record.timestamp.timestamp() if request.deduplicate else 0.0
        yield _Line(line_of(example), split, digest, time)


def _newest(lines: Iterable[_Line], path: Path, report: PrepareReport) -> Iterator[_Line]:
    """Yields, once all have come, the newest line of each digest, in their order.

    Args:
        lines: all lines.
        path: file to keep them in meanwhile.
        report: told of duplicates.
    """
    digests, times, splits = array.array("Q"), array.array("d"), array.array("b")
    sides = ("", *SPLITS)
    with path.open("w+b", buffering=1 << 20) as file:
        for line in lines:
            file.write(line.text + b"\n")
            digests.extend(line.digest)
            times.append(line.time)
            splits.append(sides.index(line.split))
        kept = newest_mask(np.asarray(digests).reshape(-1, 2), np.asarray(times))
        report.left_out["duplicate"] += int((~kept).sum())
        file.seek(0)
        for row, text in enumerate(file):
            if kept[row]:
                yield _Line(text[:-1], sides[splits[row]], (0, 0), times[row])


def newest_mask(
    digests: npt.NDArray[np.uint64], times: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Returns which rows are the newest of their digest; of equally new ones it is the last.

    Args:
        digests: uint64 (n, 2).
        times: float64 (n,).
    Returns:
        bool (n,).
    """
    order = np.lexsort((times, digests[:, 1], digests[:, 0]))
    ordered = digests[order]
    is_last = np.ones(len(order), bool)
    is_last[:-1] = (ordered[1:] != ordered[:-1]).any(axis=1)
    kept = np.zeros(len(order), bool)
    kept[order[is_last]] = True
    return kept
