"""Sentence embeddings of the built-in texts, shipped as one file.

`python -m supervised.embed_builtin` makes the file. A subtask is embedded without the name of its
client, as the step alone: that leaves about 3,400 texts to embed instead of 8,800. Equal steps of
two splits then share a row; nothing can leak by it, as the built-in outcomes do not depend on text.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.resources
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from orchestai_env.dataset import Dataset
from orchestai_env.workflow import Subtask, Workflow

FILE = "builtin_embeddings.npz"
"""Arrays subtask_keys (Q,), subtask_embeddings (Q, D), instruction_keys (I,) and
instruction_embeddings (I, D): keys uint64 and ascending, embeddings float16 of unit length."""

Texts = Literal["subtask", "instruction"]


def step_text(subtask: Subtask) -> str:
    """Returns what is embedded of a built-in subtask: its name without the client."""
    return subtask.name.partition(": ")[2]


def text_keys(texts: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Returns a key per text, the first 8 bytes of a hash (BLAKE2b)."""
    digests = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def embedding_arrays(
    kind: Texts, texts: Sequence[str], embeddings: npt.NDArray[np.float32]
) -> dict[str, npt.NDArray[np.generic]]:
    """Returns the arrays of the file for one kind of text.

    Args:
        kind: subtask or instruction.
        texts: n different texts.
        embeddings: float32 (n, D).
    """
    keys = text_keys(texts)
    order = np.argsort(keys)
    assert (np.diff(keys[order]) > 0).all(), "two texts have one key"
    return {
        f"{kind}_keys": keys[order],
        f"{kind}_embeddings": embeddings[order].astype(np.float16),
    }


@functools.cache
def _keys(kind: Texts) -> npt.NDArray[np.uint64]:
    return _read(f"{kind}_keys").astype(np.uint64)


@functools.cache
def builtin_embeddings(kind: Texts) -> npt.NDArray[np.float32]:
    """Returns the shipped embeddings of one kind of text, float32 (n, D); read once."""
    return _read(f"{kind}_embeddings").astype(np.float32)


def _read(name: str) -> npt.NDArray[np.generic]:
    resource = importlib.resources.files(__package__) / FILE
    with resource.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        found: npt.NDArray[np.generic] = arrays[name]
    return found


def _rows(kind: Texts, texts: Sequence[str]) -> npt.NDArray[np.int32] | None:
    """Returns int32 (n,), the row of every text; None if one has no embedding."""
    keys, wanted = _keys(kind), text_keys(texts)
    rows = np.searchsorted(keys, wanted)
    is_known = keys[np.minimum(rows, len(keys) - 1)] == wanted
    return rows.astype(np.int32) if is_known.all() else None


def with_builtin_embeddings(dataset: Dataset, workflows: Sequence[Workflow]) -> Dataset:
    """Attaches the shipped embeddings if they cover every text, else none at all.

    Args:
        dataset: its table holds `workflows`.
        workflows: built-in workflows, their subtasks in the order of the table.
    Returns:
        The data set with `query`, `instruction` and both embeddings, or as it was.
    """
    instruction = _rows("instruction", [workflow.instruction for workflow in workflows])
    if instruction is None:
        return dataset
    step = _rows("subtask", [step_text(s) for workflow in workflows for s in workflow.subtasks])
    if step is None:
        return dataset
    table = dataset.workflows
    query = np.full(table.query.shape, -1, np.int32)
    query[np.arange(table.max_subtasks) < table.num_subtasks[:, None]] = step
    return dataclasses.replace(
        dataset,
        workflows=dataclasses.replace(table, query=query, instruction=instruction),
        query_embeddings=builtin_embeddings("subtask"),
        instruction_embeddings=builtin_embeddings("instruction"),
    )
