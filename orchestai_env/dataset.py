"""Dataset: everything an episode is drawn from, in one record."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from orchestai_env.errors import ConfigError, DataError
from orchestai_env.outcomes.tables import (
    RECORDED,
    OutcomeTables,
    WorkerStatistics,
    select_workers,
)
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

    def with_workers(self, names: Sequence[str]) -> Dataset:
        """Returns the same data set with some of its workers only, in this order.

        Recorded calls keep their outcomes; simulated ones do where a worker keeps its index, and
        keep their odds elsewhere. Observations change beyond the workers that are left out: their
        cost and time scales are medians over the pool, and `complexity` is a mean over it.

        Args:
            names: of at least one worker of the pool, none twice.
        Raises:
            UnknownWorkerError: the pool has no such worker; the message suggests the nearest.
            ConfigError: no worker, or one twice.
            DataError: a subtask of the workflows has none of these workers that can serve it.
        """
        chosen = np.array([self.pool.index(name) for name in names], np.int64)
        if len(chosen) == 0 or len(set(names)) < len(chosen):
            raise ConfigError(
                "workers of a data set: expected at least one name and none twice, got "
                f"{', '.join(names) or 'none'}"
            )
        outcomes = select_workers(self.outcomes, chosen)
        self._check_served(outcomes, names)
        return dataclasses.replace(
            self,
            pool=WorkerPool(tuple(self.pool.workers[index] for index in chosen.tolist())),
            outcomes=outcomes,
            statistics=self.statistics.select(chosen),
        )

    def _check_served(self, outcomes: OutcomeTables, names: Sequence[str]) -> None:
        table = self.workflows
        subtask = np.arange(table.max_subtasks) < table.num_subtasks[:, None]
        if outcomes.kind[0] == RECORDED:
            served = outcomes.num_trials.max(axis=1)[table.query] > 0
        else:
            served = outcomes.capable.max(axis=1)[table.task_type] > 0
        stuck = (subtask & ~served).any(axis=1)
        if stuck.any():
            k = int(np.argmax(stuck))
            kind = table.task_types[table.task_type[k, int(np.argmax(subtask[k] & ~served[k]))]]
            raise DataError(
                f"data set {self.name!r}: {int(stuck.sum())} of {len(table)} workflows have a "
                f"subtask that none of {', '.join(names)} can serve (workflow {k}: {kind}); add a "
                "worker that can"
            )
