"""The settings of experiments: specified names and values, defaults, and clear refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from agents.config import ExperimentSettings, load_experiment, profile_weights, save_resolved
from orchestai_env.errors import ConfigError, MissingFileError
from orchestai_env.reward import RewardWeights
from orchestai_env.settings import load_yaml
from tests.tiny_config import write_config

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
PHASE1 = {
    "batch_size": 32,
    "learning_rate": 1e-4,
    "num_epochs": 50,
    "lambda_dag": 0.3,
    "train_data_size": 300,
    "synthetic_augmentations": 1000,
}
PHASE2 = {
    "algorithm": "PPO",
    "learning_rate": 3e-5,
    "num_episodes": 1000,
    "max_steps_per_episode": 50,
    "gamma": 0.99,
    "epsilon": 0.2,
    "alpha": 10.0,
    "beta": 0.1,
    "gamma_latency": 0.01,
    "shaped_reward": 0.1,
}


def default_file() -> dict[str, Any]:
    data = yaml.safe_load((CONFIGS / "default.yaml").read_text(encoding="utf-8"))
    assert isinstance(data, dict)
    return data


@pytest.mark.parametrize(
    ("section", "values"), [("phase1_supervised", PHASE1), ("phase2_rl", PHASE2)]
)
def test_default_file_has_the_specified_names_and_values(
    section: str, values: dict[str, Any]
) -> None:
    found = default_file()["training"][section]

    assert {name: found[name] for name in values} == values


def test_default_file_has_the_specified_sections() -> None:
    assert {"training", "worker_models", "planner", "system"} <= set(default_file())


def test_default_file_states_every_default() -> None:
    """The file and the records agree, key by key; only the profiles need a file to be named in."""
    stated, defaults = default_file(), ExperimentSettings().model_dump(mode="json")
    assert stated["benchmark"].pop("profiles") == {"balanced": "rewards/balanced.yaml"}
    assert defaults["benchmark"].pop("profiles") == {}

    assert stated == defaults


def test_default_file_keeps_the_literal_reward() -> None:
    path = CONFIGS / "default.yaml"

    assert profile_weights(load_experiment(path), path, None) == RewardWeights()


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in sorted(CONFIGS.rglob("*.yaml"))
        if path.parent.name not in ("rewards", "training")
    ],
    ids=lambda path: path.relative_to(CONFIGS).as_posix(),
)
def test_every_experiment_and_its_profiles_load(path: Path) -> None:
    config = load_experiment(path)

    assert config.benchmark.profiles or config.planner.network.learning_rate  # for planners alone
    for profile in config.benchmark.profiles:
        assert profile_weights(config, path, profile).success_weight > 0


@pytest.mark.parametrize("path", sorted((CONFIGS / "rewards").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_reward_profile_loads(path: Path) -> None:
    weights = load_yaml(path, RewardWeights)

    assert weights.success_weight == 10.0
    assert (weights.as_array() > 0).all() or path.stem == "success"


def test_balanced_profile_is_the_stated_formula() -> None:
    weights = load_yaml(CONFIGS / "rewards" / "balanced.yaml", RewardWeights)

    assert weights.as_array() == pytest.approx([10.0, 200.0, 0.1 / 1000, 0.1])


def test_unknown_profile_is_named(tmp_path: Path) -> None:
    path = write_config(tmp_path)

    with pytest.raises(ConfigError, match=r"config\.yaml: unknown profile 'balance'. Did you mean"):
        profile_weights(load_experiment(path), path, "balance")


def test_missing_profile_file_is_named(tmp_path: Path) -> None:
    path = write_config(tmp_path, benchmark={"profiles": {"other": "other.yaml"}})

    with pytest.raises(MissingFileError, match=r"other\.yaml: no such settings file"):
        profile_weights(load_experiment(path), path, "other")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"training": {"phase2_rl": {"learning_rat": 1.0}}},
            "training.phase2_rl.learning_rat: unknown key 'learning_rat'. "
            "Did you mean 'learning_rate'",
        ),
        ({"trainings": {}}, "trainings: unknown key 'trainings'. Did you mean 'training'"),
        ({"system": {"max_attempts": 0}}, "system.max_attempts: .*greater than or equal to 1"),
        ({"system": {"max_attempts": "x"}}, "system.max_attempts: .*valid integer.*got 'x'"),
        ({"training": {"phase2_rl": {"algorithm": "SAC"}}}, "algorithm: .*'PPO'.*got 'SAC'"),
        ({"training": {"phase2_rl": {"gamma": float("nan")}}}, "gamma: "),
        ({"training": {"phase2_rl": {"learning_rate": 1.0e38}}}, "learning_rate: .*less than or"),
        ({"worker_models": [{"nam": "x"}]}, r"worker_models.0"),
        ({"worker_models": [{"name": "x"}] * 2}, "unique, got twice: x"),
        (
            {"source": {"source": "x", "task_types": ["a"]}},
            "worker_models: a list of workers is required beside `source`",
        ),
    ],
)
def test_wrong_setting_is_named_by_its_path(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=rf"config\.yaml: .*{message}"):
        load_experiment(write_config(tmp_path, **changes))


def test_numbers_in_scientific_notation_are_numbers(tmp_path: Path) -> None:
    """YAML reads 1e-4 as text."""
    path = tmp_path / "config.yaml"
    path.write_text("training: {phase1_supervised: {learning_rate: 1e-4}}")

    assert load_experiment(path).training.phase1_supervised.learning_rate == 1e-4


def test_rules_come_from_the_settings(tmp_path: Path) -> None:
    path = write_config(tmp_path, system={"max_attempts": 2, "deadline_ms": 900.0})

    rules = load_experiment(path).rules()

    assert (rules.max_attempts, rules.deadline_ms, rules.max_steps) == (2, 900.0, 50)


def test_resolved_settings_are_read_back(tmp_path: Path) -> None:
    config = load_experiment(CONFIGS / "suites" / "zeroeval.yaml")

    save_resolved(config, tmp_path / "config.yaml")

    assert load_experiment(tmp_path / "config.yaml") == config


def write(path: Path, data: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(data))
    return path


def test_file_extends_another_key_by_key(tmp_path: Path) -> None:
    """Of the files, the one that is loaded goes first, the one at the far end last."""
    write(tmp_path / "far.yaml", {"seed": 3, "training": {"phase2_rl": {"n_steps": 5}}})
    near = {"gamma": 0.5, "ent_coef": 0.5}
    write(tmp_path / "near.yaml", {"extends": "far.yaml", "training": {"phase2_rl": near}})
    own = {"extends": "../near.yaml", "training": {"phase2_rl": {"gamma": 0.25}}}

    config = load_experiment(write(tmp_path / "folder" / "own.yaml", own))

    rl = config.training.phase2_rl
    assert (config.seed, rl.n_steps, rl.ent_coef, rl.gamma) == (3, 5, 0.5, 0.25)


def test_extended_profiles_stand_relative_to_the_loaded_file(tmp_path: Path) -> None:
    write(tmp_path / "base.yaml", {"benchmark": {"profiles": {"mine": "mine.yaml"}}})
    path = write(tmp_path / "folder" / "own.yaml", {"extends": "../base.yaml"})
    write(tmp_path / "folder" / "mine.yaml", {"success_weight": 7.0})

    assert profile_weights(load_experiment(path), path, "mine").success_weight == 7.0


@pytest.mark.parametrize("base", ["none.yaml", "", 3, ["a.yaml"]])
def test_missing_base_is_named(tmp_path: Path, base: object) -> None:
    path = write(tmp_path / "own.yaml", {"extends": base})

    with pytest.raises(
        MissingFileError, match=r"own\.yaml: extends: expected a settings file, got .+"
    ):
        load_experiment(path)


def test_files_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", {"extends": "b.yaml"})
    write(tmp_path / "b.yaml", {"extends": "./a.yaml"})

    with pytest.raises(ConfigError, match=r"b\.yaml: extends: leads back to .*a\.yaml"):
        load_experiment(tmp_path / "a.yaml")


def test_wrong_key_of_a_base_is_named(tmp_path: Path) -> None:
    write(tmp_path / "base.yaml", {"training": {"phase2_rl": {"gama": 1.0}}})
    path = write(tmp_path / "own.yaml", {"extends": "base.yaml"})

    with pytest.raises(
        ConfigError, match=r"own\.yaml \(extends .*base\.yaml\): training.*gama: unknown key"
    ):
        load_experiment(path)
