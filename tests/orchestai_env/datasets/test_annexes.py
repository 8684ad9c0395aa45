"""Predictions and embeddings beside a data set: theirs, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestai_env.datasets.annexes import read_embeddings, read_predictions
from orchestai_env.errors import DataError

QUERIES, WORKERS = ("q0", "q1", "q2"), ("ace", "bob")


def predictions(**changes: Any) -> dict[str, Any]:
    return {
        "query_ids": np.array(QUERIES),
        "worker_names": np.array(WORKERS),
        "predicted_success": np.linspace(0, 1, 6).reshape(3, 2),
    } | changes


def test_absent_annexes_are_none(tmp_path: Path) -> None:
    assert read_predictions(tmp_path / "predictions.npz", QUERIES, WORKERS) is None
    assert read_embeddings(tmp_path / "embeddings.npz", QUERIES) is None


def test_annexes_are_read_as_float32(tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    np.savez(path, **predictions(embeddings=np.arange(12).reshape(3, 4)))

    predicted = read_predictions(path, QUERIES, WORKERS)
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
        ({"worker_names": np.array(["ace", "eve"])}, "other workers .*remove it, or predict again"),
        ({"predicted_success": np.zeros((3, 3))}, r"finite numbers of shape \(3, 2\), got float64"),
        ({"predicted_success": np.full((3, 2), np.nan)}, "expected finite numbers"),
        ({"predicted_success": np.full((3, 2), 1.5)}, r"predicted_success leaves 0\.\.1"),
        ({"predicted_success": np.full((3, 2), "x")}, "expected finite numbers"),
        ({"worker_names": np.array([None, None])}, "expected an npz of arrays"),
    ],
)
def test_predictions_of_another_data_set_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = tmp_path / "predictions.npz"
    np.savez(path, **predictions(**changes))

    with pytest.raises(DataError, match=rf"predictions\.npz: .*{message}"):
        read_predictions(path, QUERIES, WORKERS)


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
