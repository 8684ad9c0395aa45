"""Prints a trajectory as text, bit for bit; run as a program to compare processes."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from orchestai_env.dataset import Dataset
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.outcomes.simulated import SimulationSettings
from orchestai_env.vector_env import OrchestAIVectorEnv
from tests.orchestai_env.hidden import hidden_dataset
from tests.orchestai_env.toy import DIAMOND, ONE_SECOND, Instance, toy_dataset


def trajectory() -> list[str]:
    """Plays simulated and recorded episodes and returns a line per step."""
    simulated = builtin_dataset(
        "validation", num_workflows=10, simulation=SimulationSettings(load_slowdown=0.3)
    )
    unanswered = Instance(calls=((ONE_SECOND, ()), ((), ())), links=((0, 1),))
    recorded = toy_dataset([DIAMOND, unanswered], concurrency=(1, 1))
    limits: dict[str, Any] = {"cost_budget_usd": 0.02, "deadline_ms": 40_000.0, "max_steps": 9}
    return [
        *_played(simulated, on_failure="continue"),
        *_played(simulated, **limits),
        *_played(hidden_dataset(num_workflows=10)),
        *_played(recorded),
    ]


def _played(dataset: Dataset, **rules: Any) -> list[str]:
    venv = OrchestAIVectorEnv(5, dataset, **rules)
    obs, _ = venv.reset(seed=3)
    rng = np.random.default_rng(0)
    lines = []
    for _ in range(40):
        step = venv.step(rng.integers(len(dataset.pool), size=5))
        obs, rewards, terminated, truncated, info = step
        digests = [f"{key}:{_digest(values)}" for key, values in obs.items()]
        ends = (terminated + 2 * truncated).tolist()
        masked = info["final_info"]["masked_actions"].tolist() if any(ends) else []
        bits = [reward.hex() for reward in rewards.tolist()]
        lines.append(f"{bits} {ends} {masked} {_digest(info['action_mask'])} {' '.join(digests)}")
    return lines


def _digest(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:12]


if __name__ == "__main__":
    print("\n".join(trajectory()))
