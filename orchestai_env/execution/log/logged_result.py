"""LoggedResult and ExecutionResult: the same result as it stands in the log and in memory."""

from __future__ import annotations

from orchestai_env.execution.log.record import LoggedResult, LoggedSubtask
from orchestai_env.execution_result import ExecutionResult, SubtaskResult


def logged_result(result: ExecutionResult) -> LoggedResult:
    """Returns a result as the log holds it.

    Raises:
        pydantic.ValidationError: a number is negative or not finite, or a status is unknown.
    """
    return LoggedResult(
        success=result.success,
        outputs=result.outputs,
        total_cost=result.total_cost,
        total_latency_ms=result.total_latency_ms,
        subtasks=tuple(
            LoggedSubtask.model_validate(subtask._asdict()) for subtask in result.subtasks
        ),
    )


def execution_result(logged: LoggedResult) -> ExecutionResult:
    """Returns a result of the log as the library passes results around."""
    return ExecutionResult(
        success=logged.success,
        outputs=dict(logged.outputs),
        total_cost=logged.total_cost,
        total_latency_ms=logged.total_latency_ms,
        subtasks=tuple(SubtaskResult(**dict(subtask)) for subtask in logged.subtasks),
    )
