"""Reading of foreign files, a record at a time: CSV, JSONL, both gzipped too, and Parquet."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

from orchestai_env.datasets.importers.left_out import LeftOut
from orchestai_env.errors import DataError, MissingFileError, shown
from orchestai_env.execution.extra import needs_extra
from orchestai_env.execution.workers.prompt import whole

OnProgress = Callable[[Path, int, int], None]
"""Called now and then with a file, how far it was read, and how far it goes."""

PROGRESS_EVERY = 1_000
"""Records between two calls of OnProgress."""

MAX_FIELD_CHARS = 64 * 2**20
"""Largest field of a CSV file; chosen: Python's own limit of 131,072 cuts long answers."""

PARQUET_ROWS = 256
"""Rows of a Parquet file held at once; chosen: long answers take a few MB."""

_PICKLE_NAMES = {".pkl", ".pickle", ".p", ".pk", ".joblib", ".dill"}
_PACKED_NAMES = {".gz", ".bz2", ".xz", ".zip", ".zst"}
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_ARCHIVES = {b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"(\xb5/\xfd": "zstd"}
"""First bytes of files that have to be unpacked first."""


_ARRAY = (
    "expected one JSON object a line, got the beginning of an array; write its objects a line "
    "each (jq -c '.[]' FILE)"
)


class Record(NamedTuple):
    """One record of a file."""

    place: str
    """File and line (of a Parquet file: row), from 1."""
    fields: Mapping[str, Any]


def check_input(path: Path) -> None:
    """Checks that a file is there, and is neither a pickle, by name and by content, nor an archive.

    Raises:
        MissingFileError: there is no such file.
        DataError: it is a pickle: loading one runs whatever code its author put in; or it is a
            folder, empty, or packed by something else than gzip.
    """
    if path.is_dir():
        raise DataError(f"{path}: expected a file, got a folder; name a file in it")
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file; check the path")
    if _is_named_pickle(path) or _starts_as_pickle(path):
        raise DataError(
            f"{path}: expected CSV, JSONL or Parquet, got a pickle, which can run any code when it "
            "is loaded; where you trust its author, turn it into a table with pandas: "
            "`pandas.read_pickle(FILE).to_parquet(TABLE)`, and convert that"
        )
    with path.open("rb") as raw:
        head = raw.read(5)
    if not head:
        raise DataError(f"{path}: expected records, got an empty file; fetch it again")
    for start, name in _ARCHIVES.items():
        if head.startswith(start):
            raise DataError(f"{path}: expected plain or gzipped data, got {name}; unpack it first")


