"""Import of recorded outcomes: tables of queries and calls in, a data set folder out."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
from pathlib import Path
from typing import Literal

import numpy as np

from orchestai_env.datasets.compose import compose_workflows, to_workflows
from orchestai_env.datasets.folder import (
    DESCRIPTION,
    FORMAT_VERSION,
    OUTCOMES,
    PREDICTIONS,
    QUERIES,
    SHAPES,
    DatasetDescription,
    RecordedFolder,
    SplitCounts,
    load_folder,
    queries_of,
    workflows_file,
)
from orchestai_env.datasets.queries import Queries
from orchestai_env.datasets.recorded_csv import (
    QueryRow,
    gzip_text,
    read_outcomes,
    read_queries,
    write_outcomes,
    write_queries,
)
from orchestai_env.datasets.recorded_settings import RecordedSourceSettings
from orchestai_env.datasets.shapes import ShapeTable, random_shapes, read_shapes, write_shapes
from orchestai_env.datasets.splits import SPLITS, Split, split_of
from orchestai_env.errors import (
    ConfigError,
    DataError,
    MissingFileError,
    UnknownWorkerError,
    unknown_name,
)
from orchestai_env.outcomes.recorded import RecordedRows, recorded_statistics
from orchestai_env.workers import WorkerPool

PLANNING = "planning"
"""Folder of recorded plans inside the data folder."""

NUM_RANDOM_SHAPES = 4_096
"""Shapes drawn under `shapes: random`; chosen to have each frequent shape many times."""


def import_recorded(
    data_root: str | Path,
    settings: RecordedSourceSettings,
    pool: WorkerPool,
    output_dir: str | Path,
) -> RecordedFolder:
    """Imports one source of recorded outcomes as a data set folder, and reads it back.

    Queries are split by a hash of their text, then workflows are composed within each split.
    Equal inputs and settings give equal files, byte for byte. Files are made aside and moved in
    when whole. Where the description of the data set changes, stored predictions are removed, as
    they were fitted to the old one.

    Args:
        data_root: holds <source>/queries.csv.gz, <source>/outcomes.csv.gz and planning/.
        settings: what to import.
        pool: the workers; their names are models of the source.
        output_dir: made if missing.
    Raises:
        MissingFileError: the data folder, the source or a file of it is missing.
        ConfigError: the source has no such task type.
        UnknownWorkerError: the source has no such worker.
        DataError: a line is malformed, a worker has no usable call, a split has no query, or the
            settings leave out a cost or latency that is recorded.
    """
    data_root, output_dir = Path(data_root), Path(output_dir)
    if output_dir.exists() and not output_dir.is_dir():
        raise ConfigError(f"{output_dir}: expected a folder to write to, got a file; name another")
    paths = _source_files(data_root, settings)
    source = _read_source(paths[0], paths[1], settings, pool)
    shapes = _shapes(data_root, settings)
    queries = queries_of(source.queries, settings.task_types)
    description = DatasetDescription(
        format_version=FORMAT_VERSION,
        settings=settings,
        workers=pool,
        latency_label=_latency_label(settings, source.num_derived),
        num_derived_latencies=source.num_derived,
        num_unanswered_queries=source.num_unanswered,
        sources={path.relative_to(data_root).as_posix(): _sha256(path) for path in paths},
        splits={split: _split_counts(queries, split, settings) for split in SPLITS},
    )
    output_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output_dir, prefix=".import-") as partial:
        _write_folder(Path(partial), description, source, queries, shapes)
        _move_in(Path(partial), output_dir)
    return load_folder(output_dir)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Source:
    """What an import keeps of a source."""

    queries: dict[str, QueryRow]
    """Queries of the chosen types that a worker of the pool has answered, with their split."""
    rows: RecordedRows
    """Their calls by the pool's workers; `query` counts `queries` in order."""
    num_derived: int
    """Calls whose latency was derived."""
    num_unanswered: int
    """Queries of the chosen types that no worker of the pool has answered."""


def _source_files(data_root: Path, settings: RecordedSourceSettings) -> list[Path]:
    """Returns the files that an import reads: queries, outcomes, then plans."""
    if not data_root.is_dir():
        raise MissingFileError(
            f"{data_root}: no such data folder; name the folder that holds "
            f"{settings.source}/queries.csv.gz"
        )
    folder = data_root / settings.source
    if not folder.is_dir():
        sources = sorted(path.parent.name for path in data_root.glob("*/queries.csv.gz"))
        raise MissingFileError(
            f"{folder}: no such source folder; {unknown_name('source', settings.source, sources)}"
        )
    tables = [folder / "queries.csv.gz", folder / "outcomes.csv.gz"]
    for path in tables:
        if not path.is_file():
            raise MissingFileError(
                f"{path}: no such file; a source holds queries.csv.gz and outcomes.csv.gz"
            )
    plans = sorted((data_root / PLANNING).glob("*.jsonl.gz"))
    return tables + (plans if settings.shapes == "planning" else [])


