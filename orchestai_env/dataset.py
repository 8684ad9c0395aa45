"""Dataset: everything an episode is drawn from, in one record."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from orchestai_env.errors import DataError
from orchestai_env.outcomes.tables import OutcomeTables, WorkerStatistics
from orchestai_env.workers import WorkerPool
from orchestai_env.workflow_table import WorkflowTable


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """Workers, workflows, the outcomes of their calls, and what is known before a call."""

    name: str
    pool: WorkerPool
    workflows: WorkflowTable
    outcomes: OutcomeTables
    statistics: WorkerStatistics
    latency_label: str
    """recorded, derived (from tokens and assumed speeds) or simulated; said in every table."""
    query_embeddings: npt.NDArray[np.float32] | None = None
    """float32 (Q, D); embedding of subtask texts, addressed by `WorkflowTable.query`, or None: then
    the observation has no such key."""
    instruction_embeddings: npt.NDArray[np.float32] | None = None
    """float32 (I, D); embedding of instructions, addressed by `WorkflowTable.instruction`, or None
    likewise."""

    def __post_init__(self) -> None:
        """Checks that embeddings cover every workflow, so that no index reads another's row.

        Raises:
            DataError: a subtask or an instruction has no row in the embeddings.
        """
        table = self.workflows
        subtask = np.arange(table.max_subtasks) < table.num_subtasks[:, None]
        for what, rows, embeddings in (
            ("query", table.query[subtask], self.query_embeddings),
            ("instruction", table.instruction, self.instruction_embeddings),
        ):
            if embeddings is not None and len(rows):
                low, high = int(rows.min()), int(rows.max())
                if low < 0 or high >= len(embeddings):
                    raise DataError(
                        f"data set {self.name!r}: workflows name the rows {low}..{high} of "
                        f"{what}_embeddings, which has 0..{len(embeddings) - 1}; give every "
                        f"workflow a row, or set {what}_embeddings=None"
                    )

    @property
    def task_types(self) -> tuple[str, ...]:
        """Vocabulary of task types."""
        return self.workflows.task_types

    def with_workflows(self, workflows: WorkflowTable) -> Dataset:
        """Returns the same data set with other workflows of the same vocabulary."""
        return dataclasses.replace(self, workflows=workflows)

    def first(self, count: int) -> Dataset:
        """Returns the same data set with its first workflows only."""
        kept = min(count, len(self.workflows))
        return self.with_workflows(self.workflows.take(np.arange(kept)))
