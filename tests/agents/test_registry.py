"""The agents of a benchmark by name, and foreign ones that join it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from agents.agent import Setting
from agents.baselines.controls import ShuffledAgent
from agents.baselines.simple import LowestFeatureAgent, RandomAgent
from agents.checkpoint import PHASE1_KEYS, vocabulary
from agents.config import BenchmarkSettings, TrainedAgentSettings
from agents.evaluate import KEYS, evaluate
from agents.phase2_callbacks import BEST
from agents.policy import WorkerScoringPolicy
from agents.registry import (
    BOUNDS,
    BUILDERS,
    SLOW,
    AgentContext,
    agent_builders,
    foreign_builder,
    load_cloned_policy,
)
from agents.sb3_agent import load_sb3_agent
from agents.tune_tables import TABLES
from agents.vec_env import OrchestAIVecEnv
from orchestai_env.errors import CheckpointError, ConfigError, MissingFileError
from orchestai_env.vector_env import OrchestAIVectorEnv
from tests.agents.problems import Recorder, builtin_setting, random_observations, toy_setting
from tests.orchestai_env.toy import Instance, lose, win

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
    return AgentContext(setting=setting, train=lambda: setting, run_dir=folder, seed=seed)


def write_tables(setting: Setting, folder: Path) -> None:
    """Writes tables in which every subtask goes to the third worker."""
    types, name = setting.dataset.task_types, setting.dataset.pool.names[2]
    tables = {
        "task_types": list(types),
        "best_single": name,
        "lookup": [name] * len(types),
        "escalation": [[name] * setting.rules.max_attempts] * len(types),
    }
    (folder / TABLES).write_text(json.dumps(tables))


NEED_NO_RUN = [
    "random",
    "cheapest",
    "fastest",
    "round-robin",
    "critical-path",
    "predict-then-optimise",
    "predict-knn",
    "predict-logistic",
    "predict-gbm",
    "linucb",
    "thompson",
    "hindsight",
    "lookahead",
    "oracle",
]


def test_registry_names_every_baseline_and_bound_and_the_agents_that_are_trained() -> None:
    names = list(agent_builders(BenchmarkSettings(), ["mine=tests.agents.foreign:dearest_of_seed"]))

    assert names[-7:] == ["bc", "bc-ppo", "ppo", "mine", "hindsight", "lookahead", "oracle"]
    assert set(BUILDERS) == {*NEED_NO_RUN, "best-single", "lookup", "escalation", "shuffled"}
    assert set(names) == {*BUILDERS, "bc", "bc-ppo", "ppo", "mine"}
    assert SLOW < BOUNDS == set(names[-3:])


def test_settings_choose_who_takes_part() -> None:
    settings = BenchmarkSettings(
        agents=("oracle", "lookup", "random"), trained={"wide": TrainedAgentSettings()}
    )

    assert list(agent_builders(settings, [])) == ["random", "lookup", "wide", "oracle"]


@pytest.mark.parametrize(
    ("settings", "foreign", "message"),
    [
        (
            {"agents": ("randum",)},
            [],
            "benchmark.agents: unknown agent 'randum'. Did you mean 'ran",
        ),
        ({"agents": ("bc",)}, [], "benchmark.agents: unknown agent 'bc'"),
        ({"trained": {"oracle": {}}}, [], "benchmark.trained: the name 'oracle' is taken"),
        ({"trained": {"paired": {}}}, [], "benchmark.trained: the name 'paired' is taken"),
        ({}, ["ppo=tests.agents.foreign:dearest_of_seed"], "--agent: the name 'ppo' is taken"),
        ({}, ["a=tests.agents.foreign:dearest_of_seed"] * 2, "--agent: the name 'a' is taken"),
    ],
)
def test_wrong_names_are_refused(
    settings: dict[str, Any], foreign: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        agent_builders(BenchmarkSettings.model_validate(settings), foreign)


@pytest.mark.parametrize("name", NEED_NO_RUN)
def test_rules_need_no_run(setting: Setting, tmp_path: Path, name: str) -> None:
    agent = BUILDERS[name](context(setting, tmp_path))

    assert evaluate(agent, setting, seed=0).valid.all()


@pytest.mark.parametrize("name", ["best-single", "lookup", "escalation", "shuffled"])
def test_tables_are_read_from_the_run_folder(setting: Setting, tmp_path: Path, name: str) -> None:
    write_tables(setting, tmp_path)

    picks = evaluate(BUILDERS[name](context(setting, tmp_path)), setting, seed=0).picks

    shares = picks[:, 0].sum(axis=0) / picks[:, 0].sum()
    assert shares.argmax() == 2


@pytest.mark.parametrize(
    "name", ["best-single", "lookup", "escalation", "shuffled", "bc", "bc-ppo", "ppo"]
)
def test_missing_run_is_named(setting: Setting, tmp_path: Path, name: str) -> None:
    with pytest.raises(MissingFileError, match=str(tmp_path)):
        agent_builders(BenchmarkSettings(), [])[name](context(setting, tmp_path))


def test_shuffled_takes_the_shares_of_the_trained_policy(
    setting: Setting, zip_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "bc-ppo").mkdir()
    shutil.copy(zip_path, tmp_path / "bc-ppo" / BEST)
    builders = agent_builders(BenchmarkSettings(), [])
    policy = builders["bc-ppo"](context(setting, tmp_path))

    agent = builders["shuffled"](context(setting, tmp_path))

    assert isinstance(agent, ShuffledAgent)
    assert agent.picks.tolist() == evaluate(policy, setting, seed=0).picks.tolist()


def with_other_outcomes(setting: Setting, seed: int) -> Setting:
    """Returns recorded data whose calls end at random; what is known of them is as before."""
    rng = np.random.default_rng(seed)
    outcomes = setting.dataset.outcomes
    changed = outcomes._replace(
        success=rng.integers(0, 2, outcomes.success.shape).astype(np.uint8),
        cost_usd=rng.random(outcomes.cost_usd.shape),
        latency_us=rng.integers(1, 10**7, outcomes.latency_us.shape),
    )
    return dataclasses.replace(
        setting, dataset=dataclasses.replace(setting.dataset, outcomes=changed)
    )


@pytest.mark.parametrize(
    "name", [name for name in NEED_NO_RUN if name not in ("hindsight", "oracle")]
)
def test_no_agent_knows_how_a_call_will_end(tmp_path: Path, name: str) -> None:
    """First picks on evaluation data are the same, however its calls end; bounds' are not."""
    rng = np.random.default_rng(0)
    instances = [
        Instance(
            calls=tuple(
                tuple((win if rng.random() < 0.5 else lose)(*rng.random(2)) for _ in range(3))
                for _ in range(2)
            ),
            types=(k % 3, 0),
        )
        for k in range(40)
    ]
    train = toy_setting(instances)
    embeddings = rng.normal(size=(80, 4)).astype(np.float32)
    train = dataclasses.replace(
        train, dataset=dataclasses.replace(train.dataset, query_embeddings=embeddings)
    )

    def first_picks(name: str, setting: Setting) -> list[int]:
        given = AgentContext(setting=setting, train=lambda: train, run_dir=tmp_path, seed=0)
        recorder = Recorder(BUILDERS[name](given))
        evaluate(recorder, setting, seed=0)
        return [calls[0] for calls in recorder.calls]

    one, other = with_other_outcomes(train, 1), with_other_outcomes(train, 2)
    assert first_picks(name, one) == first_picks(name, other)
    assert first_picks("hindsight", one) != first_picks("hindsight", other)


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
        ("oracle=model.zip", "the name 'oracle' is taken"),
        ("paired=model.zip", "the name 'paired' is taken"),
        ("a/b=model.zip", "expected a name of letters, digits, _ and -, got 'a/b'"),
        ("a|b=model.zip", "expected a name of letters, digits, _ and -"),
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
        with pytest.raises(CheckpointError, match="cannot be read as a model of SB3") as caught:
            load_sb3_agent(path, setting)
        assert "\n" not in str(caught.value)


def test_zip_of_other_spaces_is_refused(setting: Setting, tmp_path: Path) -> None:
    model = PPO("MlpPolicy", "CartPole-v1", device="cpu")
    model.save(tmp_path / "model.zip")

    with pytest.raises(CheckpointError, match=r"made for other spaces .* 8 workers"):
        load_sb3_agent(tmp_path / "model.zip", setting)


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
