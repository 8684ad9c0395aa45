"""Raw text stays out of our agents: they choose their keys, whatever the data could show."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces

from agents.agent import State
from agents.evaluate import KEYS, evaluate
from agents.policy import WorkerScoringPolicy
from orchestai_env.observation import ObservationLayout
from tests.agents.problems import builtin_setting, random_observations

TEXT = {"instruction", "subtask"}


class KeyNoter:
    """Takes the first allowed worker and notes which keys it was shown."""

    def __init__(self) -> None:
        self.keys: set[str] = set()

    def predict(
        self,
        observation: Any,
        state: State = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[npt.NDArray[Any], State]:
        self.keys |= set(observation)
        return observation["action_mask"].argmax(axis=1), state


def test_agents_are_shown_no_embedding_though_the_data_has_them() -> None:
    setting = builtin_setting(3)
    agent = KeyNoter()
    evaluate(agent, setting, seed=0)

    assert setting.dataset.query_embeddings is not None
    assert setting.dataset.instruction_embeddings is not None
    assert agent.keys == set(KEYS)
    assert not agent.keys & TEXT


def test_policy_ignores_embeddings_that_an_observation_has() -> None:
    setting = builtin_setting(3)
    shown = ObservationLayout.of(setting.dataset, KEYS).space.spaces
    text = {key: spaces.Box(-10.0, 10.0, (384,), np.float32) for key in sorted(TEXT)}
    torch.manual_seed(0)
    policy = WorkerScoringPolicy(
        spaces.Dict({**shown, **text}), spaces.Discrete(len(setting.dataset.pool)), lambda _: 0.0
    )
    rng = np.random.default_rng(0)

    def probabilities(changed: str | None) -> torch.Tensor:
        observation = {**random_observations(setting, 5, seed=1)}
        observation |= {key: np.zeros((5, 384), np.float32) for key in TEXT}
        if changed is not None:
            observation[changed] = rng.random(observation[changed].shape).astype(np.float32)
        tensors: Any = {key: torch.as_tensor(values) for key, values in observation.items()}
        with torch.no_grad():
            found: Any = policy.get_distribution(tensors).distribution
        return found.probs

    before = probabilities(None)
    for key in sorted(TEXT):
        assert torch.equal(probabilities(key), before)
    assert not torch.equal(probabilities("workers"), before)