def _is_named_pickle(path: Path) -> bool:
    """Tells whether a name ends as those of pickles do, packed or not."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _PACKED_NAMES:
        suffixes.pop()
    return bool(suffixes) and suffixes[-1] in _PICKLE_NAMES


def _starts_as_pickle(path: Path) -> bool:
    """Tells whether a file, unzipped if need be, starts as pickles of protocol 2 to 5 do."""
    with path.open("rb") as raw:
        head = raw.read(2)
    if head == _GZIP:
        with contextlib.suppress(EOFError, OSError, zlib.error), gzip.open(path) as packed:
            head = packed.read(2)
    return len(head) == 2 and head[0] == 0x80 and 2 <= head[1] <= 5


def read_table(
    path: Path,
    columns: Callable[[Sequence[str]], Sequence[str]],
    left_out: LeftOut,
    tell: OnProgress,
) -> Iterator[Record]:
    """Yields the rows of a table: Parquet where the file says so, else CSV, gzipped or not.

    Args:
        path: file to read; a field without text is None.
        columns: takes the names in the file, returns those to read, or raises DataError.
        left_out: what happens to a bad line.
        tell: told about progress.
    Raises:
        DataError: `columns` refuses the header, or the file breaks off.
        MissingPackageError: a Parquet file needs pyarrow.
    """
    with path.open("rb") as raw:
        is_parquet = raw.read(4) == _PARQUET
    return (_read_parquet if is_parquet else _read_csv)(path, columns, left_out, tell)


def _read_csv(
    path: Path,
    columns: Callable[[Sequence[str]], Sequence[str]],
    left_out: LeftOut,
    tell: OnProgress,
) -> Iterator[Record]:
    with _opened(path) as (raw, packed), _wide_fields():
        size = path.stat().st_size
        reader = csv.reader(io.TextIOWrapper(packed, encoding="utf-8-sig", newline=""), strict=True)
        try:
            header = next(reader, [])
            wanted = _chosen(path, header, columns)
            places = [header.index(name) for name in wanted]
            for number, fields in enumerate(reader):
                if number % PROGRESS_EVERY == 0:
                    tell(path, raw.tell(), size)
                place = f"{path}:{reader.line_num}"
                if len(fields) != len(header):
                    left_out.add(place, f"expected {len(header)} fields, got {len(fields)}")
                    continue
                values = (fields[i] or None for i in places)
                yield Record(place, dict(zip(wanted, values, strict=True)))
        except csv.Error as error:
            _refuse(f"{path}:{reader.line_num}", f"expected CSV, got text that breaks ({error})")
        except UnicodeDecodeError as error:
            _refuse(
                f"{path}:{reader.line_num + 1}",
                f"expected text in UTF-8, got bytes that are none ({error.reason}); save the table "
                "in UTF-8",
            )
        except (EOFError, OSError, zlib.error) as error:
            _refuse_damage(path, reader.line_num, error)
        tell(path, size, size)


def _read_parquet(
    path: Path,
    columns: Callable[[Sequence[str]], Sequence[str]],
    left_out: LeftOut,
    tell: OnProgress,
) -> Iterator[Record]:
    with needs_extra("data", what="Parquet files"):
        import pyarrow
        import pyarrow.parquet
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            wanted = _chosen(path, file.schema_arrow.names, columns)
            done, size = 0, file.metadata.num_rows
            for batch in file.iter_batches(batch_size=PARQUET_ROWS, columns=list(wanted)):
                for number, fields in enumerate(batch.to_pylist(), done + 1):
                    yield Record(f"{path}:{number}", fields)
                done += batch.num_rows
                tell(path, done, size)
    except (pyarrow.ArrowException, UnicodeDecodeError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's; pyarrow's own, of damaged pages, has none
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: the file is damaged ({reason}); fetch it again") from None


def _chosen(
    path: Path, header: Sequence[str], columns: Callable[[Sequence[str]], Sequence[str]]
) -> Sequence[str]:
    if not header:
        _refuse(f"{path}:1", "expected the names of columns, got nothing")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        _refuse(f"{path}:1", f"column {twice[0]!r} comes twice; rename one")
    try:
        return columns(header)
    except DataError as error:
        _refuse(f"{path}:1", str(error))


def read_json_records(path: Path, left_out: LeftOut, tell: OnProgress) -> Iterator[Record]:
    """Yields the objects of a JSONL file, gzipped or not; empty lines are passed over.

    Raises:
        DataError: the file breaks off.
    """
    number = 0
    with _opened(path) as (raw, packed):
        size = path.stat().st_size
        try:
            for number, line in enumerate(packed, 1):
                if number % PROGRESS_EVERY == 1:
                    tell(path, raw.tell(), size)
                if not line.strip():
                    continue
                place = f"{path}:{number}"
                if number == 1 and line.lstrip().startswith(b"["):
                    left_out.add(place, _ARRAY)
                    continue
                try:
                    fields = read_json(line)
                except ValueError as error:
                    left_out.add(place, f"expected one JSON object a line, got no JSON ({error})")
                    continue
                if isinstance(fields, dict):
                    yield Record(place, fields)
                else:
                    left_out.add(place, f"expected a JSON object, got {shown(fields)}")
        except (EOFError, OSError, zlib.error) as error:
            _refuse_damage(path, number, error)
        tell(path, size, size)


def read_json(text: str | bytes) -> Any:
    """Returns the value of a JSON text; half characters, which no file can hold, become U+FFFD.

    Raises:
        ValueError: it is no JSON, or nested too deeply.
    """
    mark: Any = "\\ud" if isinstance(text, str) else b"\\ud"
    try:
        value = json.loads(text)
        return _whole(value) if mark in text.lower() else value
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {whole(key): _whole(item) for key, item in value.items()}
    return value


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Opens a file, gzipped if it starts so; gives it as stored, for its position, and unzipped."""
    with path.open("rb") as raw:
        is_gzip = raw.peek(2)[:2] == _GZIP
        packed: Any = gzip.GzipFile(fileobj=raw) if is_gzip else raw
        yield raw, packed


@contextlib.contextmanager
def _wide_fields() -> Iterator[None]:
    """Raises the limit of CSV fields, which is one for the whole process, for a while."""
    before = csv.field_size_limit(MAX_FIELD_CHARS)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _refuse(place: str, reason: str) -> NoReturn:
    raise DataError(f"{place}: {reason}") from None


def _refuse_damage(path: Path, line: int, error: Exception) -> NoReturn:
    _refuse(f"{path}:{line + 1}", f"the file breaks off or is damaged ({error}); fetch it again")
