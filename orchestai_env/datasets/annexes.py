"""Arrays stored beside an imported data set: success predictions and text embeddings."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestai_env.errors import DataError

Float32Array = npt.NDArray[np.float32]


def read_predictions(
    path: Path, query_ids: Sequence[str], worker_names: Sequence[str]
) -> Float32Array | None:
    """Reads success predictions per query and worker.

    Args:
        path: npz of query_ids (Q,), worker_names (W,), predicted_success (Q, W).
        query_ids: queries of the data set, which must be those of the file, in order.
        worker_names: workers of the pool, likewise.
    Returns:
        float32 (Q, W), 0..1, or None if there is no such file.
    Raises:
        DataError: the file is damaged, or belongs to other queries or workers.
    """
    arrays = _read(path, ("query_ids", "worker_names", "predicted_success"))
    if arrays is None:
        return None
    remedy = "remove it, or predict again for this data set"
    _check_names(path, "queries", arrays["query_ids"], query_ids, remedy)
    _check_names(path, "workers", arrays["worker_names"], worker_names, remedy)
    values = _numbers(path, arrays["predicted_success"], (len(query_ids), len(worker_names)))
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


def _read(path: Path, names: Sequence[str]) -> dict[str, npt.NDArray[Any]] | None:
    if not path.is_file():
        return None
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: file[name] for name in names}
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
