"""The two tables of recorded outcomes, queries and calls, as CSV files."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn, TextIO

import numpy as np

from orchestai_env.datasets.splits import leak_message
from orchestai_env.errors import DataError, SplitLeakError, shown
from orchestai_env.outcomes.recorded import RecordedRows
from orchestai_env.workflow import open_text

QUERY_COLUMNS = ("query_id", "task_type", "prompt")
OUTCOME_COLUMNS = (
    "query_id",
    "task_type",
    "model",
    "trial",
    "score",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "latency_ms",
)

_LEVEL = 1  # of gzip: an eighth of the time of level 9, for tables an eighth larger (measured)
_MAX_TRIAL = 2**31 - 1  # chosen; trials are int64


class QueryRow(NamedTuple):
    """One line of a query table."""

    task_type: str
    prompt: str
    split: str
    """Empty where the table has no such column."""


class OutcomeRows(NamedTuple):
    """The calls of an outcome table that the asked workers made, and who else is in it."""

    rows: RecordedRows
    models: frozenset[str]
    """Every worker that the table names, asked for or not."""


def read_queries(path: str | Path, *, with_split: bool = False) -> dict[str, QueryRow]:
    """Reads a query table (CSV or CSV.gz), query id -> row, in file order.

    Args:
        path: has the columns query_id, task_type, prompt; others are passed over.
        with_split: whether the column `split` is required too.
    Raises:
        MissingFileError: there is no such file.
        DataError: a line is malformed or an id comes twice; the message has file and line.
    """
    path = Path(path)
    columns = (*QUERY_COLUMNS, "split") if with_split else QUERY_COLUMNS
    queries: dict[str, QueryRow] = {}
    for line, (query_id, task_type, prompt, *split) in _read_table(path, columns):
        if not query_id or not task_type:
            _refuse(path, line, "expected a query_id and a task_type, got an empty one")
        row = QueryRow(task_type, prompt, split[0] if split else "")
        if query_id in queries and queries[query_id].split == row.split:
            _refuse(path, line, f"query_id {query_id!r} comes twice; ids must be unique")
        if query_id in queries:
            _refuse_leak(path, line, query_id, queries[query_id].split, row.split)
        queries[query_id] = row
    return queries


def read_outcomes(
    path: str | Path, queries: Mapping[str, str], workers: Sequence[str]
) -> OutcomeRows:
    """Reads the recorded calls of some workers from an outcome table (CSV or CSV.gz).

    Every line is checked, whoever it is of.

    Args:
        path: has the columns of OUTCOME_COLUMNS; others are passed over. An empty token, cost or
            latency field means not recorded.
        queries: query id -> task type; a row's index counts these in order.
        workers: names of the workers to keep, in action order.
    Raises:
        MissingFileError: there is no such file.
        DataError: a line is malformed, names an unknown query or another type than the query has,
            or repeats a (query, model, trial); the message has file and line.
    """
    path = Path(path)
    query_row = {query_id: row for row, query_id in enumerate(queries)}
    action = {name: index for index, name in enumerate(workers)}
    seen: set[tuple[str, str, int]] = set()
    models: set[str] = set()
    keys: list[tuple[int, int, int]] = []
    values: list[tuple[float, ...]] = []
    for line, (query_id, task_type, model, trial, *numbers) in _read_table(path, OUTCOME_COLUMNS):
        if queries.get(query_id) != task_type:
            _refuse_query(path, line, query_id, task_type, queries)
        key = (query_id, model, _checked_trial(path, line, trial))
        if key in seen:
            _refuse(path, line, f"(query_id, model, trial) {key} comes twice; remove one")
        seen.add(key)
        models.add(model)
        checked = _checked_numbers(path, line, numbers)
        if model in action:
            keys.append((query_row[query_id], action[model], key[2]))
            values.append(checked)
    index = np.array(keys, np.int64).reshape(-1, 3)
    score, input_tokens, output_tokens, cost_usd, latency_ms = (
        np.array(values, np.float64).reshape(-1, 5).T.copy()
    )
    rows = RecordedRows(
        query=index[:, 0].astype(np.int32),
        worker=index[:, 1].astype(np.int32),
        trial=index[:, 2].copy(),
        score=score,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost_usd=cost_usd,
        latency_ms=latency_ms,
    )
    return OutcomeRows(rows, frozenset(models))


def _checked_trial(path: Path, line: int, text: str) -> int:
    try:
        trial = int(text)
    except ValueError:
        trial = _MAX_TRIAL + 1
    if abs(trial) > _MAX_TRIAL:
        _refuse(path, line, f"trial: expected a whole number, got {shown(text)}")
    return trial


def _checked_numbers(path: Path, line: int, texts: Sequence[str]) -> tuple[float, ...]:
    """Parses score, tokens, cost and latency; an empty field, the score's aside, is NaN."""
    values = []
    for name, text in zip(OUTCOME_COLUMNS[4:], texts, strict=True):
        if not text and name != "score":
            values.append(math.nan)
            continue
        most, expected = (1.0, "0..1") if name == "score" else (math.inf, "0 or more")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (0.0 <= value <= most and value < math.inf):
            _refuse(path, line, f"{name}: expected a number, {expected}, got {text!r}")
        values.append(value)
    return tuple(values)


