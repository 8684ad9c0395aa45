"""The planner's state as spaces and arrays: what the agent sees, and nothing it could not know."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from orchestai_env.compiled import compiled
from orchestai_env.dataset import Dataset
from orchestai_env.dynamics import (
    ATTEMPTS,
    CLOCK,
    CURRENT,
    DEADLINE,
    MAX_ATTEMPTS,
    MAX_PARALLEL,
    NONE,
    PENDING,
    QUALITY,
    RUNNING,
    RUNS,
    START,
    STATUS,
    STATUS_NAMES,
    SUCCEEDED,
    SUCCESSES,
    WORKER,
    WORKFLOW,
    EpisodeState,
    Problem,
)
from orchestai_env.errors import ConfigError, unknown_name
from orchestai_env.features import Features
from orchestai_env.reward import REWARD_TERMS
from orchestai_env.workers import KINDS

KEYS = ("subtask", "subtasks", "adjacency", "workers", "context", "action_mask")
"""Keys of the observation, in the order of its Dict space; "subtask" only with embeddings."""

CONTEXT_FEATURES = (
    "clock",
    "spent",
    "budget_left",
    "deadline_left",
    *(f"{term}_weight" for term in REWARD_TERMS),
    "progress",
    "running",
    "remaining",
)
WORKER_FEATURES = (
    "price",
    "expected_latency",
    "predicted_success",
    "expected_value",
    "free_slots",
    "failed",
    *(f"kind_{kind}" for kind in KINDS),
)
_EMBEDDING_BOUND = 10.0  # sentence embeddings are of unit length; the bound is generous


def subtask_features(task_types: Sequence[str]) -> tuple[str, ...]:
    """Returns the names of the columns of `subtasks` for a vocabulary of task types."""
    return (
        "exists",
        *(f"type_{name}" for name in task_types),
        "complexity",
        *(f"status_{name}" for name in STATUS_NAMES),
        "attempts",
        "quality",
        "slack",
        "is_current",
    )


class Observation(NamedTuple):
    """Buffers of n observations; absent keys have width 0 and are never written."""

    subtask: npt.NDArray[np.float32]
    subtasks: npt.NDArray[np.float32]
    adjacency: npt.NDArray[np.float32]
    workers: npt.NDArray[np.float32]
    context: npt.NDArray[np.float32]
    action_mask: npt.NDArray[np.int8]


@dataclasses.dataclass(frozen=True)
class ObservationLayout:
    """Which keys an observation has, their spaces, and the names of their features."""

    space: spaces.Dict
    feature_names: Mapping[str, tuple[str, ...]]
    """Key -> names of its last axis, for `subtasks`, `workers` and `context`."""

    @classmethod
    def of(cls, dataset: Dataset, keys: Sequence[str] | None) -> ObservationLayout:
        """Lays out the chosen keys (all that the data set can fill where None).

        Raises:
            ConfigError: an unknown key, none at all, or "subtask" without embeddings.
        """
        n, w = dataset.workflows.max_subtasks, len(dataset.pool)
        embeddings = dataset.query_embeddings
        present = [key for key in KEYS if key != "subtask" or embeddings is not None]
        if keys is not None and (isinstance(keys, str) or not isinstance(keys, Iterable)):
            raise ConfigError(f"observation: expected a list of keys or None, got {keys!r}")
        chosen = present if keys is None else list(keys)
        for key in chosen:
            if key == "subtask" and embeddings is None:
                raise ConfigError(
                    "observation key 'subtask': the data set has no stored embeddings; "
                    "store them with the data or leave the key out"
                )
            if key not in KEYS:
                raise ConfigError(unknown_name("observation key", key, KEYS))
        if not chosen:
            raise ConfigError(f"observation: expected at least one key of {', '.join(KEYS)}")
        names = {
            "subtasks": subtask_features(dataset.task_types),
            "workers": WORKER_FEATURES,
            "context": CONTEXT_FEATURES,
        }
        bound = _EMBEDDING_BOUND
        width = 0 if embeddings is None else embeddings.shape[1]
        every: dict[str, spaces.Space[Any] | None] = {
            "subtask": spaces.Box(-bound, bound, (width,), np.float32) if width else None,
            "subtasks": spaces.Box(0.0, 1.0, (n, len(names["subtasks"])), np.float32),
            "adjacency": spaces.Box(0.0, 1.0, (n, n), np.float32),
            "workers": spaces.Box(0.0, 1.0, (w, len(WORKER_FEATURES)), np.float32),
            "context": spaces.Box(0.0, 1.0, (len(CONTEXT_FEATURES),), np.float32),
            "action_mask": spaces.Box(0, 1, (w,), np.int8),
        }
        kept = {key: space for key in KEYS if key in chosen and (space := every[key]) is not None}
        return cls(spaces.Dict(kept), {k: v for k, v in names.items() if k in kept})

    def allocate(self, n: int) -> Observation:
        """Allocates buffers of n observations."""
        empty = {
            "subtask": (n, 0),
            "subtasks": (n, 0, 0),
            "adjacency": (n, 0, 0),
            "workers": (n, 0, 0),
            "context": (n, 0),
            "action_mask": (n, 0),
        }
        chosen = self.space.spaces
        return Observation(
            **{
                key: np.zeros(
                    (n, *(chosen[key].shape or ())) if key in chosen else shape,
                    np.int8 if key == "action_mask" else np.float32,
                )
                for key, shape in empty.items()
            }
        )

    def as_dict(self, buffers: Observation) -> dict[str, npt.NDArray[np.generic]]:
        """Returns the chosen keys of the buffers, without a copy."""
        return {key: getattr(buffers, key) for key in self.space.spaces}


@compiled
def write_observation(
    problem: Problem, features: Features, state: EpisodeState, out: Observation, r: int, o: int
) -> None:
    """Writes the observation of episode row r into row o of the buffers."""
    if out.action_mask.shape[1] > 0:
        for w in range(out.action_mask.shape[1]):
            out.action_mask[o, w] = state.mask[r, w]
    if out.subtasks.shape[1] > 0 or out.context.shape[1] > 0:
        _write_plan(problem, features, state, out, r, o)
    if out.adjacency.shape[1] > 0:
        _write_adjacency(problem, state, out, r, o)
    if out.workers.shape[1] > 0:
        _write_workers(problem, features, state, out, r, o)
    if out.subtask.shape[1] > 0:
        _write_embedding(problem, features, state, out, r, o)


@compiled
def _write_embedding(
    problem: Problem, features: Features, state: EpisodeState, out: Observation, r: int, o: int
) -> None:
    k, i = state.episode[r, WORKFLOW], state.episode[r, CURRENT]
    if i == NONE:
        out.subtask[o] = 0.0
        return
    q = problem.query[k, i]
    for d in range(out.subtask.shape[1]):
        out.subtask[o, d] = features.embeddings[q, d]


@compiled
def _write_adjacency(
    problem: Problem, state: EpisodeState, out: Observation, r: int, o: int
) -> None:
    k = state.episode[r, WORKFLOW]
    adjacency = out.adjacency[o]
    adjacency[:] = 0.0
    for i in range(problem.num_subtasks[k]):
        for c in range(problem.num_children[k, i]):
            adjacency[i, problem.children[k, i, c]] = 1.0


@compiled
def _write_workers(
    problem: Problem, features: Features, state: EpisodeState, out: Observation, r: int, o: int
) -> None:
    k, i = state.episode[r, WORKFLOW], state.episode[r, CURRENT]
    workers = out.workers[o]
    if i == NONE:
        workers[:] = 0.0
        return
    t, q = problem.task_type[k, i], problem.query[k, i]
    predicted = features.has_predictions[0] == 1
    for w in range(len(workers)):
        success = features.predicted[q, w] if predicted else features.success[t, w]
        free = problem.concurrency[w] - state.busy[r, w]
        workers[w, 0] = features.price[t, w]
        workers[w, 1] = features.latency[t, w]
        workers[w, 2] = success
        workers[w, 3] = _expected_value(features, state.weights[r], success, t, w)
        workers[w, 4] = max(0.0, float(free)) / float(problem.concurrency[w])
        workers[w, 5] = float(state.failures[r, i, w]) / float(problem.whole[MAX_ATTEMPTS])
        for kind in range(features.kind.shape[1]):
            workers[w, 6 + kind] = features.kind[w, kind]


@compiled
def _expected_value(
    features: Features, weights: npt.NDArray[np.float64], success: float, t: int, w: int
) -> float:
    """Returns what a call is expected to earn, as if success paid at once; 0..1, 0.5 = nothing.

    In units of the success weight, cut at -1. It tells the policy what prices and latencies mean
    under the weights in force, which the squashed features do not.
    """
    paid = max(weights[0] + weights[3], 1e-9)
    charge = (
        weights[1] * features.cost_usd[t, w]
        + weights[2] * float(features.expected_us[t, w]) / 1000.0
    )
    return float(0.5 + 0.5 * max(-1.0, success - charge / paid))


@compiled
def _write_plan(
    problem: Problem, features: Features, state: EpisodeState, out: Observation, r: int, o: int
) -> None:
    """Writes subtasks and context; both need the expected schedule of what is left."""
    n = problem.num_subtasks[state.episode[r, WORKFLOW]]
    finish, latest = state.plan[r, 0], state.plan[r, 1]
    horizon = _expected_schedule(problem, features, state, r, finish, latest)
    if out.subtasks.shape[1] > 0:
        for i in range(len(out.subtasks[o])):
            if i < n:
                slack = float(latest[i] - finish[i])
                _write_subtask(problem, features, state, out.subtasks[o, i], r, i, slack)
            else:
                out.subtasks[o, i] = 0.0
    if out.context.shape[1] > 0:
        left = float(horizon - state.episode[r, CLOCK])
        _write_context(problem, features, state, out.context[o], r, left)


@compiled
def _expected_schedule(
    problem: Problem,
    features: Features,
    state: EpisodeState,
    r: int,
    finish: npt.NDArray[np.int64],
    latest: npt.NDArray[np.int64],
) -> int:
    """Fills earliest and latest expected end [us] of every subtask; returns the expected makespan.

    An open call is expected to take its worker's mean latency, what has not begun the mean over
    workers; queues are left out. latest - finish is the slack to the critical path.
    """
    k, now = state.episode[r, WORKFLOW], state.episode[r, CLOCK]
    n = problem.num_subtasks[k]
    horizon = now
    for i in range(n):
        t = problem.task_type[k, i]
        subtask = state.subtask[r, i]
        finish[i] = now
        if subtask[STATUS] == RUNNING:
            begun = now if subtask[START] == NONE else subtask[START]
            finish[i] = max(now, begun + features.expected_us[t, subtask[WORKER]])
        elif subtask[STATUS] <= RUNNING:  # PENDING or READY
            for p in range(problem.num_parents[k, i]):
                finish[i] = max(finish[i], finish[problem.parents[k, i, p]])
            finish[i] += features.typical_us[t]
        horizon = max(horizon, finish[i])
    for back in range(n):
        i = n - 1 - back
        latest[i] = horizon
        for c in range(problem.num_children[k, i]):
            child = problem.children[k, i, c]
            if state.subtask[r, child, STATUS] == PENDING:
                begin = latest[child] - features.typical_us[problem.task_type[k, child]]
                latest[i] = min(latest[i], begin)
    return int(horizon)


@compiled
def _write_subtask(
    problem: Problem,
    features: Features,
    state: EpisodeState,
    out: npt.NDArray[np.float32],
    r: int,
    i: int,
    slack_us: float,
) -> None:
    k = state.episode[r, WORKFLOW]
    t, q = problem.task_type[k, i], problem.query[k, i]
    num_types = len(features.typical_us)
    subtask = state.subtask[r, i]
    status = subtask[STATUS]
    out[:] = 0.0
    out[0] = 1.0
    out[1 + t] = 1.0
    column = 1 + num_types
    skills = features.predicted[q] if features.has_predictions[0] == 1 else features.success[t]
    total = 0.0
    for w in range(len(skills)):
        total += float(skills[w])
    out[column] = 1.0 - total / float(len(skills))
    out[column + 1 + status] = 1.0
    column += 6
    out[column] = float(subtask[ATTEMPTS]) / float(problem.whole[MAX_ATTEMPTS])
    out[column + 1] = state.value[r, i, QUALITY] if status == SUCCEEDED else 0.0
    if status < SUCCEEDED:
        out[column + 2] = slack_us / (slack_us + features.scale[1])
    out[column + 3] = 1.0 if i == state.episode[r, CURRENT] else 0.0


@compiled
def _write_context(
    problem: Problem,
    features: Features,
    state: EpisodeState,
    out: npt.NDArray[np.float32],
    r: int,
    left_us: float,
) -> None:
    clock = float(state.episode[r, CLOCK])
    spent, budget = state.spent[r], problem.budget_usd[0]
    deadline = problem.whole[DEADLINE]
    cost_scale, time_scale = features.scale
    n = problem.num_subtasks[state.episode[r, WORKFLOW]]
    # A workflow takes a few calls, so its sums reach 0.5 at 10 mean calls.
    out[0] = clock / (clock + 10.0 * time_scale)
    out[1] = spent / (spent + 10.0 * cost_scale)
    out[2] = 1.0 if np.isinf(budget) else max(0.0, budget - spent) / budget
    out[3] = 1.0 if deadline == NONE else max(0.0, float(deadline) - clock) / float(deadline)
    weights = state.weights[r]
    out[4] = weights[0] / (weights[0] + 10.0)
    out[5] = weights[1] / (weights[1] + 100.0)
    out[6] = weights[2] / (weights[2] + 1e-3)
    out[7] = weights[3] / (weights[3] + 1.0)
    out[8] = float(state.episode[r, SUCCESSES]) / float(n)
    out[9] = float(state.episode[r, RUNS]) / float(problem.whole[MAX_PARALLEL])
    out[10] = left_us / (left_us + 10.0 * time_scale)
