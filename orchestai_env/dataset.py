"""Dataset: everything an episode is drawn from, in one record."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

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
    """float32 (Q, D); text embedding per query, or None: then the observation has no such key."""

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
