"""ExecutionResult: what one execution of a workflow did, took and cost."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SubtaskResult:
    """What happened to one subtask; times are milliseconds since the workflow began."""

    name: str
    type: str
    status: str
    """pending, ready, running, succeeded or failed, when the execution ended."""
    worker: str | None
    """Worker of the last call, or None if none was made."""
    attempts: int
    """Calls that ended."""
    success: bool
    cost: float
    """Cost of all its calls [USD]."""
    latency_ms: float
    """Time from its first call's start to its last call's end, or to the episode's end [ms]."""
    start_ms: float | None
    """Start of its first call [ms]; None if none started."""
    end_ms: float | None
    """End of its last call [ms]; None while one was running or if none ended."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionResult:
    """What one execution of a workflow did, took and cost."""

    success: bool
    outputs: dict[int, str]
    """Output text per subtask index; empty where outcomes are simulated or recorded."""
    total_cost: float
    """Cost of all calls [USD]."""
    total_latency_ms: float
    """Makespan: time from the start to the end of the workflow [ms]."""
    subtasks: tuple[SubtaskResult, ...]
