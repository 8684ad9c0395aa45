"""Predictions and embeddings beside a data set: theirs, or refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestai_env.datasets.annexes import (
    FINGERPRINT_PARTS,
    fingerprint,
    read_embeddings,
    read_predictions,
)
from orchestai_env.datasets.queries import Queries
from orchestai_env.errors import DataError
from orchestai_env.outcomes.tables import OutcomeTables, empty_tables

QUERIES, WORKERS = ("q0", "q1", "q2"), ("ace", "bob")
TABLE = Queries(
    ids=QUERIES,
    prompts=("one", "two", "three"),
    task_types=("code", "math"),
    task_type=np.array([0, 1, 0], np.int32),
    split=("train", "train", "test"),
)


def outcomes(**changes: Any) -> OutcomeTables:
    fields: dict[str, Any] = empty_tables() | {
        "num_trials": np.ones((3, 2), np.int32),
        "success": np.ones((3, 2, 1), np.uint8),
    }
    return OutcomeTables(**fields | changes)


def predictions(**changes: Any) -> dict[str, Any]:
    return {
        "query_ids": np.array(QUERIES),
        "worker_names": np.array(WORKERS),
        "predicted_success": np.linspace(0, 1, 6).reshape(3, 2),
        "dataset_sha256": np.array(fingerprint(TABLE, outcomes())),
    } | changes


def test_absent_annexes_are_none(tmp_path: Path) -> None:
    path = tmp_path / "predictions.npz"
    assert read_predictions(path, TABLE, WORKERS, outcomes()) is None
    assert read_embeddings(tmp_path / "embeddings.npz", QUERIES) is None


def test_annexes_are_read_as_float32(tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    np.savez(path, **predictions(embeddings=np.arange(12).reshape(3, 4)))

    predicted = read_predictions(path, TABLE, WORKERS, outcomes())
    embeddings = read_embeddings(path, QUERIES)

    assert predicted is not None and embeddings is not None
    assert predicted.dtype == embeddings.dtype == np.float32
    assert predicted.tolist() == pytest.approx(np.linspace(0, 1, 6).reshape(3, 2))
    assert embeddings.shape == (3, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"query_ids": np.array(["q0", "q2", "q1"])}, "other queries .*'q2' where .* has 'q1'"),
        ({"query_ids": np.array(["q0"])}, r"other queries than the data set \(1 against 3\)"),
        ({"worker_names": np.array(["ace", "eve"])}, "other workers .*; predict again"),
        ({"predicted_success": np.zeros((3, 3))}, r"finite numbers of shape \(3, 2\), got float64"),
        ({"predicted_success": np.full((3, 2), np.nan)}, "expected finite numbers"),
        ({"predicted_success": np.full((3, 2), 1.5)}, r"predicted_success leaves 0\.\.1"),
        ({"predicted_success": np.full((3, 2), "x")}, "expected finite numbers"),
        ({"worker_names": np.array([None, None])}, "expected an npz of arrays"),
        ({"dataset_sha256": np.array(["x", "y"])}, "expected 4 hashes, got 2; predict again"),
    ],
)
def test_predictions_of_another_data_set_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = tmp_path / "predictions.npz"
    np.savez(path, **predictions(**changes))

    with pytest.raises(DataError, match=rf"predictions\.npz: .*{message}"):
        read_predictions(path, TABLE, WORKERS, outcomes())


def test_predictions_without_hashes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "predictions.npz"
    arrays = predictions()
    del arrays["dataset_sha256"]
    np.savez(path, **arrays)

    with pytest.raises(DataError, match=r"does not say which data set .*; predict again \(python"):
        read_predictions(path, TABLE, WORKERS, outcomes())


CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "texts": ({"prompts": ("one", "two", "drei")}, {}),
    "task types": ({"task_type": np.array([0, 1, 1], np.int32)}, {}),
    "splits": ({"split": ("train", "train", "validation")}, {}),
    "outcomes": ({}, {"success": np.zeros((3, 2, 1), np.uint8)}),
}


@pytest.mark.parametrize("part", FINGERPRINT_PARTS)
def test_the_part_that_differs_is_named(tmp_path: Path, part: str) -> None:
    path = tmp_path / "predictions.npz"
    np.savez(path, **predictions())
    queries, tables = CHANGES[part]

    with pytest.raises(DataError, match=rf"another data set: its {part} have the hash .*again"):
        read_predictions(path, dataclasses.replace(TABLE, **queries), WORKERS, outcomes(**tables))


def test_fingerprint_keeps_texts_apart() -> None:
    other = dataclasses.replace(TABLE, prompts=("onetwo", "", "three"))

    assert fingerprint(other, outcomes())[0] != fingerprint(TABLE, outcomes())[0]


def test_embeddings_of_another_data_set_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "embeddings.npz"
    np.savez(path, query_ids=np.array(["x", "y", "z"]), embeddings=np.zeros((3, 4)))

    with pytest.raises(DataError, match=r"belongs to other queries .*or embed the queries"):
        read_embeddings(path, QUERIES)


@pytest.mark.parametrize("content", [b"", b"no npz", b"PK\x03\x04cut"])
def test_damaged_annex_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "embeddings.npz"
    path.write_bytes(content)

    with pytest.raises(DataError, match="expected an npz of arrays"):
        read_embeddings(path, QUERIES)


def test_annex_without_an_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "embeddings.npz"
    np.savez(path, query_ids=np.array(QUERIES))

    with pytest.raises(DataError, match="expected the arrays query_ids, embeddings"):
        read_embeddings(path, QUERIES)
