"""Measures the execution log beside bare writes and reads of the same lines.

Run it with `python -m benchmarks.execution_log`. Records are alike: five subtasks, a decision with
the probabilities of eight workers on each, outputs of 400 characters.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import functools
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.timing import (
    RESULT_COLUMNS,
    ROUNDS,
    SECONDS,
    Case,
    measure,
    print_machine,
    print_table,
)
from orchestai_env.execution.log.execution_log import ExecutionLogger, Fsync
from orchestai_env.execution.log.log_reading import read_log
from orchestai_env.execution.log.log_tail import LogTail
from orchestai_env.execution.log.record import ExecutionRecord

NUM_SUBTASKS, NUM_WORKERS = 5, 8
OUTPUT = "some words of an answer " * 17
RECORDS = 1000
"""Lines of the log that is read."""
MAX_FILE_MB = 64.0


def main(argv: Sequence[str] | None = None) -> None:
    """Prints tables of appends, of appends that have reached the disk, and of reading."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="measurements of each case")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="length of one [s]")
    args = parser.parse_args(argv)
    print_machine("pydantic")
    record = example()
    print(f"a record has {len(line_of(record)):,} bytes\n")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as opened_logs:
        for unit, make in (
            ("appends/s", functools.partial(append_cases, opened_logs)),
            ("synced appends/s", functools.partial(synced_cases, opened_logs)),
            ("kB/s", read_cases),
        ):
            reference, *cases = make(Path(folder), record)
            found = measure(reference, cases, rounds=args.rounds, seconds=args.seconds)
            print_table(("", unit, *RESULT_COLUMNS[1:]), [measured.row for measured in found])


def append_cases(
    opened_logs: contextlib.ExitStack, folder: Path, record: ExecutionRecord
) -> list[Case]:
    """Returns a bare write as the reference, then appends that wait for no disk."""
    line = line_of(record)
    bare, written = opened(folder / "bare"), opened(folder / "written")
    cases = [
        repeated("bare write of the bytes", lambda: os.write(bare, line)),
        repeated("record to JSON, bare write", lambda: os.write(written, line_of(record))),
    ]
    policies: dict[str, Fsync | float] = {"never": "never", "rotate": "rotate", "1 s": 1.0}
    for name, fsync in policies.items():
        logger = ExecutionLogger(folder / name, fsync=fsync, max_file_mb=MAX_FILE_MB)
        opened_logs.enter_context(logger)
        append = functools.partial(logger.append, record)
        cases.append(repeated(f"ExecutionLogger, fsync {name}", append))
    return cases


def synced_cases(
    opened_logs: contextlib.ExitStack, folder: Path, record: ExecutionRecord
) -> list[Case]:
    """Returns a bare write and fsync as the reference, then the same by the log."""
    line, bare = line_of(record), opened(folder / "synced")
    logger = ExecutionLogger(folder / "always", fsync="always", max_file_mb=MAX_FILE_MB)
    opened_logs.enter_context(logger)

    def write() -> None:
        os.write(bare, line)
        os.fsync(bare)

    return [
        repeated("bare write and fsync", write),
        repeated("ExecutionLogger, fsync always", lambda: logger.append(record)),
    ]


def read_cases(folder: Path, record: ExecutionRecord) -> list[Case]:
    """Returns json.loads of every line as the reference, then the readers of the log."""
    place = folder / "read"
    with ExecutionLogger(place, fsync="never") as logger:
        for i in range(RECORDS):
            logger.append(record.model_copy(update={"execution_id": str(i)}))
    (path,) = place.glob("*.jsonl")
    size = path.stat().st_size // 1000

    def loads() -> None:
        with path.open("rb") as file:
            for line in file:
                json.loads(line)

    def records(reader: Iterator[ExecutionRecord]) -> None:
        for _ in reader:
            pass

    return [
        repeated("json.loads of every line", loads, steps=size),
        repeated("read_log", lambda: records(read_log(place)), steps=size),
        repeated("LogTail", lambda: records(LogTail(place).records()), steps=size),
    ]


def repeated(name: str, run: Callable[[], object], *, steps: int = 1) -> Case:
    """Returns a case that makes so many steps by one call."""

    def times(count: int) -> None:
        for _ in range(count):
            run()

    return Case((name,), times, steps_per_call=steps)


def opened(path: Path) -> int:
    """Returns the descriptor of a new file that is open for appending."""
    return os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)


def line_of(record: ExecutionRecord) -> bytes:
    """Returns a record as a line."""
    return record.model_dump_json().encode() + b"\n"


def example() -> ExecutionRecord:
    """Returns an execution in which every subtask succeeded at its first call."""
    workers = [f"worker-{k}" for k in range(NUM_WORKERS)]
    numbers = range(NUM_SUBTASKS)
    data: dict[str, Any] = {
        "execution_id": "example",
        "timestamp": datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC),
        "instruction": "Summarise the quarterly reports of all regions and compare them. " * 2,
        "success": True,
        "cost": 0.0123,
        "latency_ms": 8123.456,
        "planner": "annotated",
        "agent": "escalation table",
        "planner_outputs": {
            "model_selections": [workers[i] for i in numbers],
            "task_types": ["text"] * NUM_SUBTASKS,
            "workflow_graph": {"adjacency": [[int(j == i + 1) for j in numbers] for i in numbers]},
        },
        "execution_result": {
            "success": True,
            "outputs": dict.fromkeys(numbers, OUTPUT),
            "total_cost": 0.0123,
            "total_latency_ms": 8123.456,
            "subtasks": [_subtask(i, workers[i]) for i in numbers],
        },
        "decisions": [_decision(i, workers) for i in numbers],
    }
    return ExecutionRecord.model_validate(data)


def _subtask(i: int, worker: str) -> dict[str, Any]:
    start_ms, end_ms = 1600.123 * i, 1600.123 * (i + 1)
    return {
        "name": f"Summarise the report of region {i}",
        "type": "text",
        "status": "succeeded",
        "worker": worker,
        "attempts": 1,
        "success": True,
        "cost": 0.00246,
        "latency_ms": end_ms - start_ms,
        "start_ms": start_ms,
        "end_ms": end_ms,
    }


def _decision(i: int, workers: Sequence[str]) -> dict[str, Any]:
    return {
        "subtask": i,
        "attempt": 0,
        "worker": workers[i],
        "called": workers[i],
        "probabilities": {name: (k + 1) / 36.0 for k, name in enumerate(workers)},
        "decided_ms": 1600.123 * i,
        "start_ms": 1600.123 * i,
        "end_ms": 1600.123 * (i + 1),
        "running": 0,
        "success": True,
        "quality": 0.75,
        "cost": 0.00246,
        "input_tokens": 812,
        "output_tokens": 96,
        "cached_tokens": 0,
        "reasoning_tokens": 0,
        "is_estimated": False,
        "tries": 1,
        "fault": None,
    }


if __name__ == "__main__":
    main()
