"""What a log tells of workers: who was allowed where, and how calls went on average."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from orchestai_env.dataset import Dataset
from orchestai_env.errors import DataError, UnknownWorkerError, unknown_name
from orchestai_env.execution.log.record import ExecutionRecord
from orchestai_env.observation import ObservationLayout
from orchestai_env.outcomes.live import live_tables
from orchestai_env.outcomes.tables import WorkerStatistics
from orchestai_env.rules import EpisodeRules
from orchestai_env.workers import WorkerPool, WorkerSpec
from orchestai_env.workflow import Subtask, Workflow
from orchestai_env.workflow_table import WorkflowTable

Float64Array = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoggedWorkers:
    """Workers, task types and sizes of a log; one for all its executions."""

    pool: WorkerPool
    task_types: tuple[str, ...]
    max_subtasks: int
    capable: npt.NDArray[np.bool_]
    """bool (T, W); whether the worker may serve the task type."""
    statistics: WorkerStatistics
    """What observations show of workers; without upper costs, since a log tells who was allowed."""
    num_executions: int
    rules: tuple[EpisodeRules, ...] = ()
    """All different ones that executions hold."""

    @property
    def layout(self) -> ObservationLayout:
        """Returns the layout of observations; without embeddings, which a log has not."""
        first = Workflow(
            id="", instruction="", subtasks=(Subtask(name="", type=self.task_types[0]),), links=()
        )
        return ObservationLayout.of(self._dataset(first, {}), None)

    def dataset(self, record: ExecutionRecord) -> Dataset:
        """Returns a data set whose only workflow is that of an execution, its calls live.

        Raises:
            WorkflowError: it has more subtasks, or another task type.
        """
        planned, subtasks = record.planner_outputs, record.execution_result.subtasks
        rows = planned.workflow_graph.adjacency
        workflow = Workflow(
            id=record.execution_id,
            instruction=record.instruction,
            subtasks=tuple(
                Subtask(name=subtask.name, type=kind)
                for subtask, kind in zip(subtasks, planned.task_types, strict=True)
            ),
            links=tuple((i, j) for i, row in enumerate(rows) for j, set_ in enumerate(row) if set_),
        )
        return self._dataset(workflow, record.concurrency or {})

    def _dataset(self, workflow: Workflow, concurrency: Mapping[str, int]) -> Dataset:
        return Dataset(
            name="log",
            pool=_with_concurrency(self.pool, concurrency),
            workflows=WorkflowTable.from_workflows(
                [workflow], task_types=self.task_types, max_subtasks=self.max_subtasks
            ),
            outcomes=live_tables(self.capable),
            statistics=self.statistics,
            latency_label="recorded",
        )


def survey(records: Iterable[ExecutionRecord], pool: WorkerPool | None = None) -> LoggedWorkers:
    """Reads a log once and notes what all its executions share; memory does not grow with it.

    A worker may serve a task type that it was allowed or chosen for; all may serve a type that
    nobody was asked for. Statistics are means over ended calls; a pair without one takes the
    worker's, a worker without one those of all.

    Args:
        records: the log.
        pool: workers in action order; None for those of the log, in the order of their actions
            where it tells, else by name; prices unknown.
    Raises:
        DataError: there is no execution, or no call that has ended.
        UnknownWorkerError: the log names a worker that the pool lacks.
    """
    seen = _Seen()
    for record in records:
        seen.add(record)
    if not seen.calls:
        raise DataError(
            f"expected a log with calls that have ended, got {seen.num_executions} executions "
            "without any"
        )
    names = [*seen.workers, *sorted({name for _, name in seen.allowed} - seen.workers.keys())]
    pool = pool or WorkerPool(tuple(WorkerSpec(name=name) for name in names))
    for name in names:
        if name not in pool.names:
            raise UnknownWorkerError("the log: " + unknown_name("worker", name, pool.names))
    types = tuple(sorted(seen.types))
    capable = np.array([[(kind, name) in seen.allowed for name in pool.names] for kind in types])
    capable[~capable.any(axis=1)] = True
    return LoggedWorkers(
        pool=pool,
        task_types=types,
        max_subtasks=seen.max_subtasks,
        capable=capable,
        statistics=_statistics(seen, types, pool.names),
        num_executions=seen.num_executions,
        rules=tuple(seen.rules),
    )


class _Seen:
    """Counts of one pass over a log."""

    def __init__(self) -> None:
        self.num_executions = self.max_subtasks = 0
        self.types: set[str] = set()
        self.allowed: set[tuple[str, str]] = set()
        self.calls: dict[tuple[str, str], Float64Array] = {}
        """(task type, worker) -> calls, successes, USD, ms."""
        self.workers: dict[str, None] = {}
        """Those of pools, in action order."""
        self.rules: dict[EpisodeRules, None] = {}

    def add(self, record: ExecutionRecord) -> None:
        """Counts one execution."""
        types = record.planner_outputs.task_types
        self.num_executions += 1
        self.max_subtasks = max(self.max_subtasks, len(types))
        self.types.update(types)
        self.workers |= dict.fromkeys(record.concurrency or ())
        if record.rules is not None:
            self.rules[record.rules] = None
        for decision in record.decisions:
            kind = types[decision.subtask]
            workers = {decision.worker, *(decision.probabilities or ())}
            self.allowed.update((kind, worker) for worker in workers)
            if decision.end_ms is None or decision.start_ms is None:
                continue
            totals = self.calls.setdefault((kind, decision.worker), np.zeros(4))
            ms = decision.end_ms - decision.start_ms
            totals += 1.0, bool(decision.success), decision.cost, ms


def _with_concurrency(pool: WorkerPool, concurrency: Mapping[str, int]) -> WorkerPool:
    return WorkerPool(
        tuple(
            worker.model_copy(update={"concurrency": concurrency[worker.name]})
            if worker.name in concurrency
            else worker
            for worker in pool.workers
        )
    )


def _statistics(seen: _Seen, types: tuple[str, ...], workers: tuple[str, ...]) -> WorkerStatistics:
    none = np.zeros(4)
    table = np.array(
        [[seen.calls.get((kind, worker), none) for worker in workers] for kind in types]
    )
    by_worker = table.sum(axis=0, keepdims=True)
    for wider in (by_worker, by_worker.sum(axis=1, keepdims=True)):
        missing = table[..., 0] == 0
        table[missing] = np.broadcast_to(wider, table.shape)[missing]
    means = table[..., 1:] / table[..., :1]
    return WorkerStatistics(
        success=means[..., 0].copy(),
        cost_usd=means[..., 1].copy(),
        latency_ms=means[..., 2].copy(),
        cost_upper_usd=np.zeros_like(means[..., 1]),
    )
