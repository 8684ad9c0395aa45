"""Policies whose probabilities differ, and what they see, for tests of the networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces

from agents.agent import Setting
from agents.policy import WorkerScoringPolicy, policy_keys
from agents.vec_env import OrchestAIVecEnv
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.observation import ObservationLayout
from orchestai_env.vector_env import OrchestAIVectorEnv
from tests.agents.problems import WEIGHTS

KINDS = ("mlp", "attention")

Observations = dict[str, npt.NDArray[Any]]


def make_policy(setting: Setting, *, seed: int = 0, **network: Any) -> WorkerScoringPolicy:
    """Returns a small policy whose last layer is not near 0, so that probabilities differ."""
    torch.manual_seed(seed)
    keys = policy_keys(network.get("kind", "mlp"), network.get("embeddings", False))
    policy = WorkerScoringPolicy(
        ObservationLayout.of(setting.dataset, keys).space,
        spaces.Discrete(len(setting.dataset.pool)),
        lambda _: 0.0,
        **{"hidden": 16} | network,
    )
    with torch.no_grad():
        policy.get_parameter("action_net.score.weight").mul_(300.0)
    return policy


def resized(policy: WorkerScoringPolicy, observation: Observations) -> WorkerScoringPolicy:
    """Returns the same weights for observations of other sizes."""
    assert isinstance(policy.observation_space, spaces.Dict)
    space = spaces.Dict(
        {
            key: spaces.Box(-10.0, 10.0, observation[key].shape[1:], observation[key].dtype)
            for key in policy.observation_space.spaces
        }
    )
    arguments = policy._get_constructor_parameters()
    arguments |= {
        "observation_space": space,
        "action_space": spaces.Discrete(observation["action_mask"].shape[1]),
    }
    other = WorkerScoringPolicy(**arguments)
    other.load_state_dict(policy.state_dict())
    return other


def observations_of(
    setting: Setting, count: int, *, seed: int = 0, embeddings: bool = False
) -> Observations:
    """Returns all that policies read, met by random play; at the end of episodes rows restart."""
    rules = {k: v for k, v in setting.rules.model_dump().items() if v is not None}
    env = OrchestAIVectorEnv(
        count,
        setting.dataset,
        reward_weights=setting.weights,
        observation=policy_keys("attention", embeddings),
        **rules,
    )
    observation, info = env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    for _ in range(5):
        allowed = rng.random(info["action_mask"].shape) * info["action_mask"]
        observation, _, _, _, info = env.step(allowed.argmax(axis=1))
    return {key: values.copy() for key, values in observation.items()}


def read_by(policy: WorkerScoringPolicy, observation: Observations) -> Observations:
    """Returns the keys that the policy reads."""
    return {key: observation[key] for key in policy.observation_keys}


def probabilities(
    policy: Any, observation: Observations, action_masks: Any = None
) -> npt.NDArray[np.float32]:
    """Returns float32 (m, W)."""
    with torch.no_grad():
        distribution = policy.get_distribution(_tensors(policy, observation), action_masks)
    assert isinstance(distribution.distribution, torch.distributions.Categorical)
    found: npt.NDArray[np.float32] = distribution.distribution.probs.numpy()
    return found


def values_of(policy: WorkerScoringPolicy, observation: Observations) -> npt.NDArray[np.float32]:
    """Returns float32 (m, 1)."""
    with torch.no_grad():
        found: npt.NDArray[np.float32] = policy.predict_values(
            _tensors(policy, observation)
        ).numpy()
    return found


def assert_same(
    policy: WorkerScoringPolicy,
    observation: Observations,
    other: WorkerScoringPolicy,
    changed: Observations,
    columns: npt.NDArray[np.int64] | slice = slice(None),
) -> None:
    """Asserts equal values, and that column i of one's probabilities is columns[i] of the other's.

    Probabilities of what the columns leave out are 0.
    """
    expected, found = probabilities(policy, observation), probabilities(other, changed)
    np.testing.assert_allclose(found[:, columns], expected, atol=2e-5)
    np.testing.assert_allclose(found[:, columns].sum(1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(
        values_of(other, changed), values_of(policy, observation), atol=2e-5, rtol=1e-4
    )


def make_vec_env(kind: str, *, embeddings: bool = False, num_envs: int = 4) -> OrchestAIVecEnv:
    """Returns an environment that shows what such a policy reads."""
    venv = OrchestAIVectorEnv(
        num_envs,
        builtin_dataset(num_workflows=20, max_subtasks=6),
        reward_weights=WEIGHTS,
        observation=policy_keys(kind, embeddings),
    )
    return OrchestAIVecEnv(venv)


def _tensors(policy: WorkerScoringPolicy, observation: Observations) -> Any:
    return {key: torch.as_tensor(values) for key, values in read_by(policy, observation).items()}
