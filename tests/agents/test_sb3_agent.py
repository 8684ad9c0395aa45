"""Zips of Stable-Baselines3 as agents: every algorithm, and zips that do not fit."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from sb3_contrib import TRPO, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm

from agents.agent import Setting
from agents.checkpoint import vocabulary
from agents.evaluate import KEYS, evaluate
from agents.policy import WorkerScoringPolicy
from agents.sb3_agent import MaskedPolicyAgent, load_sb3_agent, policy_agent
from orchestai_env.errors import CheckpointError, MissingFileError
from tests.agents.problems import builtin_setting, random_observations, toy_setting
from tests.orchestai_env.toy import ONE_SECOND, chain, lose

SMALL: dict[str, Any] = {"net_arch": [8]}
ON_POLICY: dict[str, Any] = {"n_steps": 8, "policy_kwargs": SMALL}
ALGORITHMS: dict[str, tuple[type[BaseAlgorithm], str, dict[str, Any]]] = {
    "PPO": (PPO, "MultiInputPolicy", ON_POLICY | {"batch_size": 8}),
    "A2C": (A2C, "MultiInputPolicy", ON_POLICY),
    "TRPO": (TRPO, "MultiInputPolicy", ON_POLICY | {"batch_size": 8}),
    "MaskablePPO": (MaskablePPO, "MultiInputPolicy", ON_POLICY | {"batch_size": 8}),
    "RecurrentPPO": (
        RecurrentPPO,
        "MultiInputLstmPolicy",
        {"n_steps": 8, "batch_size": 8, "policy_kwargs": SMALL | {"lstm_hidden_size": 8}},
    ),
    "DQN": (
        DQN,
        "MultiInputPolicy",
        {"learning_starts": 4, "buffer_size": 50, "policy_kwargs": SMALL},
    ),
}


def trained(name: str, setting: Setting, keys: tuple[str, ...] | None = None) -> BaseAlgorithm:
    algorithm, policy, arguments = ALGORITHMS[name]
    env = gym.make("OrchestAI-v0", dataset=setting.dataset, observation=keys)
    model: Any = algorithm(policy, env, seed=0, device="cpu", **arguments)
    model.learn(16)
    found: BaseAlgorithm = model
    return found


@pytest.fixture(scope="module")
def setting() -> Setting:
    return builtin_setting(12)


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_zip_of_every_algorithm_plays_by_the_mask(
    setting: Setting, tmp_path: Path, name: str
) -> None:
    keys = ("subtasks", "workers") if name in ("A2C", "DQN") else None  # without the mask, and all
    model = trained(name, setting, keys)
    model.save(tmp_path / "model.zip")

    agent = load_sb3_agent(tmp_path / "model.zip", setting)

    found = evaluate(agent, setting, seed=0)
    assert found.masked_actions.sum() == 0
    again = evaluate(policy_agent(model.policy), setting, seed=0)
    assert found.episode_return.tolist() == again.episode_return.tolist()
    drawn = evaluate(agent, setting, seed=0, deterministic=False)
    assert drawn.valid.all()


@pytest.mark.parametrize("name", ["PPO", "A2C", "DQN", "RecurrentPPO"])
def test_where_all_is_allowed_the_model_decides(setting: Setting, name: str) -> None:
    model = trained(name, setting, KEYS)
    observation = random_observations(setting, 20, seed=0)
    observation["action_mask"][:] = 1

    found, _ = MaskedPolicyAgent(model.policy).predict(observation, deterministic=True)

    assert found.tolist() == model.predict(observation, deterministic=True)[0].tolist()


def test_memory_goes_from_step_to_step_as_in_the_model(setting: Setting) -> None:
    model = trained("RecurrentPPO", setting, KEYS)
    agent, state, own = MaskedPolicyAgent(model.policy), None, None
    for step in range(4):
        observation = random_observations(setting, 6, seed=step)
        observation["action_mask"][:] = 1
        starts = np.full(6, step in (0, 2))
        found, state = agent.predict(observation, state, starts, deterministic=True)
        expected, own = model.predict(observation, own, starts, deterministic=True)
        assert found.tolist() == expected.tolist()
        assert state is not None
        assert own is not None
        np.testing.assert_array_equal(state[0], own[0])
        np.testing.assert_array_equal(state[1], own[1])


def test_ours_is_built_for_other_workers(setting: Setting, tmp_path: Path) -> None:
    env = gym.make("OrchestAI-v0", dataset=setting.dataset, observation=KEYS)
    policy: Any = WorkerScoringPolicy
    model = PPO(policy, env, policy_kwargs={"hidden": 8}, seed=0, device="cpu")
    model.vocabulary = vocabulary(setting.dataset)  # type: ignore[attr-defined]  # SB3 saves it
    model.save(tmp_path / "model.zip")
    names = list(reversed(setting.dataset.pool.names))
    turned = dataclasses.replace(setting, dataset=setting.dataset.with_workers(names))

    agent = load_sb3_agent(tmp_path / "model.zip", turned)

    assert isinstance(agent, WorkerScoringPolicy)
    assert policy_agent(agent) is agent
    observation = random_observations(setting, 30, seed=0)
    expected, _ = model.predict(observation, deterministic=True)
    for key in ("workers", "action_mask"):
        observation[key] = observation[key][:, ::-1].copy()
    found, _ = agent.predict(observation, deterministic=True)
    assert (len(names) - 1 - found).tolist() == expected.tolist()


@pytest.fixture(scope="module")
def stock(setting: Setting) -> BaseAlgorithm:
    return trained("A2C", setting)


def test_stock_zip_of_another_pool_is_refused(
    setting: Setting, stock: BaseAlgorithm, tmp_path: Path
) -> None:
    stock.save(tmp_path / "model.zip")
    few = toy_setting([chain((ONE_SECOND, lose(1, 1.0)))])

    with pytest.raises(CheckpointError, match=r"expected actions Discrete\(2\).* got Discrete\(8"):
        load_sb3_agent(tmp_path / "model.zip", few)


@pytest.mark.parametrize("what", ["workers", "task_types"])
def test_zip_that_names_another_vocabulary_is_refused(
    setting: Setting, stock: BaseAlgorithm, tmp_path: Path, what: str
) -> None:
    known = vocabulary(setting.dataset)
    stock.vocabulary = known | {what: known[what][::-1]}  # type: ignore[attr-defined]  # SB3 saves it
    stock.save(tmp_path / "model.zip")

    with pytest.raises(CheckpointError, match=f"trained for the {what.replace('_', ' ')} "):
        load_sb3_agent(tmp_path / "model.zip", setting)


def test_zip_of_another_number_of_subtasks_is_refused(setting: Setting, tmp_path: Path) -> None:
    trained("PPO", setting).save(tmp_path / "model.zip")
    longer = dataclasses.replace(setting, dataset=builtin_setting(1).dataset)
    table = longer.dataset.workflows
    shape = ((0, 0), (0, 2))
    names = ("task_type", "query", "num_parents", "parents", "num_children", "children")
    arrays = {name: getattr(table, name) for name in names}
    padded: dict[str, Any] = {
        name: np.pad(array, shape + ((0, 0),) * (array.ndim - 2)) for name, array in arrays.items()
    }
    wider = dataclasses.replace(table, **padded)
    longer = dataclasses.replace(longer, dataset=longer.dataset.with_workflows(wider))

    with pytest.raises(CheckpointError, match=r"observation key '\w+': expected Box.*, got Box"):
        load_sb3_agent(tmp_path / "model.zip", longer)


def test_zip_of_an_algorithm_without_choices_is_refused(setting: Setting, tmp_path: Path) -> None:
    model = SAC("MlpPolicy", "Pendulum-v1", policy_kwargs=dict(SMALL), buffer_size=10, device="cpu")
    model.save(tmp_path / "sac.zip")

    with pytest.raises(CheckpointError, match="expected a policy of PPO, A2C, DQN"):
        load_sb3_agent(tmp_path / "sac.zip", setting)


def test_zip_of_flat_observations_is_refused(setting: Setting, tmp_path: Path) -> None:
    env = gym.make("OrchestAI-v0", dataset=setting.dataset, observation=["context"])
    flat = gym.wrappers.FlattenObservation(env)
    A2C("MlpPolicy", flat, policy_kwargs=dict(SMALL), device="cpu").save(tmp_path / "model.zip")

    with pytest.raises(CheckpointError, match="expected observations of the Dict space"):
        load_sb3_agent(tmp_path / "model.zip", setting)


def test_missing_zip_is_named(setting: Setting, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"none\.zip: no such checkpoint"):
        load_sb3_agent(tmp_path / "none.zip", setting)