def _read_source(
    queries_path: Path, outcomes_path: Path, settings: RecordedSourceSettings, pool: WorkerPool
) -> _Source:
    """Reads both tables and keeps what the chosen task types and workers need."""
    queries = read_queries(queries_path)
    types = {name: row.task_type for name, row in queries.items()}
    for wanted in settings.task_types:
        if wanted not in types.values():
            known = set(types.values())
            raise ConfigError(
                f"task_types: {queries_path}: {unknown_name('task type', wanted, known)}"
            )
    calls = read_outcomes(outcomes_path, types, pool.names)
    for name in pool.names:
        if name not in calls.models:
            raise UnknownWorkerError(
                f"{outcomes_path}: {unknown_name('worker', name, calls.models)}"
            )
    rows = _without_unrecorded(outcomes_path, calls.rows, settings)
    derived = np.zeros(len(rows.query), bool)
    if settings.latency == "derived":
        derived = np.isnan(rows.latency_ms)
        rows = rows.with_derived_latency(pool)
        derived &= ~np.isnan(rows.latency_ms)
    of_type = np.array([kind in settings.task_types for kind in types.values()])
    answered = np.zeros(len(queries), bool)
    answered[rows.query[rows.usable_mask]] = True
    kept = of_type & answered
    chosen = kept[rows.query]
    _check_workers(outcomes_path, rows.selected(chosen), settings, pool)
    new_row = np.cumsum(kept, dtype=np.int32) - np.int32(1)
    return _Source(
        queries={
            name: row._replace(split=split_of(row.prompt))
            for (name, row), keep in zip(queries.items(), kept.tolist(), strict=True)
            if keep
        },
        rows=dataclasses.replace(rows.selected(chosen), query=new_row[rows.query[chosen]]),
        num_derived=int(derived[chosen].sum()),
        num_unanswered=int((of_type & ~answered).sum()),
    )


def _without_unrecorded(
    path: Path, rows: RecordedRows, settings: RecordedSourceSettings
) -> RecordedRows:
    """Sets cost and latency to 0 where the settings say that the source records none.

    Raises:
        DataError: it does record one.
    """
    for key, column in (("cost", "cost_usd"), ("latency", "latency_ms")):
        if getattr(settings, key) != "none":
            continue
        values = getattr(rows, column)
        if not np.isnan(values).all():
            raise DataError(
                f"{path}: column {column!r} has recorded values, but the settings say "
                f"`{key}: none`; set `{key}: recorded`"
            )
        rows = dataclasses.replace(rows, **{column: np.zeros_like(values)})
    return rows


def _latency_label(
    settings: RecordedSourceSettings, num_derived: int
) -> Literal["recorded", "derived", "not recorded"]:
    if settings.latency == "none":
        return "not recorded"
    return "derived" if num_derived else "recorded"


def _check_workers(
    path: Path, rows: RecordedRows, settings: RecordedSourceSettings, pool: WorkerPool
) -> None:
    """Refuses a pool with a worker that every mask would forbid."""
    calls = np.bincount(rows.worker[rows.usable_mask], minlength=len(pool))
    if calls.all():
        return
    hint = ", or set `latency: derived`" if settings.latency == "recorded" else ""
    if np.isnan(rows.cost_usd).all():
        hint = ", or, where the source records scores alone, set `cost: none` and `latency: none`"
    raise DataError(
        f"{path}: worker {pool.names[int(np.argmin(calls))]!r} has no call with cost and latency "
        f"for the chosen task types; leave it out{hint}"
    )


def _shapes(data_root: Path, settings: RecordedSourceSettings) -> ShapeTable:
    sizes = settings.min_subtasks, settings.max_subtasks
    if settings.shapes == "planning":
        return read_shapes(data_root / PLANNING, *sizes)
    return random_shapes(np.random.default_rng(settings.seed), NUM_RANDOM_SHAPES, *sizes)


