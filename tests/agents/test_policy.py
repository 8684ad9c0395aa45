"""The policy that phase 1 clones and phase 2 trains: masks, symmetry, and both PPOs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm

from agents.agent import Setting
from agents.evaluate import KEYS
from agents.policy import WorkerScoringPolicy
from agents.vec_env import OrchestAIVecEnv
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.errors import CheckpointError
from orchestai_env.observation import ObservationLayout
from orchestai_env.rules import EpisodeRules
from orchestai_env.vector_env import OrchestAIVectorEnv
from tests.agents.problems import WEIGHTS, builtin_setting, random_observations

ALGORITHMS: list[Any] = [PPO, MaskablePPO]
POLICY: Any = WorkerScoringPolicy
Observations = dict[str, npt.NDArray[Any]]


def make_policy(setting: Setting, seed: int = 0) -> WorkerScoringPolicy:
    """Returns a policy whose last layer is not near 0, so that probabilities differ."""
    torch.manual_seed(seed)
    policy = WorkerScoringPolicy(
        ObservationLayout.of(setting.dataset, KEYS).space,
        spaces.Discrete(len(setting.dataset.pool)),
        lambda _: 0.0,
        hidden=16,
    )
    with torch.no_grad():
        policy.get_parameter("action_net.score.weight").mul_(300.0)
    return policy


def probabilities(
    policy: Any, observation: Observations, action_masks: Any = None
) -> npt.NDArray[np.float32]:
    tensors: Any = {key: torch.as_tensor(values) for key, values in observation.items()}
    with torch.no_grad():
        distribution = policy.get_distribution(tensors, action_masks).distribution
    assert isinstance(distribution, torch.distributions.Categorical)
    found: npt.NDArray[np.float32] = distribution.probs.numpy()
    return found


def values_of(policy: WorkerScoringPolicy, observation: Observations) -> npt.NDArray[np.float32]:
    tensors: Any = {key: torch.as_tensor(values) for key, values in observation.items()}
    with torch.no_grad():
        found: npt.NDArray[np.float32] = policy.predict_values(tensors).numpy()
    return found


def make_vec_env(num_envs: int = 4) -> OrchestAIVecEnv:
    venv = OrchestAIVectorEnv(
        num_envs,
        builtin_dataset(num_workflows=20, max_subtasks=6),
        reward_weights=WEIGHTS,
        observation=KEYS,
    )
    return OrchestAIVecEnv(venv)


def trained(algorithm: Any) -> BaseAlgorithm:
    model: BaseAlgorithm = algorithm(
        POLICY,
        make_vec_env(),
        n_steps=8,
        batch_size=16,
        n_epochs=1,
        seed=0,
        device="cpu",
        policy_kwargs={"hidden": 16},
    )
    return model.learn(64)


@pytest.fixture(scope="module")
def setting() -> Setting:
    return builtin_setting(20)


@pytest.fixture(scope="module")
def observation(setting: Setting) -> Observations:
    return random_observations(setting, 50, seed=3)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_policy_learns_in_both_algorithms(algorithm: Any) -> None:
    model = trained(algorithm)

    assert model.num_timesteps == 64
    state = model.policy.state_dict()
    fresh = algorithm(POLICY, make_vec_env(), seed=0, device="cpu", policy_kwargs={"hidden": 16})
    before = fresh.policy.state_dict()
    assert any(not torch.equal(before[name], value) for name, value in state.items())


@pytest.mark.parametrize("saved_by", ALGORITHMS)
@pytest.mark.parametrize("loaded_by", ALGORITHMS)
def test_zip_loads_in_both_algorithms_with_equal_predictions(
    saved_by: Any, loaded_by: Any, tmp_path: Path, observation: Observations
) -> None:
    model = trained(saved_by)
    model.save(tmp_path / "model.zip")

    loaded = loaded_by.load(tmp_path / "model.zip", device="cpu")

    np.testing.assert_array_equal(
        probabilities(loaded.policy, observation), probabilities(model.policy, observation)
    )
    np.testing.assert_array_equal(
        loaded.predict(observation, deterministic=True)[0],
        model.predict(observation, deterministic=True)[0],
    )
    if saved_by is loaded_by:  # a zip holds its algorithm's roll-out buffer too
        loaded.set_env(make_vec_env())
        loaded.learn(32)


@pytest.mark.parametrize("by_argument", [False, True])
def test_masked_workers_have_probability_zero(
    setting: Setting, observation: Observations, by_argument: bool
) -> None:
    policy = make_policy(setting)
    mask = np.random.default_rng(0).random(observation["action_mask"].shape) < 0.5
    mask[:, 2] = True
    if by_argument:
        found = probabilities(policy, observation, mask)
    else:
        found = probabilities(policy, observation | {"action_mask": mask.astype(np.int8)})

    assert (found[~mask] == 0).all()
    assert (found[mask] > 0).all()
    np.testing.assert_allclose(found.sum(1), 1.0, rtol=1e-5)


def test_mask_of_the_observation_and_of_the_argument_mean_the_same(
    setting: Setting, observation: Observations
) -> None:
    policy = make_policy(setting)

    np.testing.assert_array_equal(
        probabilities(policy, observation),
        probabilities(policy, observation, observation["action_mask"].astype(bool)),
    )


def test_sampled_and_best_actions_obey_the_mask(
    setting: Setting, observation: Observations
) -> None:
    policy = make_policy(setting)
    rows = np.arange(50)

    for deterministic in (False, True):
        actions, _ = policy.predict(observation, deterministic=deterministic)
        assert observation["action_mask"][rows, actions].all()
    best, _ = policy.predict(observation, deterministic=True)
    assert best.tolist() == probabilities(policy, observation).argmax(1).tolist()


def test_permuted_workers_have_permuted_probabilities(
    setting: Setting, observation: Observations
) -> None:
    policy = make_policy(setting)
    order = np.random.default_rng(1).permutation(len(setting.dataset.pool))
    permuted = observation | {
        "workers": observation["workers"][:, order],
        "action_mask": observation["action_mask"][:, order],
    }

    found = probabilities(policy, permuted)

    expected = probabilities(policy, observation)
    np.testing.assert_allclose(found, expected[:, order], atol=1e-6)
    np.testing.assert_allclose(
        values_of(policy, permuted), values_of(policy, observation), atol=1e-5
    )
    assert expected.std(axis=1).min() > 0.01


def test_padding_of_subtasks_does_not_matter(setting: Setting, observation: Observations) -> None:
    policy = make_policy(setting)
    wider = make_policy(
        Setting(
            dataset=builtin_dataset(num_workflows=5, max_subtasks=11),
            rules=EpisodeRules(),
            weights=WEIGHTS,
        )
    )
    wider.load_state_dict(policy.state_dict())
    padding = np.zeros((50, 5, observation["subtasks"].shape[2]), np.float32)
    padded = observation | {"subtasks": np.concatenate([observation["subtasks"], padding], axis=1)}

    np.testing.assert_allclose(
        probabilities(wider, padded), probabilities(policy, observation), atol=1e-6
    )
    np.testing.assert_allclose(values_of(wider, padded), values_of(policy, observation), atol=1e-5)


def test_weights_serve_a_pool_of_another_size(setting: Setting, observation: Observations) -> None:
    """The scorer is shared: a masked worker may as well not be there."""
    policy = make_policy(setting)
    layout = ObservationLayout.of(setting.dataset, KEYS).space
    fewer = spaces.Dict(
        dict(layout.spaces)
        | {
            "workers": spaces.Box(0.0, 1.0, observation["workers"][0, 1:].shape),
            "action_mask": spaces.Box(0, 1, (7,), np.int8),
        }
    )
    smaller = WorkerScoringPolicy(fewer, spaces.Discrete(7), lambda _: 0.0, hidden=16)
    smaller.load_state_dict(policy.state_dict())
    mask = np.ones_like(observation["action_mask"])
    mask[:, 0] = 0
    without = observation | {
        "workers": observation["workers"][:, 1:],
        "action_mask": mask[:, 1:],
    }

    np.testing.assert_allclose(
        probabilities(smaller, without),
        probabilities(policy, observation | {"action_mask": mask})[:, 1:],
        atol=1e-6,
    )


@pytest.mark.parametrize("missing", KEYS)
def test_missing_key_is_named(setting: Setting, missing: str) -> None:
    space = ObservationLayout.of(setting.dataset, [key for key in KEYS if key != missing]).space

    with pytest.raises(CheckpointError, match=rf"reads the observation keys \['{missing}'\]"):
        WorkerScoringPolicy(space, spaces.Discrete(8), lambda _: 0.0)
