"""Queries: the recorded prompts that subtasks replay, each on one side of the split."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from orchestai_env.datasets.splits import Split

Int32Array = npt.NDArray[np.int32]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Queries:
    """Q recorded queries; a query's row here is its row in every table of the data set."""

    ids: tuple[str, ...]
    """Q unique names."""
    prompts: tuple[str, ...]
    """Q texts."""
    task_types: tuple[str, ...]
    """Vocabulary of task types."""
    task_type: Int32Array
    """int32 (Q,); index into `task_types`."""
    split: tuple[Split, ...]
    """Q sides: train, validation or test."""

    def __len__(self) -> int:
        """Returns the number of queries."""
        return len(self.ids)

    @property
    def row_of_id(self) -> dict[str, int]:
        """Row of each query id."""
        return {query_id: row for row, query_id in enumerate(self.ids)}

    def rows(self, split: Split) -> Int32Array:
        """Returns the rows of one split, ascending, int32."""
        return np.flatnonzero([side == split for side in self.split]).astype(np.int32)
