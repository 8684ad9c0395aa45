"""Training data: executions as examples, and the files that hold them."""

from __future__ import annotations

import functools
import hashlib
import io
import re
import struct
from pathlib import Path
from typing import Any, Protocol

import pydantic_core

from orchestai_env.datasets.splits import split_of
from orchestai_env.execution.extra import needs_extra
from orchestai_env.execution.log.record import ExecutionRecord

SUFFIXES = (".json", ".parquet")
"""Ends of the names of the files that hold training data."""

_UNNAMED = re.compile(r"subtask \d+")  # as ExecutionResult calls subtasks whose text it lacks
_ROWS, _BYTES = 10_000, 16_000_000  # chosen: a row group takes tens of MB while it is made


def reason_to_leave_out(record: ExecutionRecord) -> str | None:
    """Returns why an execution is no example; None where it is one.

    One that was cut short from outside tells nothing; a collection does it again, under the same
    id. An execution that stopped while calls ran was out of time, a failure to learn from; one that
    stopped between calls, without a failed subtask, was cut off and says nothing.
    """
    if record.interrupted:
        return "interrupted"
    if not record.instruction.strip():
        return "no instruction"
    subtasks = record.execution_result.subtasks
    if not subtasks:
        return "no subtasks"
    if not record.decisions and all(subtask.worker is None for subtask in subtasks):
        return "no decisions"
    if record.success or any(subtask.status in ("failed", "running") for subtask in subtasks):
        return None
    return "unfinished"


def links_of(record: ExecutionRecord) -> tuple[tuple[int, int], ...]:
    """Returns the links (i, j) of a plan, sorted: subtask j needs the result of subtask i."""
    return _links(record.planner_outputs.workflow_graph.adjacency)


@functools.lru_cache(maxsize=4096)  # a log has few shapes; chosen
def _links(adjacency: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, int], ...]:
    rows = enumerate(adjacency)
    return tuple((i, j) for i, row in rows if 1 in row for j, link in enumerate(row) if link)


def is_text(name: str) -> bool:
    """Tells the text of a subtask from a name that stands for a missing one."""
    if name.startswith("subtask ") and _UNNAMED.fullmatch(name):
        return False
    return bool(name) and not name.isspace()


def example_of(record: ExecutionRecord, *, with_split: bool = False) -> dict[str, Any]:
    """Returns an execution as an example of the training data.

    Args:
        record: an execution that `reason_to_leave_out` accepts.
        with_split: whether the key `split` is added; equal instructions are on the same side.
    Returns:
        {instruction, targets, rewards}, and split. targets has task_types, dependencies [[i, j]],
        model_selections and, where all are known, subtasks (their texts). A model selection is the
        worker of the last call on the subtask, so the one that succeeded where the subtask did;
        None where none was called. rewards has success (1.0 or 0.0), cost (negative USD) and
        latency (negative seconds).
    """
    subtasks = record.execution_result.subtasks
    targets: dict[str, Any] = {
        "model_selections": [subtask.worker for subtask in subtasks],
        "task_types": record.planner_outputs.task_types,
        "dependencies": links_of(record),
    }
    if all(is_text(subtask.name) for subtask in subtasks):
        targets["subtasks"] = [subtask.name for subtask in subtasks]
    example: dict[str, Any] = {"instruction": record.instruction}
    if with_split:
        example["split"] = split_of(record.instruction)
    return example | {
        "targets": targets,
        "rewards": {
            "success": float(record.success),
            "cost": 0.0 - record.cost,  # not -record.cost, which makes -0.0 of 0
            "latency": 0.0 - record.latency_ms / 1000.0,
        },
    }


def line_of(example: dict[str, Any]) -> bytes:
    """Returns an example as one line of JSON, without its end."""
    return pydantic_core.to_json(example)


def plan_digest(example: dict[str, Any]) -> tuple[int, int]:
    """Returns 16 bytes, as two words, that are equal for the same instruction and the same plan.

    The plan is its subtasks and links, whoever ran them and however that went.
    """
    targets = {k: v for k, v in example["targets"].items() if k != "model_selections"}
    text = pydantic_core.to_json([example["instruction"], targets])
    high, low = struct.unpack("<2Q", hashlib.blake2b(text, digest_size=16).digest())
    return high, low


class ExampleWriter(Protocol):
    """Writes examples, given as lines of JSON, to a file."""

    def write(self, line: bytes) -> None:
        """Adds an example."""

    def close(self) -> None:
        """Makes the file whole; only then it is."""


class JsonListWriter:
    """Writes a JSON list, an example a line; memory does not grow."""

    def __init__(self, path: Path) -> None:
        """Opens the file."""
        self._file = path.open("wb", buffering=1 << 20)
        self._file.write(b"[")
        self._before = b"\n"

    def write(self, line: bytes) -> None:
        """Adds an example."""
        self._file.write(self._before)
        self._file.write(line)
        self._before = b",\n"

    def close(self) -> None:
        """Closes the list and the file."""
        self._file.write(b"\n]\n")
        self._file.close()


class ParquetWriter:
    """Writes a Parquet file in row groups of at most 10,000 examples or some 16 MB."""

    def __init__(self, path: Path, *, with_split: bool) -> None:
        """Opens the file.

        Raises:
            MissingPackageError: pyarrow is not installed.
        """
        with needs_extra("data", what="Parquet files"):
            import pyarrow.json
            import pyarrow.parquet
        schema = _schema(pyarrow, with_split)
        self._file: Any = pyarrow.parquet.ParquetWriter(path, schema, compression="zstd")
        self._parse: Any = pyarrow.json.ParseOptions(
            explicit_schema=schema, unexpected_field_behavior="error"
        )
        self._json: Any = pyarrow.json
        self._lines: list[bytes] = []
        self._bytes = 0

    def write(self, line: bytes) -> None:
        """Adds an example."""
        self._lines.append(line)
        self._bytes += len(line) + 1
        if len(self._lines) >= _ROWS or self._bytes >= _BYTES:
            self._flush()

    def close(self) -> None:
        """Writes what is left, and the file's end."""
        if self._lines:
            self._flush()
        self._file.close()

    def _flush(self) -> None:
        lines = io.BytesIO(b"\n".join(self._lines))
        whole = self._json.ReadOptions(use_threads=False, block_size=self._bytes)
        self._file.write_table(self._json.read_json(lines, whole, self._parse))
        self._lines, self._bytes = [], 0


def _schema(pyarrow: Any, with_split: bool) -> Any:
    """Returns the columns of a Parquet file: those of the JSON form, nested alike."""
    texts = pyarrow.list_(pyarrow.string())
    targets = {
        "model_selections": texts,
        "task_types": texts,
        "dependencies": pyarrow.list_(pyarrow.list_(pyarrow.int32())),
        "subtasks": texts,
    }
    rewards = dict.fromkeys(("success", "cost", "latency"), pyarrow.float64())
    columns = {
        "instruction": pyarrow.string(),
        **({"split": pyarrow.string()} if with_split else {}),
        "targets": pyarrow.struct(list(targets.items())),
        "rewards": pyarrow.struct(list(rewards.items())),
    }
    return pyarrow.schema(list(columns.items()))


def example_writer(path: Path, suffix: str, *, with_split: bool) -> ExampleWriter:
    """Opens a file of training data.

    Args:
        path: file to write.
        suffix: which kind, one of SUFFIXES.
        with_split: whether the examples have a split.
    Raises:
        MissingPackageError: pyarrow is not installed, and the file is a Parquet file.
    """
    if suffix == ".parquet":
        return ParquetWriter(path, with_split=with_split)
    return JsonListWriter(path)
