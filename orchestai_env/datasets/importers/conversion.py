"""convert: one import, from foreign files to ours, with a note of where they came from."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from orchestai_env.datasets.importers.left_out import LeftOut
from orchestai_env.datasets.importers.reading import OnProgress, Record
from orchestai_env.datasets.importers.tables import Call, Query, TableWriter, WorkerCounts
from orchestai_env.datasets.recorded_import import PLANNING
from orchestai_env.errors import ConfigError, DataError, OrchestAIError

PROVENANCE = "provenance.json"
LEFT_OUT = "left_out.txt"
SETTINGS = "import.yaml"
"""Files beside the tables."""

UNITS = {
    "score": "0..1, 1 = right",
    "input_tokens": "tokens",
    "output_tokens": "tokens",
    "cost_usd": "USD for the call; empty = not recorded",
    "latency_ms": "milliseconds of wall-clock time; empty = not recorded",
}

_NAME = re.compile(r"[\w.-]*\w[\w.-]*")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConvertSettings:
    """What an import reads and writes."""

    inputs: tuple[Path, ...]
    output_dir: Path
    """Folder of sources, the `--data` of `orchestai import-recorded`."""
    name: str
    """Source folder to write there; plans go to planning/<name>.jsonl.gz."""
    skip_bad: bool = False
    """Whether bad lines are listed and left out, rather than refused."""
    source: str | None = None
    """Where the inputs were published, for the provenance."""
    license: str | None = None
    """Their licence, for the provenance."""


@dataclasses.dataclass(kw_only=True)
class Converted:
    """What an import read; its files are in place."""

    format: str
    output: Path
    """Folder of the provenance."""
    inputs: list[Path] = dataclasses.field(default_factory=list)
    """Files that were read."""
    num_queries: int = 0
    num_calls: int = 0
    num_workflows: int = 0
    num_left_out: int = 0
    first_left_out: list[str] = dataclasses.field(default_factory=list)
    workers: dict[str, WorkerCounts] = dataclasses.field(default_factory=dict)
    task_types: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    """Queries, or subtasks where there are none, by type."""
    notes: list[str] = dataclasses.field(default_factory=list)
    """What a user of the data has to know, a sentence each."""

    def take(self, tables: TableWriter) -> None:
        """Takes over the counts of the tables."""
        self.num_queries, self.num_calls = tables.num_queries, tables.num_calls
        self.workers, self.task_types = dict(tables.workers), tables.task_types


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workspace:
    """Where an importer writes, until all is whole."""

    tables: Path
    """Folder that becomes the source folder."""
    plans: Path
    """File that becomes planning/<name>.jsonl.gz."""
    left_out: LeftOut
    tell: OnProgress


Importer = Callable[[ConvertSettings, Workspace, Converted], None]
"""Reads the inputs, writes into the workspace, and fills in what it read."""


def convert(
    name: str, importer: Importer, settings: ConvertSettings, tell: OnProgress = lambda *_: None
) -> Converted:
    """Runs an importer and puts its files in place when all are whole.

    Equal inputs and settings give equal files, byte for byte.

    Args:
        name: of the format.
        importer: reads that format.
        settings: what to read and to write.
        tell: told about progress.
    Raises:
        ConfigError: the name is no folder name, or the output folder is a file.
        DataError: a line is bad and `skip_bad` is off, or nothing is left.
        MissingFileError: an input is missing.
    """
    _check(settings)
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.output_dir, prefix=".convert-") as partial:
        root = Path(partial)
        tables, plans = root / settings.name, root / PLANNING
        tables.mkdir()
        plans.mkdir()
        left_out = LeftOut(tables / LEFT_OUT if settings.skip_bad else None)
        converted = Converted(format=name, output=settings.output_dir / settings.name)
        workspace = Workspace(
            tables=tables,
            plans=plans / f"{settings.name}.jsonl.gz",
            left_out=left_out,
            tell=tell,
        )
        try:
            importer(settings, workspace, converted)
        finally:
            left_out.close()
        converted.num_left_out, converted.first_left_out = left_out.count, left_out.first
        if not converted.num_calls + converted.num_workflows:
            raise DataError(_nothing_left(settings, converted))
        _write_notes(tables, settings, converted)
        _move_in(root, settings.output_dir, settings.name)
    return converted


def _check(settings: ConvertSettings) -> None:
    if not _NAME.fullmatch(settings.name) or settings.name == PLANNING:
        raise ConfigError(
            f"--name: expected a folder name of letters, digits, '.', '-' and '_', other than "
            f"{PLANNING!r}, got {settings.name!r}"
        )
    if settings.output_dir.exists() and not settings.output_dir.is_dir():
        raise ConfigError(
            f"{settings.output_dir}: expected a folder to write to, got a file; name another"
        )


def _nothing_left(settings: ConvertSettings, converted: Converted) -> str:
    files = ", ".join(map(str, settings.inputs))
    first = f"; the first: {converted.first_left_out[0]}" if converted.first_left_out else ""
    return (
        f"{files}: expected at least one record of format {converted.format}, got none "
        f"({converted.num_left_out} bad lines{first})"
    )


def _write_notes(folder: Path, settings: ConvertSettings, converted: Converted) -> None:
    """Writes the provenance and, for tables, settings that import them."""
    data = {
        "format": converted.format,
        "source": settings.source,
        "license": settings.license,
        "inputs": [
            {"file": path.name, "bytes": path.stat().st_size, "sha256": _sha256(path)}
            for path in converted.inputs
        ],
        "queries": converted.num_queries,
        "calls": converted.num_calls,
        "workflows": converted.num_workflows,
        "left_out": converted.num_left_out,
        "task_types": dict(sorted(converted.task_types.items())),
        "workers": {
            worker: dataclasses.asdict(counts)
            for worker, counts in sorted(converted.workers.items())
        },
        "units": UNITS if converted.num_calls else {},
        "notes": converted.notes,
    }
    text = json.dumps(data, ensure_ascii=False, indent=1)
    (folder / PROVENANCE).write_text(text + "\n", encoding="utf-8")
    if converted.num_calls:
        text = yaml.safe_dump(import_settings(settings.name, converted), sort_keys=False)
        (folder / SETTINGS).write_text(text, encoding="utf-8")


def import_settings(name: str, converted: Converted) -> dict[str, Any]:
    """Returns settings for `orchestai import-recorded`: all task types, all usable workers.

    Where no call has a cost (or latency), the settings say `none`; a worker without a call that has
    all that is recorded is left out, as the import would refuse it.
    """
    counts = converted.workers.values()
    cost = any(worker.num_costs for worker in counts)
    latency = any(worker.num_latencies for worker in counts)

    def is_usable(worker: WorkerCounts) -> bool:
        if cost and latency:
            return worker.num_both > 0
        return worker.num_costs > 0 if cost else worker.num_latencies > 0 or not latency

    usable = [name for name, worker in sorted(converted.workers.items()) if is_usable(worker)]
    return {
        "source": {
            "source": name,
            "task_types": sorted(converted.task_types),
            "cost": "recorded" if cost else "none",
            "latency": "recorded" if latency else "none",
            "shapes": "planning" if converted.num_workflows else "random",
        },
        "worker_models": [{"name": worker} for worker in usable],
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _move_in(partial: Path, output_dir: Path, name: str) -> None:
    """Moves files into place, the provenance last; a list of an earlier import goes."""
    (output_dir / name / PROVENANCE).unlink(missing_ok=True)
    (output_dir / name / LEFT_OUT).unlink(missing_ok=True)
    paths = sorted(path for path in partial.rglob("*") if path.is_file())
    for path in sorted(paths, key=lambda path: path.name == PROVENANCE):
        target = output_dir / path.relative_to(partial)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)


def import_tables(
    records: Iterable[Record],
    parse: Callable[[Mapping[str, Any]], tuple[Query, list[Call]]],
    tables: TableWriter,
    left_out: LeftOut,
) -> None:
    """Parses records one by one and writes what they hold.

    Args:
        records: of a file.
        parse: takes the fields, returns a query and its calls, or raises DataError.
        tables: where to.
        left_out: what happens to a bad record.
    """
    for place, fields in records:
        try:
            query, calls = parse(fields)
            tables.add(query, calls)
        except OrchestAIError as error:
            left_out.add(place, str(error))
