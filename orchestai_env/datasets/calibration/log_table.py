"""LogTable: an execution log as arrays, the form that every fit of a calibration reads."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestai_env.datasets.splits import normalised
from orchestai_env.errors import DataError
from orchestai_env.execution.log.record import Decision, ExecutionRecord

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
_GOLDEN = 0.5 * (5.0**0.5 - 1.0)  # its multiples fill 0..1 evenly


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calls:
    """C calls that ended, in the order of the log."""

    execution: IntArray
    """int64 (C,), 0..E-1."""
    subtask: IntArray
    """int64 (C,), 0..S-1; over all executions."""
    worker: IntArray
    """int64 (C,), 0..W-1; the one that answered."""
    attempt: IntArray
    """int64 (C,); failed calls on the subtask before it."""
    success: BoolArray
    """bool (C,)."""
    has_answer: BoolArray
    """bool (C,); False where a fault left no answer, so that tokens and time say nothing."""
    cost_usd: FloatArray
    """float64 (C,) [USD]."""
    input_tokens: FloatArray
    """float64 (C,) [tokens]."""
    output_tokens: FloatArray
    """float64 (C,) [tokens]."""
    decided_ms: FloatArray
    """float64 (C,) [ms]; since the execution began, as the next."""
    start_ms: FloatArray
    """float64 (C,) [ms]."""
    latency_ms: FloatArray
    """float64 (C,) [ms]; from its start to its end."""
    running: FloatArray
    """float64 (C,); calls that the worker ran already."""

    def __len__(self) -> int:
        """Returns the number of calls."""
        return len(self.execution)

    def selected(self, mask: BoolArray) -> Calls:
        """Returns the calls where the mask is True."""
        fields = dataclasses.fields(self)
        return Calls(**{field.name: getattr(self, field.name)[mask] for field in fields})


@dataclasses.dataclass(frozen=True, kw_only=True)
class OpenCalls:
    """Calls that had started and not ended when their execution did, as after an abort."""

    execution: IntArray
    """int64 (O,)."""
    subtask: IntArray
    """int64 (O,)."""
    worker: IntArray
    """int64 (O,); index among the workers that answered some call."""
    running: FloatArray
    """float64 (O,)."""
    elapsed_ms: FloatArray
    """float64 (O,) [ms]; how long it had run."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogTable:
    """E executions of S subtasks in all; W workers and T task types, sorted by name."""

    num_left_out: int
    """Executions that were interrupted or not planned, which are no part of it."""

    workers: tuple[str, ...]
    task_types: tuple[str, ...]
    calls: Calls
    """Those that ended."""
    open_calls: OpenCalls
    """Those that had started."""
    num_open: int
    """Calls whose end is not in the log: open ones and those that waited."""
    instruction_hash: npt.NDArray[np.uint64]
    """uint64 (E,)."""
    success: BoolArray
    """bool (E,)."""
    cost_usd: FloatArray
    """float64 (E,) [USD]."""
    makespan_ms: FloatArray
    """float64 (E,) [ms]."""
    first_subtask: IntArray
    """int64 (E + 1,); subtasks of execution e are first_subtask[e] up to first_subtask[e + 1]."""
    task_type: IntArray
    """int64 (S,), 0..T-1."""
    num_parents: IntArray
    """int64 (S,)."""
    parent_quality: FloatArray
    """float64 (S,), 0..1; mean quality of the subtasks that it depends on; 1 without any."""
    links: npt.NDArray[np.int32]
    """int32 (L, 2); [i, j], within an execution: subtask j needs subtask i."""
    link_owner: npt.NDArray[np.int32]
    """int32 (L,); execution of each link, ascending."""

    @property
    def num_executions(self) -> int:
        """E."""
        return len(self.success)

    def held_out(self, share: float) -> BoolArray:
        """Returns which executions are held out: those whose instruction's hash is low.

        Where that leaves all or none, as with texts that were kept out of the log, executions are
        dealt one by one, evenly over the log.

        Args:
            share: 0..1; all executions of an instruction are on one side.
        """
        aside: BoolArray = self.instruction_hash.astype(np.float64) < share * 2.0**64
        if aside.any() and not aside.all():
            return aside
        return np.arange(1, self.num_executions + 1) * _GOLDEN % 1.0 < share


