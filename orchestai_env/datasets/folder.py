"""The folder of an imported data set: its layout, and reading it back with every check.

dataset.json                   settings, pool, latency label, sources, counts
queries.csv.gz                 query_id, task_type, split, prompt
outcomes.csv.gz                the calls of the pool's workers
shapes.jsonl                   DAG shapes that the workflows were composed of, one a line
workflows_{split}.jsonl.gz     composed workflows of train, validation and test
predictions.npz                optional: query_ids, worker_names, predicted_success (Q, W), and
                               dataset_sha256, the hashes of the data set that they belong to
predictor.json                 optional: how the predictions were made, and their scores
embeddings.npz                 optional: query_ids, embeddings (Q, D)

Embeddings are of the queries, so of subtasks. Instructions have none: that of a composed workflow
only lists the types and links of its subtasks, which the observation holds already.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pydantic

from orchestai_env.dataset import Dataset
from orchestai_env.datasets.annexes import read_embeddings, read_predictions
from orchestai_env.datasets.queries import Queries
from orchestai_env.datasets.recorded_csv import QueryRow, read_outcomes, read_queries
from orchestai_env.datasets.recorded_settings import RecordedSourceSettings
from orchestai_env.datasets.shapes import ShapeTable, load_shapes
from orchestai_env.datasets.splits import SPLITS, Split, check_splits, leak_message
from orchestai_env.errors import (
    ConfigError,
    DataError,
    MissingFileError,
    SplitLeakError,
    WorkflowError,
    unknown_name,
)
from orchestai_env.outcomes.recorded import recorded_statistics, recorded_tables
from orchestai_env.settings import parse_settings
from orchestai_env.workers import WorkerPool
from orchestai_env.workflow import read_workflows
from orchestai_env.workflow_table import WorkflowTable

FORMAT_VERSION = 1
"""Version of the layout above; a folder of another version is imported again."""

DESCRIPTION = "dataset.json"
QUERIES = "queries.csv.gz"
OUTCOMES = "outcomes.csv.gz"
SHAPES = "shapes.jsonl"
PREDICTIONS = "predictions.npz"
PREDICTOR = "predictor.json"
EMBEDDINGS = "embeddings.npz"


def workflows_file(split: Split) -> str:
    """Returns the name of the workflow file of a split."""
    return f"workflows_{split}.jsonl.gz"


class SplitCounts(pydantic.BaseModel):
    """Size of one split."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    queries: int
    workflows: int


class DatasetDescription(pydantic.BaseModel):
    """What dataset.json says of an imported data set."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    format_version: int
    settings: RecordedSourceSettings
    workers: WorkerPool
    latency_label: Literal["recorded", "derived", "not recorded"]
    """derived as soon as one latency was not recorded but made from tokens; not recorded where
    the settings leave latency out."""
    num_derived_latencies: int
    """Calls whose latency was derived."""
    num_unanswered_queries: int
    """Queries left out, since no worker of the pool has a usable call of them."""
    sources: dict[str, str]
    """File read -> its sha256."""
    splits: dict[Split, SplitCounts]

    @property
    def task_types(self) -> tuple[str, ...]:
        """Vocabulary of task types."""
        return self.settings.task_types


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordedFolder:
    """An imported data set: all splits, and what is needed to compose workflows anew."""

    path: Path
    description: DatasetDescription
    queries: Queries
    shapes: ShapeTable
    workflows: Mapping[Split, WorkflowTable]
    """The composed workflows of each split."""
    all_splits: Dataset
    """The data set with the training workflows; outcomes and statistics serve every split."""

    def dataset(self, split: str) -> Dataset:
        """Returns the data set of one split; its statistics are those of the training queries.

        Raises:
            ConfigError: there is no such split.
        """
        for known in SPLITS:
            if split == known:
                return self.all_splits.with_workflows(self.workflows[known])
        raise ConfigError(unknown_name("split", split, SPLITS))


def load_dataset(folder: str | Path, split: str, max_subtasks: int | None = None) -> Dataset:
    """Reads one split of an imported data set, with every check of `load_folder`.

    Args:
        folder: written by `import_recorded`.
        split: train, validation or test.
        max_subtasks: padded size; None for the largest that the settings allow.
    Raises:
        OrchestAIError: see `load_folder`, and ConfigError for an unknown split.
    """
    return load_folder(folder, max_subtasks).dataset(split)


def load_queries(folder: str | Path) -> Queries:
    """Reads the queries of an imported data set and checks that none is on two sides.

    Raises:
        MissingFileError: the folder holds no imported data set.
        DataError: a line is malformed.
        SplitLeakError: a query, by id or text, is in two splits.
    """
    folder = Path(folder)
    return _read_queries(folder, read_description(folder).task_types)


def load_folder(
    folder: str | Path, max_subtasks: int | None = None, *, predictions: bool = True
) -> RecordedFolder:
    """Reads an imported data set, all splits, and checks that no query is on two sides.

    Args:
        folder: written by `import_recorded`.
        max_subtasks: padded size; None for the largest that the settings allow.
        predictions: whether stored success predictions are read; not if they are to be replaced.
    Raises:
        MissingFileError: the folder holds no imported data set, or a file of it is gone.
        DataError: a file is malformed, or predictions or embeddings belong to another data set.
        SplitLeakError: a query is in two splits, in the query table or the workflow files.
    """
    folder = Path(folder)
    description = read_description(folder)
    queries = _read_queries(folder, description.task_types)
    if max_subtasks is None:
        max_subtasks = description.settings.max_subtasks
    workflows = {split: _read_table(folder, split, queries, max_subtasks) for split in SPLITS}
    return RecordedFolder(
        path=folder,
        description=description,
        queries=queries,
        shapes=load_shapes(folder / SHAPES),
        workflows=workflows,
        all_splits=_dataset(folder, description, queries, workflows["train"], predictions),
    )


def read_description(folder: Path) -> DatasetDescription:
    """Reads dataset.json.

    Raises:
        MissingFileError: the folder holds no imported data set.
        DataError: the file is malformed or of another format version.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        raise MissingFileError(
            f"{path}: no imported data set there; make one with `orchestai import-recorded "
            f"--config FILE --data DIR --output_dir {folder}`"
        )
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        version = data["format_version"]
        if version != FORMAT_VERSION:
            raise DataError(
                f"{path}: expected format_version {FORMAT_VERSION}, got {version!r}; import the "
                "data set again"
            )
        return parse_settings(data, DatasetDescription, where=str(path))
    except ConfigError as error:
        raise DataError(f"{error}; import the data set again") from None
    except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: expected the description of a data set, got text that breaks ({error}); "
            "import the data set again"
        ) from None


