"""ExecutionRecord: one line of the execution log. A change of a field raises SCHEMA_VERSION."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import pydantic

SCHEMA_VERSION: Final = 1

NonNegative = Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, pydantic.Field(ge=0, le=1)]
Count = Annotated[int, pydantic.Field(ge=0)]
Status = Literal["pending", "ready", "running", "succeeded", "failed"]


class Record(pydantic.BaseModel):
    """A frozen part of a line; unknown keys are an error."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class WorkflowGraph(Record):
    """Links between subtasks."""

    adjacency: tuple[tuple[Literal[0, 1], ...], ...]
    """N x N; [i][j] = 1 where subtask j needs the result of subtask i."""


class PlannerOutputs(Record):
    """What was planned: N subtasks, by index."""

    model_selections: tuple[str | None, ...]
    """Worker of the first decision on each subtask; None where none was made."""
    task_types: tuple[str, ...]
    workflow_graph: WorkflowGraph


class LoggedSubtask(Record):
    """What happened to one subtask; times are milliseconds since the workflow began."""

    name: str
    type: str
    status: Status
    worker: str | None
    """Of the last call."""
    attempts: Count
    """Calls that ended."""
    success: bool
    cost: NonNegative
    """Of all its calls [USD]."""
    latency_ms: NonNegative
    """From its first call's start to its last call's end."""
    start_ms: NonNegative | None
    end_ms: NonNegative | None


class LoggedResult(Record):
    """The result as `ExecutionResult` holds it."""

    success: bool
    outputs: dict[int, str]
    """Output text by subtask."""
    total_cost: NonNegative
    """[USD]."""
    total_latency_ms: NonNegative
    """Makespan."""
    subtasks: tuple[LoggedSubtask, ...]


class Decision(Record):
    """One choice of a worker and the call that followed, in the order of decisions."""

    subtask: Count
    """Index."""
    attempt: Count
    """Failed calls on the subtask before it."""
    worker: str
    """Chosen by the agent."""
    called: str | None
    """Worker that answered in the end: another where a fallback took over; None where no call was
    made or none has ended."""
    probabilities: dict[str, Share] | None
    """Of each allowed worker, exploration included, when the choice was drawn: its propensities.
    None where the agent cannot tell."""
    decided_ms: NonNegative
    """Since the workflow began, as the next two."""
    start_ms: NonNegative | None
    end_ms: NonNegative | None
    running: Count
    """Calls that the called worker ran already when this one started."""
    success: bool | None
    """Whether the output passed the check; None where the call has not ended."""
    quality: Share | None
    """Score of the check; None likewise."""
    cost: NonNegative
    """Of all its tries [USD]."""
    input_tokens: Count
    output_tokens: Count
    cached_tokens: Count
    reasoning_tokens: Count
    is_estimated: bool
    """Whether tokens were counted here because the worker did not report them."""
    tries: Count
    """Requests that were sent, fallbacks included."""
    fault: str | None
    """Why there was no answer, a `worker.Fault`; None where there was one."""


class ExecutionRecord(Record):
    """One execution."""

    schema_version: Literal[1] = SCHEMA_VERSION
    execution_id: str
    """Unique; an execution is logged once."""
    timestamp: pydantic.AwareDatetime
    """When it began, UTC."""
    instruction: str
    success: bool
    cost: NonNegative
    """[USD]."""
    latency_ms: NonNegative
    planner: str
    """Name of the planner that made the workflow."""
    agent: str
    """Name of what chose the workers."""
    planner_outputs: PlannerOutputs
    execution_result: LoggedResult
    decisions: tuple[Decision, ...]

    @pydantic.model_validator(mode="after")
    def _parts_agree(self) -> ExecutionRecord:
        """Checks sizes and totals that stand in several places."""
        size = len(self.execution_result.subtasks)
        planned, graph = self.planner_outputs, self.planner_outputs.workflow_graph.adjacency
        lengths = {len(planned.model_selections), len(planned.task_types), len(graph)}
        if lengths != {size} or any(len(row) != size for row in graph):
            raise ValueError(f"expected {size} subtasks in every part, as in execution_result")
        if any(decision.subtask >= size for decision in self.decisions):
            raise ValueError(f"decisions: expected subtasks 0..{size - 1}")
        if any(graph[i][j] for i in range(size) for j in range(i + 1)):
            raise ValueError("adjacency: expected links from lower to higher subtasks only")
        return self
