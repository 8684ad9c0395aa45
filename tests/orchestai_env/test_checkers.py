"""Gymnasium's and Stable-Baselines3's own checkers, over ways to set the environment up."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import pytest

from orchestai_env.env import OrchestAIEnv
from tests.orchestai_env.checkers import assert_passes_gymnasium, assert_passes_sb3

ARGUMENTS: dict[str, dict[str, Any]] = {
    "default": {},
    "randomised": {
        "preference_spread": 3.0,
        "price_spread": 2.0,
        "latency_spread": 2.0,
        "min_workers": 2,
        "shuffle_workers": True,
    },
    "limited": {
        "split": "test",
        "cost_budget_usd": 0.01,
        "deadline_ms": 20_000,
        "max_steps": 5,
        "on_failure": "continue",
        "observation": ["workers", "context"],
    },
}


@pytest.mark.usefixtures("windows")
@pytest.mark.parametrize("name", ARGUMENTS)
def test_env_passes_both_checkers(name: str) -> None:
    env = gym.make("OrchestAI-v0", **ARGUMENTS[name]).unwrapped

    assert isinstance(env, OrchestAIEnv)
    assert_passes_gymnasium(env)
    assert_passes_sb3(env)
