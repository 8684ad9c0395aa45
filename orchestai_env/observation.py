"""The planner's state as spaces and arrays: what the agent sees, and nothing it could not know."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from orchestai_env.dataset import Dataset
from orchestai_env.errors import ConfigError, shown, unknown_name
from orchestai_env.feature_columns import CONTEXT_COLUMNS, WORKER_COLUMNS, subtask_columns
from orchestai_env.state import NONE

KEYS = (
    "instruction",
    "subtask",
    "subtasks",
    "adjacency",
    "workers",
    "context",
    "action_mask",
)
"""Keys of the observation, in the order of its Dict space; the first two only with embeddings."""

CONTEXT_FEATURES = tuple(CONTEXT_COLUMNS)
WORKER_FEATURES = tuple(WORKER_COLUMNS)
_EMBEDDING_BOUND = 10.0  # sentence embeddings are of unit length; the bound is generous


def subtask_features(task_types: Sequence[str]) -> tuple[str, ...]:
    """Returns the names of the columns of `subtasks` for a vocabulary of task types."""
    return tuple(subtask_columns(task_types))


# Columns of Observation.held.
HELD_WORKFLOW, HELD_INSTRUCTION, HELD_QUERY, NEW_INSTRUCTION, NEW_QUERY = range(5)

KEPT = -2
"""No row to copy: the buffer holds it."""


class Observation(NamedTuple):
    """Buffers of n observations; absent keys have width 0 and are never written."""

    instruction: npt.NDArray[np.float32]
    subtask: npt.NDArray[np.float32]
    subtasks: npt.NDArray[np.float32]
    adjacency: npt.NDArray[np.float32]
    workers: npt.NDArray[np.float32]
    context: npt.NDArray[np.float32]
    action_mask: npt.NDArray[np.int8]
    held: npt.NDArray[np.int64]
    """int64 (n, 5): workflow and rows of the embeddings that the buffers hold, so that what stays
    is not written again; rows of the embeddings to copy now, NONE for zeros, KEPT where they stay.
    Not a part of the observation."""


@dataclasses.dataclass(frozen=True)
class ObservationLayout:
    """Which keys an observation has, their spaces, and the names of their features."""

    space: spaces.Dict
    feature_names: Mapping[str, tuple[str, ...]]
    """Key -> names of its last axis, for `subtasks`, `workers` and `context`."""

    @classmethod
    def of(cls, dataset: Dataset, keys: Sequence[str] | None) -> ObservationLayout:
        """Lays out the chosen keys (all that the data set can fill where None).

        Raises:
            ConfigError: an unknown key, none at all, or an embedding that the data lacks.
        """
        embeddings = {
            "instruction": dataset.instruction_embeddings,
            "subtask": dataset.query_embeddings,
        }
        absent = [key for key, stored in embeddings.items() if stored is None]
        chosen = _checked_keys(keys, absent)
        n, w = dataset.workflows.max_subtasks, len(dataset.pool)
        names = {
            "subtasks": subtask_features(dataset.task_types),
            "workers": WORKER_FEATURES,
            "context": CONTEXT_FEATURES,
        }
        every: dict[str, spaces.Space[Any]] = {
            key: spaces.Box(-_EMBEDDING_BOUND, _EMBEDDING_BOUND, stored.shape[1:], np.float32)
            for key, stored in embeddings.items()
            if stored is not None
        }
        every |= {
            "subtasks": spaces.Box(0.0, 1.0, (n, len(names["subtasks"])), np.float32),
            "adjacency": spaces.Box(0.0, 1.0, (n, n), np.float32),
            "workers": spaces.Box(0.0, 1.0, (w, len(WORKER_FEATURES)), np.float32),
            "context": spaces.Box(0.0, 1.0, (len(CONTEXT_FEATURES),), np.float32),
            "action_mask": spaces.Box(0, 1, (w,), np.int8),
        }
        kept = {key: every[key] for key in KEYS if key in chosen}
        return cls(spaces.Dict(kept), {k: v for k, v in names.items() if k in kept})

    def allocate(self, n: int) -> Observation:
        """Allocates buffers of n observations, all zeros."""
        chosen = self.space.spaces
        buffers = {
            key: np.zeros((n, *(chosen[key].shape or ())) if key in chosen else shape, dtype)
            for key, shape, dtype in (
                ("instruction", (n, 0), np.float32),
                ("subtask", (n, 0), np.float32),
                ("subtasks", (n, 0, 0), np.float32),
                ("adjacency", (n, 0, 0), np.float32),
                ("workers", (n, 0, 0), np.float32),
                ("context", (n, 0), np.float32),
                ("action_mask", (n, 0), np.int8),
            )
        }
        return Observation(**buffers, held=np.full((n, 5), NONE, np.int64))

    def as_dict(self, buffers: Observation) -> dict[str, npt.NDArray[np.generic]]:
        """Returns the chosen keys of the buffers, without a copy."""
        return {key: getattr(buffers, key) for key in self.space.spaces}


def _checked_keys(keys: Sequence[str] | None, absent: Sequence[str]) -> list[str]:
    """Returns the keys to show; `absent` ones are not in the data."""
    if keys is None:
        return [key for key in KEYS if key not in absent]
    if isinstance(keys, str) or not isinstance(keys, Iterable):
        raise ConfigError(f"observation: expected a list of keys or None, got {shown(keys)}")
    chosen: list[Any] = list(keys)
    for place, key in enumerate(chosen):
        if not isinstance(key, str) or key not in KEYS:
            raise ConfigError(unknown_name("observation key", key, KEYS))
        if key in chosen[:place]:
            raise ConfigError(f"observation key {key!r}: expected once, got it twice")
        if key in absent:
            raise ConfigError(
                f"observation key {key!r}: the data set has no stored embeddings; "
                "store them with the data or leave the key out"
            )
    if not chosen:
        raise ConfigError(f"observation: expected at least one key of {', '.join(KEYS)}")
    return chosen


def empty_observation() -> Observation:
    """Returns buffers of length 1 in each dimension, of the right dtypes."""
    row, table = np.zeros((1, 1), np.float32), np.zeros((1, 1, 1), np.float32)
    return Observation(
        instruction=row,
        subtask=row,
        subtasks=table,
        adjacency=table,
        workers=table,
        context=row,
        action_mask=np.zeros((1, 1), np.int8),
        held=np.zeros((1, 5), np.int64),
    )
