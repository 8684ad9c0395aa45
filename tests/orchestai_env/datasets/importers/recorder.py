"""Episodes of the simulated environment, played and noted down as a log would have them."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np

from orchestai_env.env import OrchestAIEnv
from orchestai_env.execution.log.logged_result import logged_result
from orchestai_env.execution.log.record import (
    Decision,
    ExecutionRecord,
    PlannerOutputs,
    WorkflowGraph,
)
from orchestai_env.state import (
    ATTEMPTS,
    CALL_COST,
    CLOCK,
    END,
    QUALITY,
    START,
    WINS,
    WORKFLOW,
)

BEGAN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


class Played:
    """One episode: what the agent saw, did and got, and its record."""

    def __init__(self, env: OrchestAIEnv, seed: int) -> None:
        """Plays an episode with random workers, drawn evenly from the allowed ones."""
        self._env, self._rng = env, np.random.default_rng(seed)
        self._state = env.episodes.state
        self.observations: list[dict[str, Any]] = []
        self.actions: list[int] = []
        self.rewards: list[float] = []
        obs, info = env.reset(seed=seed)
        self.observations.append({key: value.copy() for key, value in obs.items()})
        calls, ended = [], False
        while not ended:
            calls.append(self._call())
            obs, reward, terminated, truncated, info = env.step(self.actions[-1])
            self._note_end(calls[-1])
            self.observations.append({key: value.copy() for key, value in obs.items()})
            self.rewards.append(reward)
            ended = terminated or truncated
        self.result = info["episode_result"]
        self.record = self._record(f"played-{seed}", calls)

    def _call(self) -> dict[str, Any]:
        allowed = np.flatnonzero(self._env.action_masks())
        action = int(self._rng.choice(allowed))
        self.actions.append(action)
        subtask = self._env.current_subtask
        names = self._env.dataset.pool.names
        return {
            "subtask": subtask,
            "attempt": int(self._state.subtask[0, subtask, ATTEMPTS]),
            "worker": names[action],
            "probabilities": {names[a]: 1.0 / len(allowed) for a in allowed},
            "decided_ms": self._state.episode[0, CLOCK] / 1e3,
        }

    def _note_end(self, call: dict[str, Any]) -> None:
        """Notes what the simulation knows of a call that it has just begun."""
        row = self._state.subtask[0, call["subtask"]]
        value = self._state.value[0, call["subtask"]]
        call |= {"start_ms": row[START] / 1e3, "end_ms": row[END] / 1e3, "success": bool(row[WINS])}
        call |= {"quality": float(value[QUALITY]), "cost": float(value[CALL_COST])}

    def _record(self, name: str, calls: list[dict[str, Any]]) -> ExecutionRecord:
        table, k = self._env.dataset.workflows, int(self._state.episode[0, WORKFLOW])
        size = int(table.num_subtasks[k])
        links = set(table.links(k))
        decisions = []
        for call in calls:
            if call["end_ms"] > self.result.total_latency_ms:  # cut off by the end of the episode
                call |= {"end_ms": None, "success": None, "quality": None}
            decisions.append(
                Decision(
                    **call,
                    called=call["worker"],
                    running=0,
                    input_tokens=0,
                    output_tokens=0,
                    cached_tokens=0,
                    reasoning_tokens=0,
                    is_estimated=False,
                    tries=1,
                    fault=None,
                )
            )
        return ExecutionRecord(
            execution_id=name,
            timestamp=BEGAN,
            instruction="an instruction",
            success=self.result.success,
            cost=self.result.total_cost,
            latency_ms=self.result.total_latency_ms,
            planner="annotated",
            agent="random",
            planner_outputs=PlannerOutputs(
                model_selections=(None,) * size,
                task_types=tuple(table.task_types[t] for t in table.task_type[k, :size]),
                workflow_graph=WorkflowGraph.model_validate(
                    {
                        "adjacency": [
                            [int((i, j) in links) for j in range(size)] for i in range(size)
                        ]
                    }
                ),
            ),
            execution_result=logged_result(self.result),
            decisions=tuple(decisions),
        )
