"""An execution log of recorded benchmark runs, as a collection with random choices leaves it.

Every execution walks the whole graph of tasks, an agent drawn evenly for each attempt, and goes on
past failures. An attempt drawn is a recorded one and is used up: nothing stands in the log twice
(the replay of Li et al., "Unbiased offline evaluation of contextual-bandit-based news article
recommendation algorithms", WSDM 2011). So the log tells as much as the runs do, and no more.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping

import numpy as np

from benchmarks.agbench_runs import ATTEMPTS, Runs, Split
from orchestai_env.execution.log.record import (
    Decision,
    ExecutionRecord,
    LoggedResult,
    LoggedSubtask,
    PlannerOutputs,
    WorkflowGraph,
)

_BEGAN = datetime.datetime(2023, 8, 2, tzinfo=datetime.UTC)


def execution_log(split: Split, seed: int) -> Iterator[ExecutionRecord]:
    """Yields executions until no training attempt at the first task is left.

    Args:
        split: whose training attempts are used.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    trials = split.train.trials()
    waiting = {pair: rng.permutation(rows).tolist() for pair, rows in trials.items()}
    first = next(iter(split.parents))
    number = 0
    while any(rows for (task, _), rows in waiting.items() if task == first):
        yield _execution(split, waiting, rng, number)
        number += 1


def _execution(
    split: Split,
    waiting: Mapping[tuple[int, int], list[int]],
    rng: np.random.Generator,
    number: int,
) -> ExecutionRecord:
    decisions: list[Decision] = []
    subtasks: list[LoggedSubtask] = []
    ended_ms: dict[int, float] = {}
    for index, (task, parents) in enumerate(split.parents.items()):
        calls: list[Decision] = []
        if all(parent in ended_ms for parent in parents):
            ready_ms = max((ended_ms[parent] for parent in parents), default=0.0)
            calls = _calls(split.train, waiting, rng, (index, task), ready_ms)
        if calls and calls[-1].success:
            ended_ms[task] = calls[-1].end_ms or 0.0
        decisions += calls
        subtasks.append(_subtask(split.train.tasks[task], calls))
    return _record(split, decisions, tuple(subtasks), number)


def _calls(
    runs: Runs,
    waiting: Mapping[tuple[int, int], list[int]],
    rng: np.random.Generator,
    subtask: tuple[int, int],
    ready_ms: float,
) -> list[Decision]:
    """Draws attempts at a subtask (its index and task) until one succeeds, or none is left."""
    calls: list[Decision] = []
    for attempt in range(ATTEMPTS):
        allowed = [w for w in range(len(runs.agents)) if waiting.get((subtask[1], w))]
        if not allowed:
            break
        agent = int(rng.choice(allowed))
        row = waiting[subtask[1], agent].pop()
        start_ms = ready_ms if not calls else calls[-1].end_ms or 0.0
        calls.append(
            Decision(
                subtask=subtask[0],
                attempt=attempt,
                worker=runs.agents[agent],
                called=runs.agents[agent],
                probabilities={runs.agents[w]: 1.0 / len(allowed) for w in allowed},
                decided_ms=start_ms,
                start_ms=start_ms,
                end_ms=start_ms + float(runs.latency_ms[row]),
                running=0,
                success=bool(runs.success[row]),
                quality=float(runs.success[row]),
                cost=float(runs.cost_usd[row]),
                input_tokens=0,
                output_tokens=0,
                cached_tokens=0,
                reasoning_tokens=0,
                is_estimated=False,
                tries=1,
                fault=None,
            )
        )
        if calls[-1].success:
            break
    return calls


def _subtask(name: str, calls: list[Decision]) -> LoggedSubtask:
    start = calls[0].start_ms if calls else None
    end = calls[-1].end_ms if calls else None
    success = bool(calls and calls[-1].success)
    return LoggedSubtask(
        name=name,
        type=name,
        status="succeeded" if success else "failed" if calls else "pending",
        worker=calls[-1].worker if calls else None,
        attempts=len(calls),
        success=success,
        cost=sum(call.cost for call in calls),
        latency_ms=(end or 0.0) - (start or 0.0),
        start_ms=start,
        end_ms=end,
    )


def _record(
    split: Split, decisions: list[Decision], subtasks: tuple[LoggedSubtask, ...], number: int
) -> ExecutionRecord:
    place = {task: index for index, task in enumerate(split.parents)}
    size = len(place)
    adjacency = [[0] * size for _ in range(size)]
    for task, parents in split.parents.items():
        for parent in parents:
            adjacency[place[parent]][place[task]] = 1
    success = all(subtask.success for subtask in subtasks)
    cost = sum(call.cost for call in decisions)
    makespan_ms = max((call.end_ms or 0.0 for call in decisions), default=0.0)
    first = {call.subtask: call.worker for call in reversed(decisions)}
    return ExecutionRecord(
        execution_id=f"agbench-{number:04d}",
        timestamp=_BEGAN,
        instruction=f"Walk the graph of tasks, time {number}.",
        success=success,
        cost=cost,
        latency_ms=makespan_ms,
        planner="annotated",
        agent="random",
        planner_outputs=PlannerOutputs(
            model_selections=tuple(first.get(i) for i in range(size)),
            task_types=tuple(subtask.type for subtask in subtasks),
            workflow_graph=WorkflowGraph.model_validate({"adjacency": adjacency}),
        ),
        execution_result=LoggedResult(
            success=success,
            outputs={},
            total_cost=cost,
            total_latency_ms=makespan_ms,
            subtasks=subtasks,
        ),
        decisions=tuple(decisions),
    )
