"""Columns of the observation by key: their names in order, and what each holds.

Every value is float32 in 0..1. `squash(x, scale)` is x / (x + scale): 0 at 0, 0.5 at the scale, 1
without end. `cost scale` and `time scale` are the medians of the mean cost [USD] and mean latency
[ms] of a call, over the pairs of worker and task type that have one.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestai_env.state import STATUS_NAMES
from orchestai_env.workers import KINDS

CONTEXT_COLUMNS = {
    "clock": "time since the start: squash(ms, 10 * time scale)",
    "spent": "cost of the calls that ended: squash(USD, 10 * cost scale)",
    "budget_left": "share of `cost_budget_usd` that is not spent; 1 without a budget",
    "deadline_left": "share of `deadline_ms` that is left; 1 without a deadline",
    "success_weight": "reward weight of the episode: squash(weight, 10)",
    "cost_weight": "reward weight of the episode: squash(weight per USD, 100)",
    "latency_weight": "reward weight of the episode: squash(weight per ms, 0.001)",
    "shaping_weight": "reward weight of the episode: squash(weight, 1)",
    "progress": "subtasks that succeeded, of all",
    "running": "calls that run, of `max_parallel_tasks`",
    "remaining": "expected time until the workflow ends, queues left out: "
    "squash(ms, 10 * time scale)",
}
"""Columns of `context`."""

WORKER_COLUMNS = {
    "price": "mean cost of a call on the task type, times the price factor of the episode: "
    "squash(USD, cost scale)",
    "expected_latency": "mean latency of a call on the task type, times the latency factor of the "
    "episode: squash(ms, time scale)",
    "predicted_success": "success probability on this subtask where the data stores predictions, "
    "else the mean on its task type",
    "expected_value": "what a call is expected to earn if success paid at once, in units of "
    "success_weight + shaping_weight = v: 0.5 + 0.5 * max(-1, predicted success - (cost_weight * "
    "mean cost + latency_weight * mean latency) / v); 0.5 = nothing",
    "free_slots": "share of the worker's `concurrency` that is free",
    "failed": "failed calls of the worker on this subtask, of `max_attempts`",
    **{f"kind_{kind}": f"1 where the kind is {kind}" for kind in KINDS},
}
"""Columns of `workers`; a row is an action. All 0 where the worker is absent, and at the end."""


def subtask_columns(task_types: Sequence[str]) -> dict[str, str]:
    """Returns the columns of `subtasks` for a vocabulary of task types; padded rows are all 0."""
    return {
        "exists": "1 where there is such a subtask",
        **{f"type_{name}": f"1 where the task type is {name}" for name in task_types},
        "complexity": "1 - mean predicted success over all workers, 0 for one that cannot serve it",
        **{f"status_{name}": f"1 where the status is {name.upper()}" for name in STATUS_NAMES},
        "attempts": "calls that ended, of `max_attempts`",
        "quality": "quality of the result once it SUCCEEDED, else 0",
        "slack": "how much later than expected it may end without delaying the workflow: "
        "squash(ms, time scale); 0 once it ended",
        "is_current": "1 for the subtask to decide on",
    }