def _read_queries(folder: Path, task_types: tuple[str, ...]) -> Queries:
    path = folder / QUERIES
    rows = read_queries(path, with_split=True)
    check_splits(((name, row.prompt, row.split) for name, row in rows.items()), where=str(path))
    kinds = {name: index for index, name in enumerate(task_types)}
    for name, row in rows.items():
        for what, value, known in (
            ("task type", row.task_type, kinds),
            ("split", row.split, SPLITS),
        ):
            if value not in known:
                raise DataError(f"{path}: query {name!r}: {unknown_name(what, value, known)}")
    return queries_of(rows, task_types)


def queries_of(rows: Mapping[str, QueryRow], task_types: tuple[str, ...]) -> Queries:
    """Makes the record of queries out of the lines of a query table, which have been checked."""
    kinds = {name: index for index, name in enumerate(task_types)}
    sides = {str(split): split for split in SPLITS}
    return Queries(
        ids=tuple(rows),
        prompts=tuple(row.prompt for row in rows.values()),
        task_types=task_types,
        task_type=np.array([kinds[row.task_type] for row in rows.values()], np.int32),
        split=tuple(sides[row.split] for row in rows.values()),
    )


def _read_table(folder: Path, split: Split, queries: Queries, max_subtasks: int) -> WorkflowTable:
    """Reads the workflows of one split and checks that their queries are of that split."""
    path = folder / workflows_file(split)
    try:
        table = WorkflowTable.from_workflows(
            read_workflows(path),
            task_types=queries.task_types,
            max_subtasks=max_subtasks,
            query_index=queries.row_of_id,
        )
    except WorkflowError as error:
        raise DataError(f"{path}: {error}") from None
    allowed = np.array([side == split for side in queries.split])
    used = np.unique(table.query[table.query >= 0])
    strangers = used[~allowed[used]]
    if len(strangers):
        row = int(strangers[0])
        raise SplitLeakError(leak_message(str(path), queries.ids[row], queries.split[row], split))
    return table


def _dataset(
    folder: Path,
    description: DatasetDescription,
    queries: Queries,
    workflows: WorkflowTable,
    predictions: bool,
) -> Dataset:
    pool = description.workers
    types = [queries.task_types[kind] for kind in queries.task_type.tolist()]
    calls = read_outcomes(folder / OUTCOMES, dict(zip(queries.ids, types, strict=True)), pool.names)
    outcomes = recorded_tables(
        calls.rows,
        pool,
        num_queries=len(queries),
        success_threshold=description.settings.success_threshold,
    )
    statistics = recorded_statistics(
        outcomes,
        queries.task_type,
        queries.rows("train"),
        num_task_types=len(queries.task_types),
    )
    predicted = None
    if predictions:
        predicted = read_predictions(folder / PREDICTIONS, queries, pool.names, outcomes)
    return Dataset(
        name=description.settings.source,
        pool=pool,
        workflows=workflows,
        outcomes=outcomes,
        statistics=dataclasses.replace(statistics, predicted_success=predicted),
        latency_label=description.latency_label,
        query_embeddings=read_embeddings(folder / EMBEDDINGS, queries.ids),
    )
