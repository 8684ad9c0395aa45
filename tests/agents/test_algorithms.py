"""Every algorithm of phase 2 from its YAML file: it trains, its zip plays, mistakes are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from stable_baselines3 import DQN

from agents import train_phase2
from agents.algorithms import ALGORITHMS, model_arguments, new_model
from agents.anchored_ppo import AnchoredPPO
from agents.checkpoint import vocabulary
from agents.config import Phase2Settings, load_experiment
from agents.evaluate import KEYS, evaluate
from agents.sb3_agent import load_sb3_agent
from agents.vec_env import OrchestAIVecEnv
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.errors import ConfigError
from orchestai_env.vector_env import OrchestAIVectorEnv
from tests.agents.problems import WEIGHTS, builtin_setting
from tests.tiny_config import write_config

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
NAMES = ("ppo", "maskable_ppo", "recurrent_ppo", "trpo", "a2c", "dqn")
FEW_STEPS = {
    "total_timesteps": 320,
    "num_envs": 8,
    "n_steps": 16,
    "batch_size": 32,
    "n_epochs": 2,
    "num_evaluations": 1,
    "evaluation_workflows": 10,
}


def shortened(folder: Path, name: str) -> Path:
    """Writes a file that extends configs/algorithms/<name>.yaml to a few hundred steps."""
    few: dict[str, Any] = dict(FEW_STEPS)
    if name == "dqn":
        few["algorithm_arguments"] = {"learning_starts": 64, "buffer_size": 1000}
    data = {
        "extends": str(CONFIGS / "algorithms" / f"{name}.yaml"),
        "system": {"device": "cpu"},
        "benchmark": {"profiles": {"balanced": str(CONFIGS / "rewards" / "balanced.yaml")}},
        "training": {
            "phase1_supervised": {"train_data_size": 20, "synthetic_augmentations": 0},
            "phase2_rl": few,
        },
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.mark.parametrize("name", NAMES)
def test_algorithm_trains_from_its_yaml_and_its_zip_plays(name: str, tmp_path: Path) -> None:
    config = shortened(tmp_path, name)
    shared = ["--config", str(config), "--profile", "balanced", "--quiet"]

    train_phase2.main([*shared, "--output_dir", str(tmp_path / "run")])

    zip_path = tmp_path / "run" / "phase2_last.zip"
    algorithm = ALGORITHMS[load_experiment(config).training.phase2_rl.algorithm]
    model: Any = algorithm.load(zip_path, device="cpu")
    setting = builtin_setting(20)
    assert model.num_timesteps >= 320 and model._n_updates > 0
    assert model.vocabulary == vocabulary(setting.dataset)
    assert np.isfinite(
        evaluate(load_sb3_agent(zip_path, setting), setting, seed=0).episode_return
    ).all()


@pytest.mark.parametrize("name", NAMES)
def test_every_yaml_is_complete(name: str) -> None:
    path = CONFIGS / "algorithms" / f"{name}.yaml"

    config = load_experiment(path)

    assert config.planner.kind == "annotated" and config.planner.max_subtasks == 6
    assert (path.parent / config.benchmark.profiles["balanced"]).is_file()
    settings = config.training.phase2_rl
    assert settings.algorithm.lower() == name.replace("_", "")
    assert model_arguments(settings, settings.num_envs)


def test_there_is_a_yaml_for_every_algorithm() -> None:
    assert {path.stem for path in (CONFIGS / "algorithms").iterdir()} == set(NAMES)
    assert len(NAMES) == len(ALGORITHMS)


def test_algorithm_gets_the_keys_that_it_knows() -> None:
    arguments = {name: model_arguments(Phase2Settings(algorithm=name), 8) for name in ALGORITHMS}

    assert arguments["PPO"] == arguments["MaskablePPO"]
    assert arguments["PPO"]["clip_range"] == 0.2 and arguments["PPO"]["n_epochs"] == 10
    assert "n_epochs" not in arguments["A2C"] and arguments["A2C"]["n_steps"] == 128
    assert "ent_coef" not in arguments["TRPO"]
    assert set(arguments["DQN"]) == {"learning_rate", "batch_size", "gamma", "max_grad_norm"}


def test_its_own_arguments_go_before_ours() -> None:
    settings = Phase2Settings(gamma=0.9, algorithm_arguments={"gamma": 0.5, "target_kl": 0.1})

    arguments = model_arguments(settings, 8)

    assert (arguments["gamma"], arguments["target_kl"]) == (0.5, 0.1)


@pytest.mark.parametrize(
    ("algorithm", "name"),
    [("PPO", "buffer_size"), ("DQN", "n_epochs"), ("PPO", "policy_kwargs"), ("A2C", "seed")],
)
def test_unknown_argument_is_refused(algorithm: Any, name: str) -> None:
    settings = Phase2Settings(algorithm=algorithm, algorithm_arguments={name: 1})

    with pytest.raises(
        ConfigError,
        match=rf"algorithm_arguments: unknown argument of {algorithm} '{name}'\..* Known: .*gamma",
    ):
        model_arguments(settings, 8)


@pytest.mark.parametrize(
    ("algorithm", "arguments"),
    [
        ("RecurrentPPO", {"policy_kwargs": {"net_arch": "x"}}),
        ("PPO", {"batch_size": 1}),
        ("DQN", {"train_freq": [4, "steps"], "buffer_size": 100}),
    ],
)
def test_wrong_argument_is_refused(algorithm: Any, arguments: dict[str, Any]) -> None:
    settings = Phase2Settings(algorithm=algorithm, algorithm_arguments=arguments)

    with pytest.raises(ConfigError, match=rf"{algorithm} refuses its arguments \(.+algorithm_arg"):
        build(settings)


def build(settings: Phase2Settings) -> Any:
    dataset = builtin_dataset(num_workflows=20, max_subtasks=6)
    venv = OrchestAIVectorEnv(4, dataset, reward_weights=WEIGHTS, observation=KEYS)
    env = OrchestAIVecEnv(venv, seed=0)
    return new_model(
        settings, env, policy_kwargs={"hidden": 8}, seed=0, device="cpu", tensorboard_log=""
    )


def test_network_of_a_stock_policy_can_be_chosen() -> None:
    arguments = {"policy_kwargs": {"net_arch": [7]}, "buffer_size": 100}

    model = build(Phase2Settings(algorithm="DQN", algorithm_arguments=arguments))

    assert isinstance(model, DQN) and model.policy_kwargs["net_arch"] == [7]


def test_ppo_is_the_one_that_anchors() -> None:
    assert type(build(Phase2Settings())) is AnchoredPPO


@pytest.mark.parametrize("algorithm", ["RecurrentPPO", "DQN"])
def test_algorithm_with_its_own_network_refuses_a_checkpoint(
    algorithm: str, tmp_path: Path, refused: Any
) -> None:
    arguments = {"buffer_size": 100} if algorithm == "DQN" else {}
    changes = {"algorithm": algorithm, "algorithm_arguments": arguments}
    config = write_config(tmp_path, training={"phase2_rl": changes})

    line = refused(
        train_phase2.main, "--config", config, "--output_dir", tmp_path / "run", "--checkpoint", "a"
    )

    assert f"--checkpoint a: {algorithm} has a network of its own" in line
    assert "PPO, MaskablePPO, TRPO or A2C" in line


def test_resume_with_another_algorithm_is_refused(tmp_path: Path, refused: Any) -> None:
    shared = ["--quiet", "--output_dir", tmp_path / "run", "--config"]
    train_phase2.main([str(word) for word in (*shared, write_config(tmp_path / "ppo"))])
    changes = {"algorithm": "DQN", "algorithm_arguments": {"buffer_size": 100}}
    config = write_config(tmp_path / "dqn", training={"phase2_rl": changes})

    line = refused(train_phase2.main, *shared, config, "--resume")

    assert "phase2_last.zip: cannot be read as a model of DQN" in line
