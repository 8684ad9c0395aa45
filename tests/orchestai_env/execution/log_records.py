"""Records of executions: a plain one, and random ones for hypothesis."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from orchestai_env.execution.log.log_tail import LogTail
from orchestai_env.execution.log.record import (
    Decision,
    ExecutionRecord,
    LoggedResult,
    LoggedSubtask,
    PlannerOutputs,
    WorkflowGraph,
)

BEGAN = datetime.datetime(2026, 11, 23, 10, 0, tzinfo=datetime.UTC)


def done_ids(folder: Path) -> set[str]:
    """Returns the ids of the executions that a collection takes for done."""
    return {one.execution_id for one in LogTail(folder).records() if not one.interrupted}


def plan() -> dict[str, Any]:
    """Returns the planner outputs of two subtasks in a row, as plain data."""
    graph = {"adjacency": [[0, 1], [0, 0]]}
    return {
        "model_selections": ["ace", None],
        "task_types": ["text", "code"],
        "workflow_graph": graph,
    }


def result(*, outputs: dict[int, str] | None = None) -> dict[str, Any]:
    """Returns what came of them, as plain data: the first succeeded, the second never began."""
    done = {"status": "succeeded", "worker": "ace", "attempts": 1, "success": True, "cost": 0.25}
    done |= {"name": "Find it", "type": "text", "latency_ms": 5.0, "start_ms": 0.0, "end_ms": 5.0}
    open_ = {"status": "pending", "worker": None, "attempts": 0, "success": False, "cost": 0.0}
    open_ |= {"name": "Do it", "type": "code", "latency_ms": 0.0, "start_ms": None, "end_ms": None}
    return {
        "success": False,
        "outputs": {0: "found"} if outputs is None else outputs,
        "total_cost": 0.25,
        "total_latency_ms": 5.0,
        "subtasks": [done, open_],
    }


def line_of_version_1() -> bytes:
    """Returns an execution of one decision as the first version of the log held it."""
    line = json.loads(record().model_dump_json()) | {"schema_version": 1}
    call = {"subtask": 0, "attempt": 0, "worker": "ace", "called": "ace", "probabilities": None}
    call |= {"decided_ms": 0.0, "start_ms": 0.0, "end_ms": 5.0, "running": 0, "success": True}
    call |= {"quality": 1.0, "cost": 0.25, "input_tokens": 3, "output_tokens": 2, "tries": 1}
    call |= {"cached_tokens": 0, "reasoning_tokens": 0, "is_estimated": False, "fault": None}
    line["decisions"] = [call]
    del line["interrupted"], line["planning_cost"]
    return json.dumps(line).encode() + b"\n"


def record(
    execution_id: str = "one", *, instruction: str = "Find it, then do it"
) -> ExecutionRecord:
    """Returns an execution of two subtasks."""
    return ExecutionRecord(
        execution_id=execution_id,
        timestamp=BEGAN,
        instruction=instruction,
        success=False,
        cost=0.25,
        latency_ms=5.0,
        planner="annotated",
        agent="cheapest",
        planner_outputs=PlannerOutputs.model_validate(plan()),
        execution_result=LoggedResult.model_validate(result()),
        decisions=(),
    )


NAMES = st.sampled_from(["ace", "bob", "cat"])
AMOUNTS = st.floats(0.0, 1.0e12)
SHARES = st.floats(0.0, 1.0)
COUNTS = st.integers(0, 10**9)
TEXTS = st.text(max_size=20)
TIMES = st.none() | AMOUNTS
_LONG_AGO, _LATER = datetime.datetime(1900, 1, 1), datetime.datetime(2100, 1, 1)
TIMESTAMPS = st.datetimes(_LONG_AGO, _LATER, timezones=st.timezones())
SUBTASKS = st.builds(
    LoggedSubtask,
    name=TEXTS,
    type=TEXTS,
    status=st.sampled_from(["pending", "ready", "running", "succeeded", "failed"]),
    worker=st.none() | NAMES,
    attempts=COUNTS,
    success=st.booleans(),
    cost=AMOUNTS,
    latency_ms=AMOUNTS,
    start_ms=TIMES,
    end_ms=TIMES,
)


def decisions(size: int) -> st.SearchStrategy[Decision]:
    """Draws a decision of a workflow of `size` subtasks."""
    return st.builds(
        Decision,
        subtask=st.integers(0, size - 1),
        attempt=COUNTS,
        worker=NAMES,
        called=st.none() | NAMES,
        probabilities=st.none() | st.dictionaries(NAMES, SHARES),
        decided_ms=AMOUNTS,
        start_ms=TIMES,
        end_ms=TIMES,
        running=COUNTS,
        success=st.none() | st.booleans(),
        quality=st.none() | SHARES,
        cost=AMOUNTS,
        check_cost=AMOUNTS,
        input_tokens=COUNTS,
        output_tokens=COUNTS,
        cached_tokens=COUNTS,
        reasoning_tokens=COUNTS,
        is_estimated=st.booleans(),
        tries=COUNTS,
        fault=st.none() | st.sampled_from(["timeout", "server"]),
    )


@st.composite
def records(draw: st.DrawFn, texts: st.SearchStrategy[str] = TEXTS) -> ExecutionRecord:
    """Draws an execution of up to 3 subtasks.

    Args:
        draw: of hypothesis.
        texts: of the instruction, the names of subtasks and the outputs.
    """
    size, interrupted = draw(st.integers(1, 3)), draw(st.booleans())
    subtasks = [draw(SUBTASKS).model_copy(update={"name": draw(texts)}) for _ in range(size)]
    bit = st.sampled_from([0, 1])
    rows = tuple(tuple(draw(bit) if i < j else 0 for j in range(size)) for i in range(size))
    return ExecutionRecord(
        execution_id=draw(st.uuids()).hex,
        timestamp=draw(TIMESTAMPS),
        instruction=draw(texts),
        interrupted=interrupted,
        success=draw(st.booleans()) and not interrupted,
        cost=draw(AMOUNTS),
        planning_cost=draw(AMOUNTS),
        latency_ms=draw(AMOUNTS),
        planner=draw(TEXTS),
        agent=draw(TEXTS),
        planner_outputs=PlannerOutputs(
            model_selections=tuple(draw(st.none() | NAMES) for _ in range(size)),
            task_types=tuple(subtask.type for subtask in subtasks),
            workflow_graph=WorkflowGraph.model_validate({"adjacency": rows}),
        ),
        execution_result=LoggedResult(
            success=draw(st.booleans()) and not interrupted,
            outputs=draw(st.dictionaries(st.integers(0, size - 1), texts)),
            total_cost=draw(AMOUNTS),
            total_latency_ms=draw(AMOUNTS),
            subtasks=tuple(subtasks),
        ),
        decisions=tuple(draw(st.lists(decisions(size), max_size=3))),
    )