def _split_counts(queries: Queries, split: Split, settings: RecordedSourceSettings) -> SplitCounts:
    num_queries = len(queries.rows(split))
    if not num_queries:
        raise DataError(
            f"source {settings.source}: none of its {len(queries)} queries falls into the {split} "
            "split; take more task types"
        )
    num_workflows: int = getattr(settings.num_workflows, split)
    return SplitCounts(queries=num_queries, workflows=num_workflows)


def _write_folder(
    folder: Path,
    description: DatasetDescription,
    source: _Source,
    queries: Queries,
    shapes: ShapeTable,
) -> None:
    """Writes every file of a data set folder."""
    types = [row.task_type for row in source.queries.values()]
    write_queries(folder / QUERIES, source.queries.items())
    write_outcomes(
        folder / OUTCOMES,
        source.rows,
        query_ids=queries.ids,
        types=types,
        workers=description.workers.names,
    )
    write_shapes(folder / SHAPES, shapes)
    for index, split in enumerate(SPLITS):
        table = compose_workflows(
            np.random.default_rng([description.settings.seed, index]),
            num_workflows=description.splits[split].workflows,
            shapes=shapes,
            query_rows=queries.rows(split),
            task_type_of_query=queries.task_type,
            task_types=queries.task_types,
            max_subtasks=description.settings.max_subtasks,
        )
        with gzip_text(folder / workflows_file(split)) as file:
            for workflow in to_workflows(table, queries, id_prefix=split):
                file.write(json.dumps(workflow.to_dict(), ensure_ascii=False) + "\n")
    text = json.dumps(description.model_dump(mode="json"), ensure_ascii=False, indent=1)
    (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")


def _move_in(partial: Path, folder: Path) -> None:
    """Moves a written data set into its folder; a folder without description is not loaded."""
    description = folder / DESCRIPTION
    new = (partial / DESCRIPTION).read_bytes()
    if not (description.is_file() and description.read_bytes() == new):
        (folder / PREDICTIONS).unlink(missing_ok=True)
    description.unlink(missing_ok=True)
    names = sorted(path.name for path in partial.iterdir())
    for name in sorted(names, key=lambda name: name == DESCRIPTION):
        (partial / name).replace(folder / name)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def describe_import(folder: RecordedFolder) -> str:
    """Returns a short table of an imported data set: its splits, and the workers in training."""
    description, data = folder.description, folder.all_splits
    lines = [
        f"{data.name}: {len(folder.queries):,} queries of {len(data.task_types)} task types, "
        f"{len(data.pool)} workers",
        f"latency: {_latency_words(description)}",
        *(["cost: not recorded, taken as 0"] if description.settings.cost == "none" else []),
        "",
        f"{'split':<12}{'queries':>9}{'workflows':>11}",
    ]
    for split, counts in description.splits.items():
        lines.append(f"{split:<12}{counts.queries:>9,}{counts.workflows:>11,}")
    if description.num_unanswered_queries:
        lines.append(f"left out: {description.num_unanswered_queries:,} queries without an answer")
    return "\n".join([*lines, "", *_worker_lines(folder)])


def _worker_lines(folder: RecordedFolder) -> list[str]:
    """Returns a table of the workers, and a note where one has no call to be judged by."""
    data, settings = folder.all_splits, folder.description.settings
    rows = folder.queries.rows("train")
    overall = recorded_statistics(
        data.outcomes, np.zeros_like(folder.queries.task_type), rows, num_task_types=1
    )
    calls = data.outcomes.num_trials[rows].sum(axis=0)
    head = "worker, on training queries"
    width = max(map(len, (head, *data.pool.names))) + 2
    lines = [f"{head:<{width}}{'success':>9}{'USD':>11}{'s':>8}"]
    for w, name in enumerate(data.pool.names):
        success = f"{overall.success[0, w]:.3f}" if calls[w] else "-"
        has_cost = calls[w] and settings.cost != "none"
        cost = f"{overall.cost_usd[0, w]:.6f}" if has_cost else "-"
        has_latency = calls[w] and settings.latency != "none"
        seconds = f"{overall.latency_ms[0, w] / 1000:.2f}" if has_latency else "-"
        lines.append(f"{name:<{width}}{success:>9}{cost:>11}{seconds:>8}")
    if not calls.all():
        lines.append("-: no call on a training query, agents see the means of all workers")
    return lines


def _latency_words(description: DatasetDescription) -> str:
    if description.latency_label == "not recorded":
        return "not recorded, taken as 0"
    if description.latency_label == "recorded":
        return "recorded"
    calls = description.num_derived_latencies
    return f"derived for {calls:,} calls from tokens and the workers' stated speeds"
