"""ExecutionRecord: one line of the execution log. A change of a field raises SCHEMA_VERSION.

Version 2 added `interrupted`, `planning_cost`, `check_cost`, and what it takes to play an execution
again: `rules`, `concurrency`, `due_ms` and `noted_ms`. Lines of version 1, which lack them, are
read as if they held their defaults.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import pydantic

from orchestai_env.rules import EpisodeRules

SCHEMA_VERSION: Final = 2

ReadableVersion = Literal[1, 2]
"""Versions that this release reads."""

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
    due_ms: NonNegative | None = None
    """When it fell due, on the transition's clock, as the agent saw it; since the workflow began,
    as all times. None in version 1."""
    decided_ms: NonNegative
    """When the transition was told of it."""
    start_ms: NonNegative | None
    end_ms: NonNegative | None
    noted_ms: NonNegative | None = None
    """When the transition was told that the call had ended; None where it was not, because the
    workflow was over, and in version 1."""
    running: Count
    """Calls that the called worker ran already when this one started."""
    success: bool | None
    """Whether the output passed the check; None where the call has not ended."""
    quality: Share | None
    """Score of the check; None likewise."""
    cost: NonNegative
    """Of all its tries [USD]."""
    check_cost: NonNegative = 0.0
    """Of judging its output [USD], where a worker does; not part of `cost`."""
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

    schema_version: ReadableVersion = SCHEMA_VERSION
    execution_id: str
    """Unique, but for interrupted executions: one that was done again has the same."""
    interrupted: bool = False
    """Whether it was cut short from outside: the budget of a whole run was spent, or the process
    was told to stop. What it cost counts; it is neither a success nor a failure."""
    timestamp: pydantic.AwareDatetime
    """When it began, UTC."""
    instruction: str
    success: bool
    cost: NonNegative
    """Of all decisions' calls [USD]."""
    planning_cost: NonNegative = 0.0
    """Of planning [USD], where a worker does; not part of `cost`, and nor is any `check_cost`."""
    latency_ms: NonNegative
    planner: str
    """Name of the planner that made the workflow."""
    agent: str
    """Name of what chose the workers."""
    rules: EpisodeRules | None = None
    """Under which it was executed; None in version 1."""
    concurrency: dict[str, Annotated[int, pydantic.Field(ge=1)]] | None = None
    """Calls that each worker takes at once, in the order of actions; None in version 1."""
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
        if self.interrupted and (self.success or self.execution_result.success):
            raise ValueError("interrupted: expected no success of an execution that was cut short")
        return self
