"""Models of SB3 in zips, as phase 2 and other people save them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm

from agents.agent import Setting
from agents.checkpoint import trained_for, vocabulary
from agents.evaluate import KEYS
from agents.policy import WorkerScoringPolicy
from tests.agents.policies import make_policy
from tests.agents.test_sb3_agent import ALGORITHMS


def model_of(name: str, setting: Setting) -> BaseAlgorithm:
    """Returns an untrained model of an algorithm of SB3 with a network of its own."""
    algorithm, policy, arguments = ALGORITHMS[name]
    env = gym.make("OrchestAI-v0", dataset=setting.dataset, observation=KEYS)
    model: Any = algorithm(policy, env, seed=0, device="cpu", **arguments)
    found: BaseAlgorithm = model
    return found


def save(model: Any, setting: Setting, folder: Path) -> Path:
    """Saves a model as phase 2 does."""
    model.vocabulary, model.trained_for = vocabulary(setting.dataset), trained_for(setting)
    model.save(folder / "model.zip")
    return folder / "model.zip"


def ours(setting: Setting, folder: Path, *, embeddings: bool = False) -> Path:
    """Saves a model with our policy, whose probabilities differ."""
    policy = make_policy(setting, embeddings=embeddings)
    env = gym.make("OrchestAI-v0", dataset=setting.dataset, observation=policy.observation_keys)
    arguments = {"hidden": 16, "embeddings": embeddings}
    network: Any = WorkerScoringPolicy
    model = PPO(network, env, policy_kwargs=arguments, device="cpu", n_steps=8, batch_size=8)
    model.policy.load_state_dict(policy.state_dict())
    return save(model, setting, folder)
