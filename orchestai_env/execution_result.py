"""ExecutionResult: what one execution of a workflow did, took and cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Self


class SubtaskResult(NamedTuple):
    """What happened to one subtask; times are milliseconds since the workflow began."""

    name: str
    """"subtask 0" and so on, by its index in the workflow."""
    type: str
    """Its task type."""
    status: str
    """pending, ready, running, succeeded or failed, when the execution ended."""
    worker: str | None
    """Worker of the last call, or None if none was made."""
    attempts: int
    """Calls that ended."""
    success: bool
    """Whether it succeeded."""
    cost: float
    """Cost of all its calls [USD]."""
    latency_ms: float
    """Time from its first call's start to its last call's end, or to the episode's end [ms]."""
    start_ms: float | None
    """Start of its first call [ms]; None if none started."""
    end_ms: float | None
    """End of its last call [ms]; None while one was running or if none ended."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExecutionResult:
    """What one execution of a workflow did, took and cost."""

    success: bool
    """Whether every subtask succeeded."""
    outputs: dict[int, str]
    """Output text per subtask index; empty where outcomes are simulated or recorded."""
    total_cost: float
    """Cost of all calls [USD]."""
    total_latency_ms: float
    """Makespan: time from the start to the end of the workflow [ms]."""
    subtasks: tuple[SubtaskResult, ...]
    """Every subtask, by index."""

    @classmethod
    def reading_later(cls, read_subtasks: Callable[[], Any], **fields: Any) -> Self:
        """Returns a result whose subtasks are read when they are first asked for.

        An episode ends every few steps, and most of its results are never looked into.

        Args:
            read_subtasks: returns them; picklable, so that the result is.
            fields: the other fields.
        """
        result = cls.__new__(cls)
        result.__dict__.update(fields, _read_subtasks=read_subtasks)
        return result

    def __getattr__(self, name: str) -> Any:
        """Reads the subtasks; Python asks for attributes here that are not set."""
        if name != "subtasks" or "_read_subtasks" not in self.__dict__:
            raise AttributeError(name)
        self.__dict__["subtasks"] = self.__dict__.pop("_read_subtasks")()
        return self.__dict__["subtasks"]