def _read_table(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yields (last physical line, fields in the order of `columns`) for each record."""
    with open_text(path) as file:
        reader = csv.reader(file, strict=True)
        try:
            header = next(reader, [])
            missing = [name for name in columns if name not in header]
            if missing:
                _refuse(path, 1, f"column {missing[0]!r} is missing; got {', '.join(header)}")
            places = [header.index(name) for name in columns]
            for fields in reader:
                if len(fields) != len(header):
                    reason = f"expected {len(header)} fields, got {len(fields)}"
                    _refuse(path, reader.line_num, f"{reason}; repair or remove the line")
                yield reader.line_num, [fields[place] for place in places]
        except csv.Error as error:
            _refuse(path, reader.line_num, f"expected CSV, got text that breaks ({error})")
        except (EOFError, OSError, zlib.error, UnicodeDecodeError) as error:
            reason = f"the file breaks off or is damaged ({error}); fetch it again"
            _refuse(path, reader.line_num + 1, reason)


def _refuse(path: Path, line: int, reason: str) -> NoReturn:
    raise DataError(f"{path}:{line}: {reason}") from None


def _refuse_leak(path: Path, line: int, query_id: str, first: str, second: str) -> NoReturn:
    raise SplitLeakError(leak_message(f"{path}:{line}", query_id, first, second))


def _refuse_query(
    path: Path, line: int, query_id: str, task_type: str, queries: Mapping[str, str]
) -> NoReturn:
    if query_id not in queries:
        _refuse(path, line, f"query_id {query_id!r} is not in the query table; add it there")
    expected = queries[query_id]
    _refuse(path, line, f"task_type: query {query_id!r} has {expected!r}, got {task_type!r}")


def write_queries(path: Path, rows: Iterable[tuple[str, QueryRow]]) -> None:
    """Writes a query table with the column `split`, as CSV.gz; equal rows give equal bytes."""
    with gzip_text(path) as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(("query_id", "task_type", "split", "prompt"))
        writer.writerows((name, row.task_type, row.split, row.prompt) for name, row in rows)


def write_outcomes(
    path: Path,
    rows: RecordedRows,
    query_ids: Sequence[str],
    types: Sequence[str],
    workers: Sequence[str],
) -> None:
    """Writes an outcome table as CSV.gz; equal rows give equal bytes.

    Args:
        path: file to write.
        rows: recorded calls; NaN becomes an empty field.
        query_ids: id of each query row.
        types: task type of each query row.
        workers: worker names, in action order.
    """
    numbers = (rows.score, rows.input_tokens, rows.output_tokens, rows.cost_usd, rows.latency_ms)
    with gzip_text(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(OUTCOME_COLUMNS)
        for query, worker, trial, *values in zip(
            rows.query.tolist(),
            rows.worker.tolist(),
            rows.trial.tolist(),
            *(column.tolist() for column in numbers),
            strict=True,
        ):
            key = (query_ids[query], types[query], workers[worker], trial)
            writer.writerow((*key, *map(_number_text, values)))


def _number_text(value: float) -> str:
    """Returns the shortest text that reads back as the same number; nothing for NaN."""
    return "" if math.isnan(value) else repr(value).removesuffix(".0")


@contextlib.contextmanager
def gzip_text(path: Path) -> Iterator[TextIO]:
    """Opens a gzipped text file for writing; without time or name in it, so that it reproduces."""
    with (
        open(path, "wb") as raw,
        gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="") as file,
    ):
        yield file
