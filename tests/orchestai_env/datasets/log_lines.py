"""Executions as lines of a log."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from orchestai_env.execution.log.record import ExecutionRecord

Links = list[tuple[int, int]]


def call(
    subtask: int,
    worker: str,
    *,
    attempt: int = 0,
    success: bool | None = True,
    **changes: Any,
) -> dict[str, Any]:
    """A call of 100 ms, 0.01 USD, 10 + 20 tokens; quality 1 or 0."""
    start = 100.0 * (subtask + attempt)
    return {
        "subtask": subtask,
        "attempt": attempt,
        "worker": worker,
        "called": worker,
        "probabilities": {worker: 1.0},
        "decided_ms": start,
        "start_ms": start,
        "end_ms": start + 100.0,
        "running": 0,
        "success": success,
        "quality": float(bool(success)),
        "cost": 0.01,
        "input_tokens": 10,
        "output_tokens": 20,
        "cached_tokens": 0,
        "reasoning_tokens": 0,
        "is_estimated": False,
        "tries": 1,
        "fault": None,
    } | changes


def execution(
    name: str = "one",
    *,
    instruction: str = "Sum up and translate",
    texts: Iterable[str] = ("sum up", "translate"),
    types: Iterable[str] = ("summary", "translation"),
    links: Links | None = None,
    calls: list[dict[str, Any]] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """An execution whose second subtask needs the first; without calls, ace serves each once."""
    texts, types = list(texts), list(types)
    size = len(texts)
    links = [(i, i + 1) for i in range(size - 1)] if links is None else links
    calls = [call(i, "ace") for i in range(size)] if calls is None else calls
    subtasks = [
        _subtask(text, kind, [one for one in calls if one["subtask"] == i])
        for i, (text, kind) in enumerate(zip(texts, types, strict=True))
    ]
    success = all(subtask["success"] for subtask in subtasks)
    cost = sum(one["cost"] for one in calls)
    latency_ms = max((one["end_ms"] or 0.0 for one in calls), default=0.0)
    return {
        "schema_version": 1,
        "execution_id": name,
        "timestamp": "2026-11-23T10:00:00Z",
        "instruction": instruction,
        "success": success,
        "cost": cost,
        "latency_ms": latency_ms,
        "planner": "annotated",
        "agent": "lookup",
        "planner_outputs": {
            "model_selections": [
                next((one["worker"] for one in calls if one["subtask"] == i), None)
                for i in range(size)
            ],
            "task_types": types,
            "workflow_graph": {
                "adjacency": [[int((i, j) in links) for j in range(size)] for i in range(size)]
            },
        },
        "execution_result": {
            "success": success,
            "outputs": {str(i): f"output {i}" for i in range(size) if subtasks[i]["success"]},
            "total_cost": cost,
            "total_latency_ms": latency_ms,
            "subtasks": subtasks,
        },
        "decisions": calls,
    } | changes


def _subtask(text: str, kind: str, calls: list[dict[str, Any]]) -> dict[str, Any]:
    last = calls[-1] if calls else None
    success = last is not None and bool(last["success"])
    is_open = last is not None and last["success"] is None
    status = "running" if is_open else "failed" if calls else "pending"
    return {
        "name": text,
        "type": kind,
        "status": "succeeded" if success else status,
        "worker": last and last["worker"],
        "attempts": sum(one["success"] is not None for one in calls),
        "success": success,
        "cost": sum(one["cost"] for one in calls),
        "latency_ms": 100.0 * len(calls),
        "start_ms": calls[0]["start_ms"] if calls else None,
        "end_ms": last and last["end_ms"],
    }


def record(**changes: Any) -> ExecutionRecord:
    """The same, read back."""
    return ExecutionRecord.model_validate_json(json.dumps(execution(**changes)))


def write_log(path: Path, executions: Iterable[dict[str, Any] | str]) -> Path:
    """Writes a log file, a line for each execution or text; returns its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [one if isinstance(one, str) else json.dumps(one) for one in executions]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path.parent
