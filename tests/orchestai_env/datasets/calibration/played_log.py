"""Execution logs made by the simulated environment, whose parameters are known."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import numpy as np

from orchestai_env.counter_rng import philox, quantile_index
from orchestai_env.dataset import Dataset
from orchestai_env.datasets.calibration.play import Played, play
from orchestai_env.execution.log.record import (
    Decision,
    ExecutionRecord,
    LoggedResult,
    LoggedSubtask,
    PlannerOutputs,
    WorkflowGraph,
)
from orchestai_env.outcomes.draw import _AFFINITY, _CALL, _DIFFICULTY, _token_level
from orchestai_env.rules import EpisodeRules
from orchestai_env.state import KEY, NUMBER

BEGAN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
INPUT_TOKENS = 200


def random_choices(seed: int) -> Any:
    """Returns a policy that draws evenly from the allowed workers."""
    rng = np.random.default_rng(seed)

    def choose(episodes: Any, rows: Any) -> Any:
        mask = episodes.state.mask[rows]
        return np.argmax(rng.random(mask.shape) * mask, axis=1)

    return choose


def played_records(
    dataset: Dataset, n: int, *, seed: int = 0, choose: Any = None, **rules: Any
) -> Iterator[ExecutionRecord]:
    """Plays n episodes of a simulated data set, and yields what a log would hold of them."""
    workflows = np.arange(n) % len(dataset.workflows)
    played = play(
        dataset, workflows, EpisodeRules(**rules), choose or random_choices(seed), seed=seed
    )
    return records_of(dataset, workflows, played, seed)


def records_of(
    dataset: Dataset, workflows: Any, played: Played, seed: int
) -> Iterator[ExecutionRecord]:
    """Yields the records of played episodes."""
    rows = np.lexsort((played.calls.order, played.calls.row))
    bounds = np.searchsorted(played.calls.row[rows], np.arange(len(workflows) + 1))
    for r, k in enumerate(np.asarray(workflows).tolist()):
        calls = rows[bounds[r] : bounds[r + 1]]
        yield _record(dataset, played, r, k, calls, f"played-{seed}-{r:06d}")


def _record(
    dataset: Dataset, played: Played, r: int, k: int, calls: Any, name: str
) -> ExecutionRecord:
    table = dataset.workflows
    size = int(table.num_subtasks[k])
    types = [dataset.task_types[t] for t in table.task_type[k, :size]]
    adjacency = [[0] * size for _ in range(size)]
    for i, j in table.links(k):
        adjacency[i][j] = 1
    decisions = [_decision(dataset, played, r, k, c, calls) for c in calls]
    result = played.episodes.result(r)
    first: dict[int, str] = {}
    for decision in decisions:
        first.setdefault(decision.subtask, decision.worker)
    text = f"{name} of workflow {k}"
    if table.instruction_texts is not None:
        text = f"{table.instruction_texts[k]} ({name})"
    return ExecutionRecord(
        execution_id=name,
        timestamp=BEGAN,
        instruction=text,
        success=result.success,
        cost=result.total_cost,
        latency_ms=result.total_latency_ms,
        planner="annotated",
        agent="test",
        planner_outputs=PlannerOutputs(
            model_selections=tuple(first.get(i) for i in range(size)),
            task_types=tuple(types),
            workflow_graph=WorkflowGraph.model_validate({"adjacency": adjacency}),
        ),
        execution_result=LoggedResult(
            success=result.success,
            outputs={},
            total_cost=result.total_cost,
            total_latency_ms=result.total_latency_ms,
            subtasks=tuple(LoggedSubtask(**s._asdict()) for s in result.subtasks),
        ),
        decisions=tuple(decisions),
    )


def _decision(dataset: Dataset, played: Played, r: int, k: int, c: int, calls: Any) -> Decision:
    table = played.calls
    has_ended = bool(table.end_us[c] <= round(played.makespan_ms[r] * 1e3))
    worker = dataset.pool.names[table.worker[c]]
    start, end = table.start_us[c], table.end_us[c]
    earlier = (table.start_us[calls] < start) | (
        (table.start_us[calls] == start) & (table.order[calls] < table.order[c])
    )
    beside = (table.worker[calls] == table.worker[c]) & (table.end_us[calls] > start) & earlier
    return Decision(
        subtask=int(table.subtask[c]),
        attempt=int(table.attempt[c]),
        worker=worker,
        called=worker if has_ended else None,
        probabilities=None,
        decided_ms=table.decided_us[c] / 1e3,
        start_ms=start / 1e3,
        end_ms=end / 1e3 if has_ended else None,
        running=int(beside.sum()),
        success=bool(table.success[c]) if has_ended else None,
        quality=float(table.quality[c]) if has_ended else None,
        cost=float(table.cost_usd[c]),
        input_tokens=_input_tokens(dataset, k, int(table.subtask[c]), worker),
        output_tokens=_tokens(dataset, played, r, k, c),
        cached_tokens=0,
        reasoning_tokens=0,
        is_estimated=False,
        tries=1,
        fault=None,
    )


def _input_tokens(dataset: Dataset, k: int, i: int, worker: str) -> int:
    """Returns what the simulator takes a prompt for; of a recorded call nothing is known."""
    skills = dataset.pool.workers[dataset.pool.index(worker)].skills
    kind = dataset.task_types[dataset.workflows.task_type[k, i]]
    return round(skills[kind].input_tokens) if kind in skills else INPUT_TOKENS


def _tokens(dataset: Dataset, played: Played, r: int, k: int, c: int) -> int:
    """Draws the tokens of a call again, as draw.py does; of a recorded call, from its latency."""
    table, tables = played.calls, dataset.outcomes
    w, i = int(table.worker[c]), int(table.subtask[c])
    if len(tables.output_tokens) == 1 and tables.capable.shape == (1, 1):
        spec = dataset.pool.workers[w]
        ms = (table.end_us[c] - table.start_us[c]) / 1e3 - spec.first_token_ms
        return max(0, round(ms * spec.tokens_per_s / 1e3))
    episode = played.episodes.state.episode[r]
    t, normal = int(dataset.workflows.task_type[k, i]), tables.normal

    def words(worker: int, stream: int) -> Any:
        return philox(int(episode[KEY]), int(episode[NUMBER]), i, worker, stream)

    of_call = words(w, _CALL + int(table.attempt[c]))
    _, kept, fresh, _, _ = tables.simulation
    noise = kept * normal[quantile_index(words(w, _AFFINITY)[0])]
    noise += fresh * normal[quantile_index(of_call[0])]
    difficulty = normal[quantile_index(words(0, _DIFFICULTY)[0])]
    level = _token_level(tables, t, w, of_call[1], difficulty, noise)
    return int(tables.output_tokens[t, w, level])