class _Columns:
    """Collects the columns of a LogTable, record by record."""

    def __init__(self) -> None:
        self.workers: dict[str, int] = {}
        self.types: dict[str, int] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.executions: list[tuple[Any, ...]] = []
        self.sizes: list[int] = []
        self.task_type: list[int] = []
        self.num_parents: list[int] = []
        self.quality: list[float] = []
        self.links: list[tuple[int, int]] = []
        self.owner: list[int] = []
        self.num_open = self.num_left_out = 0
        self.open: list[tuple[int, int, str, int, float]] = []

    def add(self, record: ExecutionRecord) -> None:
        """Adds one execution; one that is no outcome of its workflow is left out and counted."""
        if record.interrupted or not record.planner_outputs.task_types:
            self.num_left_out += 1
            return
        e, first = len(self.executions), len(self.task_type)
        digest = hashlib.sha256(normalised(record.instruction).encode()).digest()[:8]
        self.executions.append(
            (int.from_bytes(digest, "big"), record.success, record.cost, record.latency_ms)
        )
        planned = record.planner_outputs
        self.sizes.append(len(planned.task_types))
        self.task_type += [self.types.setdefault(t, len(self.types)) for t in planned.task_types]
        quality = [1.0] * len(planned.task_types)
        for decision in record.decisions:
            if decision.success and decision.quality is not None:
                quality[decision.subtask] = decision.quality
            self._add_call(e, first, decision, record.latency_ms)
        self._add_links(e, planned.workflow_graph.adjacency, quality)

    def _add_call(self, e: int, first: int, call: Decision, makespan_ms: float) -> None:
        subtask = first + call.subtask
        if call.called is None or call.success is None or call.end_ms is None:
            self.num_open += 1
            if call.start_ms is not None and call.start_ms <= makespan_ms:
                elapsed = makespan_ms - call.start_ms
                self.open.append((e, subtask, call.worker, call.running, elapsed))
            return
        start = call.decided_ms if call.start_ms is None else call.start_ms
        self.calls.append(
            (
                e,
                subtask,
                self.workers.setdefault(call.called, len(self.workers)),
                call.attempt,
                call.success,
                call.fault is None,
                call.cost,
                call.input_tokens,
                call.output_tokens,
                call.decided_ms,
                start,
                call.end_ms - start,
                call.running,
            )
        )

    def _add_links(self, e: int, adjacency: Any, quality: list[float]) -> None:
        for j in range(len(adjacency)):
            parents = [i for i in range(j) if adjacency[i][j]]
            self.num_parents.append(len(parents))
            mean = sum(quality[i] for i in parents) / len(parents) if parents else 1.0
            self.quality.append(mean)
            self.links += [(i, j) for i in parents]
            self.owner += [e] * len(parents)


def log_table(records: Iterable[ExecutionRecord]) -> LogTable:
    """Turns the records of a log into arrays; texts and outputs are let go.

    Raises:
        DataError: there is no execution, or none with a call that ended.
    """
    columns = _Columns()
    for record in records:
        columns.add(record)
    if not columns.calls:
        raise DataError(
            "execution log: expected executions with calls that ended, got "
            f"{len(columns.executions)} executions and {columns.num_open} calls without an end "
            f"({columns.num_left_out} executions were interrupted or not planned); "
            "log some executions first, with `orchestai collect` for instance"
        )
    calls, types = _calls(columns), np.array(columns.task_type, np.int64)
    to_type = _sorted_order(columns.types)
    hashes, success, cost, makespan = zip(*columns.executions, strict=True)
    return LogTable(
        workers=tuple(sorted(columns.workers)),
        task_types=tuple(sorted(columns.types)),
        calls=calls,
        open_calls=_open_calls(columns),
        num_open=columns.num_open,
        num_left_out=columns.num_left_out,
        instruction_hash=np.array(hashes, np.uint64),
        success=np.array(success, bool),
        cost_usd=np.array(cost, float),
        makespan_ms=np.array(makespan, float),
        first_subtask=np.concatenate([[0], np.cumsum(columns.sizes)]).astype(np.int64),
        task_type=to_type[types],
        num_parents=np.array(columns.num_parents, np.int64),
        parent_quality=np.array(columns.quality, float),
        links=np.array(columns.links, np.int32).reshape(-1, 2),
        link_owner=np.array(columns.owner, np.int32),
    )


def _calls(columns: _Columns) -> Calls:
    fields = dataclasses.fields(Calls)
    dtypes = {"IntArray": np.int64, "FloatArray": np.float64, "BoolArray": np.bool_}
    parts: dict[str, npt.NDArray[Any]] = {
        field.name: np.array(column, dtypes[str(field.type)])
        for field, column in zip(fields, zip(*columns.calls, strict=True), strict=True)
    }
    parts["worker"] = _sorted_order(columns.workers)[parts["worker"]]
    return Calls(**parts)


def _open_calls(columns: _Columns) -> OpenCalls:
    rank = {name: index for index, name in enumerate(sorted(columns.workers))}
    rows = [row for row in columns.open if row[2] in rank]
    return OpenCalls(
        execution=np.array([row[0] for row in rows], np.int64),
        subtask=np.array([row[1] for row in rows], np.int64),
        worker=np.array([rank[row[2]] for row in rows], np.int64),
        running=np.array([row[3] for row in rows], float),
        elapsed_ms=np.array([row[4] for row in rows], float),
    )


def _sorted_order(names: dict[str, int]) -> IntArray:
    """Returns, for each index that a name was given, its index among the sorted names."""
    rank = {name: index for index, name in enumerate(sorted(names))}
    return np.array([rank[name] for name in names], np.int64)
