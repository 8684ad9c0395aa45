"""Arrays stored beside an imported data set: success predictions and text embeddings."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestai_env.datasets.queries import Queries
from orchestai_env.errors import DataError
from orchestai_env.outcomes.tables import OutcomeTables

Float32Array = npt.NDArray[np.float32]

FINGERPRINT_PARTS = ("texts", "task types", "splits", "outcomes")
"""What a prediction depends on, beside the names of queries and workers."""
_PREDICT_AGAIN = "predict again (python -m supervised.predict_success --data {folder})"


def fingerprint(queries: Queries, outcomes: OutcomeTables) -> tuple[str, ...]:
    """Returns the sha256 of each of FINGERPRINT_PARTS of a data set.

    Outcomes are how often each worker was called on each query, and which trials succeeded.
    """
    types = [queries.task_types[kind] for kind in queries.task_type.tolist()]
    hashes = [_hash_texts(texts) for texts in (queries.prompts, types, queries.split)]
    tables = hashlib.sha256(repr(outcomes.success.shape).encode())
    tables.update(np.ascontiguousarray(outcomes.num_trials, "<i4").tobytes())
    tables.update(np.ascontiguousarray(outcomes.success, np.uint8).tobytes())
    return (*hashes, tables.hexdigest())


def _hash_texts(texts: Iterable[str]) -> str:
    total = hashlib.sha256()
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        total.update(len(encoded).to_bytes(8, "little") + encoded)
    return total.hexdigest()


def read_predictions(
    path: Path, queries: Queries, worker_names: Sequence[str], outcomes: OutcomeTables
) -> Float32Array | None:
    """Reads success predictions per query and worker.

    Args:
        path: npz of query_ids (Q,), worker_names (W,), predicted_success (Q, W), dataset_sha256.
        queries: those of the data set, which must be those of the file, in order.
        worker_names: workers of the pool, likewise.
        outcomes: recorded calls, likewise.
    Returns:
        float32 (Q, W), 0..1, or None if there is no such file.
    Raises:
        DataError: the file is damaged, belongs to another data set, or does not say to which.
    """
    arrays = _read(path, ("query_ids", "worker_names", "predicted_success"), ("dataset_sha256",))
    if arrays is None:
        return None
    remedy = _PREDICT_AGAIN.format(folder=path.parent)
    _check_names(path, "queries", arrays["query_ids"], queries.ids, remedy)
    _check_names(path, "workers", arrays["worker_names"], worker_names, remedy)
    if "dataset_sha256" not in arrays:
        raise DataError(f"{path}: does not say which data set it belongs to; {remedy}")
    found, expected = arrays["dataset_sha256"].ravel().tolist(), fingerprint(queries, outcomes)
    if len(found) != len(expected):
        raise DataError(f"{path}: expected {len(expected)} hashes, got {len(found)}; {remedy}")
    for part, got, wanted in zip(FINGERPRINT_PARTS, found, expected, strict=True):
        if got != wanted:
            raise DataError(
                f"{path}: belongs to another data set: its {part} have the hash {str(got)[:12]}, "
                f"those here {wanted[:12]}; {remedy}"
            )
    values = _numbers(path, arrays["predicted_success"], (len(queries), len(worker_names)))
    if not ((values >= 0) & (values <= 1)).all():
        raise DataError(f"{path}: predicted_success leaves 0..1; {remedy}")
    return values


def read_embeddings(path: Path, query_ids: Sequence[str]) -> Float32Array | None:
    """Reads text embeddings per query.

    Args:
        path: npz of query_ids (Q,), embeddings (Q, D).
        query_ids: queries of the data set, which must be those of the file, in order.
    Returns:
        float32 (Q, D), or None if there is no such file.
    Raises:
        DataError: the file is damaged, or belongs to other queries.
    """
    arrays = _read(path, ("query_ids", "embeddings"))
    if arrays is None:
        return None
    remedy = "remove it, or embed the queries of this data set"
    _check_names(path, "queries", arrays["query_ids"], query_ids, remedy)
    return _numbers(path, arrays["embeddings"], (len(query_ids), None))


def _read(
    path: Path, names: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, npt.NDArray[Any]] | None:
    if not path.is_file():
        return None
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            there = [name for name in optional if name in file.files]
            return {name: file[name] for name in (*names, *there)}
    except KeyError as error:
        raise DataError(
            f"{path}: expected the arrays {', '.join(names)}: {error.args[0]}; make it again"
        ) from None
    except (ValueError, OSError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: expected an npz of arrays ({error}); make it again") from None


def _check_names(
    path: Path, what: str, found: npt.NDArray[Any], expected: Sequence[str], remedy: str
) -> None:
    names = [str(name) for name in found.ravel()]
    if names == list(expected):
        return
    if len(names) != len(expected):
        reason = f"{len(names)} against {len(expected)}"
    else:
        got, wanted = next((a, b) for a, b in zip(names, expected, strict=True) if a != b)
        reason = f"first difference: {got!r} where the data set has {wanted!r}"
    raise DataError(f"{path}: belongs to other {what} than the data set ({reason}); {remedy}")


def _numbers(path: Path, values: npt.NDArray[Any], shape: tuple[int, int | None]) -> Float32Array:
    """Checks shape (None: any) and finiteness and returns the values as float32."""
    fits = values.ndim == 2 and all(
        want in (None, got) for want, got in zip(shape, values.shape, strict=True)
    )
    if not (fits and values.dtype.kind in "fiu" and np.isfinite(values).all()):
        raise DataError(
            f"{path}: expected finite numbers of shape {shape}, got {values.dtype} of shape "
            f"{values.shape}; make it again"
        )
    return values.astype(np.float32)
