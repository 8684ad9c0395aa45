"""Requests with the shapes of their plans, checked and split."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestai_env.datasets.splits import SPLITS
from orchestai_env.errors import DataError, shown, unknown_name
from orchestai_env.workflow import read_json_lines
from supervised.plans.splits import groups_and_sides

SHAPES = ("single", "chain", "dag")
"""One subtask; subtasks in a row; a graph that is neither. Labels are places in this tuple."""
MIN_TRAINING = 50
"""Least number of training requests, that of the neighbours that may be asked."""

IntArray = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Requests:
    """n requests, each with the shape of its plan and its side."""

    texts: tuple[str, ...]
    domain: IntArray
    """int64 (n,), number of the field that a request is from; not known in production."""
    shape: IntArray
    """int64 (n,), place in SHAPES."""
    group: IntArray
    """int64 (n,), equal for near-duplicates."""
    split: npt.NDArray[np.str_]
    """(n,) of SPLITS, by the rules of `plans.splits.split_rows`: a group is on one side."""

    def rows(self, split: str) -> npt.NDArray[np.bool_]:
        """Returns bool (n,): which requests are on a side."""
        return np.asarray(self.split == split)


def read_requests(path: Path) -> Requests:
    """Reads requests with the shapes of their plans, and splits them.

    Args:
        path: JSONL(.gz) of {instruction, shape, domain}; other keys are left alone.
    Raises:
        MissingFileError: there is no such file.
        DataError: a line is malformed; a split is empty; training requests are fewer than
            MIN_TRAINING, or all of one shape.
    """
    lines = [_checked(data, f"{path}:{number}") for number, data in read_json_lines(path)]
    if not lines:
        raise DataError(f"{path}: expected at least one request, got none; check the file")
    texts = tuple(line["instruction"] for line in lines)
    group, split = groups_and_sides(texts)
    requests = Requests(
        texts=texts,
        domain=np.unique([line["domain"] for line in lines], return_inverse=True)[1],
        shape=np.array([SHAPES.index(line["shape"]) for line in lines]),
        group=group,
        split=split,
    )
    sizes = {split: int(requests.rows(split).sum()) for split in SPLITS}
    if sizes["train"] < MIN_TRAINING or not all(sizes.values()):
        raise DataError(
            f"{path}: expected {MIN_TRAINING} training requests or more and some in every split, "
            f"got {sizes}; a request's text decides its split, so add requests"
        )
    found = np.unique(requests.shape[requests.rows("train")])
    if len(found) < 2:
        raise DataError(
            f"{path}: expected training requests of two shapes or more, got {SHAPES[found[0]]!r} "
            "alone; there is nothing to tell apart, add requests of another shape"
        )
    return requests


def _checked(data: Any, where: str) -> dict[str, str]:
    if not isinstance(data, dict):
        raise DataError(f"{where}: expected {{instruction, shape, domain}}, got {shown(data)}")
    for key in ("instruction", "shape", "domain"):
        value = data.get(key)
        if not (isinstance(value, str) and value.strip()):
            got = shown(value) if key in data else "no such key"
            raise DataError(f"{where}: {key}: expected a text, got {got}; repair or remove it")
    if data["shape"] not in SHAPES:
        raise DataError(f"{where}: {unknown_name('shape', data['shape'], SHAPES)}")
    return data
