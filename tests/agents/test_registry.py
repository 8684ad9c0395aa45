"""The agents of a benchmark by name, and foreign ones that join it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from agents.agent import Setting
from agents.baselines.simple import LowestFeatureAgent, RandomAgent
from agents.checkpoint import PHASE1_KEYS, vocabulary
from agents.evaluate import KEYS, evaluate
from agents.policy import WorkerScoringPolicy
from agents.registry import (
    BUILDERS,
    AgentContext,
    foreign_builder,
    load_cloned_policy,
    load_ppo_policy,
)
from agents.vec_env import OrchestAIVecEnv
from orchestai_env.errors import CheckpointError, ConfigError, MissingFileError
from orchestai_env.vector_env import OrchestAIVectorEnv
from tests.agents.problems import builtin_setting, random_observations

POLICY: Any = WorkerScoringPolicy


def make_model(setting: Setting) -> PPO:
    venv = OrchestAIVectorEnv(2, setting.dataset, observation=KEYS)
    return PPO(POLICY, OrchestAIVecEnv(venv), policy_kwargs={"hidden": 8}, seed=0, device="cpu")


@pytest.fixture(scope="module")
def setting() -> Setting:
    return builtin_setting(6)


@pytest.fixture(scope="module")
def zip_path(setting: Setting, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.zip"
    make_model(setting).save(path)
    return path


def context(setting: Setting, folder: Path, seed: int = 0) -> AgentContext:
    return AgentContext(setting=setting, run_dir=folder, seed=seed)


def test_registry_names_the_agents_of_the_report() -> None:
    assert list(BUILDERS) == [
        "random",
        "cheapest",
        "fastest",
        "best-single",
        "lookup",
        "escalation",
        "bc",
        "bc-ppo",
        "ppo",
        "hindsight",
    ]


@pytest.mark.parametrize("name", ["random", "cheapest", "fastest", "hindsight"])
def test_rules_need_no_run(setting: Setting, tmp_path: Path, name: str) -> None:
    agent = BUILDERS[name](context(setting, tmp_path))

    assert evaluate(agent, setting, seed=0).valid.all()


@pytest.mark.parametrize("name", ["best-single", "lookup", "escalation", "bc", "bc-ppo", "ppo"])
def test_missing_run_is_named(setting: Setting, tmp_path: Path, name: str) -> None:
    with pytest.raises(MissingFileError, match=str(tmp_path)):
        BUILDERS[name](context(setting, tmp_path))


def test_foreign_zip_plays(setting: Setting, zip_path: Path, tmp_path: Path) -> None:
    name, build = foreign_builder(f"mine={zip_path}")
    agent = build(context(setting, tmp_path))
    observation = random_observations(setting, 20, seed=0)

    assert name == "mine"
    actions, _ = agent.predict(observation, deterministic=True)
    expected, _ = make_model(setting).predict(observation, deterministic=True)
    assert actions.tolist() == expected.tolist()


def test_foreign_factory_gets_setting_and_seed(setting: Setting, tmp_path: Path) -> None:
    name, build = foreign_builder("mine=tests.agents.foreign:dearest_of_seed")

    assert name == "mine"
    assert isinstance(build(context(setting, tmp_path, seed=0)), LowestFeatureAgent)
    assert isinstance(build(context(setting, tmp_path, seed=1)), RandomAgent)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mine", r"expected name=path\.zip or name=package\.module:factory, got 'mine'"),
        ("=model.zip", "expected name=path"),
        ("mine=", "expected name=path"),
        ("ppo=model.zip", "the name 'ppo' is taken"),
        ("paired=model.zip", "the name 'paired' is taken"),
        ("mine=no_such_module:make", "--agent mine: cannot import 'no_such_module'"),
        ("mine=:make", "--agent mine: cannot import ''"),
        ("mine=.foreign:make", "--agent mine: cannot import '.foreign'"),
        ("mine=tests.agents.foreign", "unknown factory ''"),
        (
            "mine=tests.agents.foreign:dearest",
            "unknown factory 'dearest'. Did you mean 'dearest_of",
        ),
        ("mine=tests.agents.foreign:NUMBER", "unknown factory 'NUMBER'"),
    ],
)
def test_wrong_foreign_agent_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        foreign_builder(text)


def test_missing_foreign_zip_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"--agent mine: .*none\.zip: no such checkpoint"):
        foreign_builder(f"mine={tmp_path / 'none.zip'}")


def test_broken_zip_is_refused(setting: Setting, zip_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    for content in (zip_path.read_bytes()[:900], b"text", b""):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="cannot be read as a PPO model") as caught:
            load_ppo_policy(path, setting)
        assert "\n" not in str(caught.value)


def test_zip_of_other_spaces_is_refused(setting: Setting, tmp_path: Path) -> None:
    model = PPO("MlpPolicy", "CartPole-v1", device="cpu")
    model.save(tmp_path / "model.zip")

    with pytest.raises(CheckpointError, match=r"made for other spaces .* 8 workers"):
        load_ppo_policy(tmp_path / "model.zip", setting)


def test_cloned_policy_is_loaded_with_its_weights(setting: Setting, tmp_path: Path) -> None:
    policy = make_model(setting).policy
    data = dict.fromkeys(PHASE1_KEYS, 0) | {
        "config": {"vocabulary": vocabulary(setting.dataset)},
        "policy_state_dict": policy.state_dict(),
        "policy_kwargs": {"hidden": 8},
    }
    torch.save(data, tmp_path / "best.pth")
    observation = random_observations(setting, 20, seed=0)

    loaded = load_cloned_policy(tmp_path / "best.pth", setting)

    found, _ = loaded.predict(observation, deterministic=True)
    np.testing.assert_array_equal(found, policy.predict(observation, deterministic=True)[0])
