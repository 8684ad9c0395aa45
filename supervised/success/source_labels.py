"""Labels of one source of recorded outcomes, straight from its tables; scores alone suffice."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from orchestai_env.datasets.queries import Queries
from orchestai_env.datasets.recorded_csv import read_outcomes, read_queries
from orchestai_env.datasets.splits import split_of
from orchestai_env.errors import DataError, MissingFileError
from supervised.success.cross_fitting import BoolArray, Labels, Problem
from supervised.texts.embeddings import stored_embeddings
from supervised.texts.form import text_form

SUCCESS_THRESHOLD = 0.5
"""A call succeeds when its score is at or above it; as imports have it by default."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceLabels:
    """Queries of a source and which worker succeeded on which."""

    queries: Queries
    """Sides are those of `split_of`."""
    workers: tuple[str, ...]
    """W names, sorted."""
    labels: Labels

    def rows(self, *splits: str) -> BoolArray:
        """Returns bool (Q,): the query is of one of the splits."""
        return np.isin(np.array(self.queries.split), splits)


def read_source_labels(folder: Path) -> SourceLabels:
    """Reads queries.csv.gz and outcomes.csv.gz of a source, or of an imported data set.

    Raises:
        MissingFileError: there is no such folder or file.
        DataError: a line is malformed, or a table is empty.
    """
    paths = [folder / name for name in ("queries.csv.gz", "outcomes.csv.gz")]
    for path in paths:
        if not path.is_file():
            raise MissingFileError(
                f"{path}: no such file; name the folder of one source, which holds queries.csv.gz "
                "and outcomes.csv.gz"
            )
    rows = read_queries(paths[0])
    types = {query_id: row.task_type for query_id, row in rows.items()}
    names = tuple(sorted(read_outcomes(paths[1], types, ()).models))
    calls = read_outcomes(paths[1], types, names).rows
    for path, content in ((paths[0], rows), (paths[1], names)):
        if not content:
            raise DataError(f"{path}: expected at least one line, got none; record calls first")
    kinds = sorted(set(types.values()))
    task_type = np.array([kinds.index(kind) for kind in types.values()], np.int32)
    wins, count = np.zeros((2, len(rows), len(names)))
    np.add.at(wins, (calls.query, calls.worker), calls.score >= SUCCESS_THRESHOLD)
    np.add.at(count, (calls.query, calls.worker), 1)
    prompts = tuple(row.prompt for row in rows.values())
    return SourceLabels(
        queries=Queries(
            ids=tuple(rows),
            prompts=prompts,
            task_types=tuple(kinds),
            task_type=task_type,
            split=tuple(split_of(prompt) for prompt in prompts),
        ),
        workers=names,
        labels=Labels(success=wins / np.maximum(count, 1), known=count > 0, task_type=task_type),
    )


def source_problem(source: SourceLabels, embeddings: Path, device: str) -> Problem:
    """Joins the texts and outcomes of a source.

    Args:
        source: queries and outcomes.
        embeddings: file of the queries' embeddings; made if it is not there.
        device: torch device of the encoder.
    Raises:
        DataError: the file belongs to other queries.
    """
    return Problem(
        embeddings=stored_embeddings(
            embeddings, source.queries.ids, source.queries.prompts, device=device
        ),
        form=text_form(source.queries.prompts),
        labels=source.labels,
        num_types=len(source.queries.task_types),
    )
