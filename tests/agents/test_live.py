"""Trained policies that choose among real workers."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO, RecurrentPPO
from stable_baselines3 import DQN

from agents.agent import Setting
from agents.checkpoint import PHASE1_KEYS, TRAINED_FOR, trained_for, vocabulary
from agents.evaluate import KEYS
from agents.live import read_chooser
from agents.sb3_agent import load_sb3_agent
from orchestai_env.errors import CheckpointError, ConfigError, MissingFileError
from tests.agents.policies import make_policy
from tests.agents.problems import builtin_setting, random_observations
from tests.agents.saved_models import model_of, ours, save
from tests.agents.test_sb3_agent import ALGORITHMS

RULES: dict[str, Any] = {"max_attempts": 2, "max_parallel_tasks": 4, "deadline_ms": 60_000.0}


@pytest.fixture(scope="module")
def setting() -> Setting:
    return builtin_setting(12, **RULES)


def one_by_one(setting: Setting, count: int) -> list[dict[str, Any]]:
    """Returns observations of single episodes, as an orchestrator shows them."""
    batch = random_observations(setting, count, seed=0)
    return [{key: values[r] for key, values in batch.items()} for r in range(count)]


def test_policy_calls_the_likeliest_worker(setting: Setting, tmp_path: Path) -> None:
    path = ours(setting, tmp_path)
    chooser = read_chooser(path).build(setting.dataset, False)
    agent = load_sb3_agent(path, setting)

    for obs in one_by_one(setting, 10):
        batch = {key: obs[key][None] for key in KEYS}
        (action,), _ = agent.predict(batch, deterministic=True)
        assert np.flatnonzero(chooser.probabilities(obs)).tolist() == [action]


def test_sampling_policy_tells_the_probabilities_that_predict_draws_by(
    setting: Setting, tmp_path: Path
) -> None:
    path = ours(setting, tmp_path)
    chooser = read_chooser(path).build(setting.dataset, True)
    agent, (obs,) = load_sb3_agent(path, setting), one_by_one(setting, 1)
    chances = chooser.probabilities(obs)
    many = {key: np.repeat(obs[key][None], 20_000, axis=0) for key in KEYS}
    torch.manual_seed(0)
    drawn, _ = agent.predict(many, deterministic=False)

    shares = np.bincount(drawn, minlength=len(chances)) / len(drawn)
    assert chances.sum() == pytest.approx(1.0, abs=1e-5)
    assert np.all(chances[obs["action_mask"] == 0] < 1e-6)
    assert chances.max() < 0.99
    np.testing.assert_allclose(shares, chances, atol=0.02)


@pytest.mark.parametrize("name", ["MaskablePPO", "RecurrentPPO"])
def test_sampling_stock_policy_tells_its_probabilities(
    name: str, setting: Setting, tmp_path: Path
) -> None:
    assert {MaskablePPO, RecurrentPPO} <= {found[0] for found in ALGORITHMS.values()}
    path = save(model_of(name, setting), setting, tmp_path)
    chooser = read_chooser(path).build(setting.dataset, True)

    for obs in one_by_one(setting, 5):
        chances = chooser.probabilities(obs)
        assert chances.sum() == pytest.approx(1.0)
        assert (chances[obs["action_mask"] == 0] == 0).all()
        assert 0 < chances.max() < 1 or obs["action_mask"].sum() == 1


def test_memory_lasts_for_one_execution(setting: Setting, tmp_path: Path) -> None:
    path = save(model_of("RecurrentPPO", setting), setting, tmp_path)
    chooser = read_chooser(path).build(setting.dataset, True)
    agent: Any = load_sb3_agent(path, setting)
    observations = one_by_one(setting, 4)
    expected, state = [], None
    for k, obs in enumerate(observations):
        batch = {key: values[None] for key, values in obs.items()}
        chances, state = agent.probabilities(batch, state, np.array([k == 0]))
        expected.append(chances[0])

    for execution in (copy.copy(chooser), copy.copy(chooser)):
        found = [execution.probabilities(obs) for obs in observations]
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    forgetful = copy.copy(chooser).probabilities(observations[-1])
    assert np.abs(forgetful - expected[-1]).max() > 1e-7


def test_zip_brings_rules_and_weights_of_its_training(setting: Setting, tmp_path: Path) -> None:
    found = read_chooser(ours(setting, tmp_path))

    assert found.rules == RULES | {"on_failure": "abort"}
    assert found.weights == setting.weights
    assert found.max_subtasks is None


def test_zip_of_somebody_else_brings_its_size_alone(setting: Setting, tmp_path: Path) -> None:
    model_of("DQN", setting).save(tmp_path / "model.zip")
    found = read_chooser(tmp_path / "model.zip")

    assert (dict(found.rules), found.weights, found.max_subtasks) == ({}, None, 6)


def test_cloned_policy_of_phase_1_is_read(setting: Setting, tmp_path: Path) -> None:
    policy = make_policy(setting)
    config = {"vocabulary": vocabulary(setting.dataset), TRAINED_FOR: trained_for(setting)}
    data: dict[str, Any] = dict.fromkeys(PHASE1_KEYS) | {
        "config": config,
        "policy_state_dict": policy.state_dict(),
        "policy_kwargs": {"hidden": 16},
    }
    torch.save(data, tmp_path / "phase1_best.pth")
    found = read_chooser(tmp_path / "phase1_best.pth")
    (obs,) = one_by_one(setting, 1)

    assert found.weights == setting.weights
    chances = found.build(setting.dataset, True).probabilities(obs)
    np.testing.assert_allclose(
        chances, np.exp(policy.scores({k: v[None] for k, v in obs.items()})[0])
    )


def test_name_tells_trainings_apart(setting: Setting, tmp_path: Path) -> None:
    path = ours(setting, tmp_path)
    first = read_chooser(path).build(setting.dataset, False).name
    with path.open("ab") as file:
        file.write(b" ")
    second = read_chooser(path).build(setting.dataset, False).name

    assert first != second
    assert first.startswith("model.zip ") and second.startswith("model.zip ")


def test_values_are_no_probabilities(setting: Setting, tmp_path: Path) -> None:
    assert ALGORITHMS["DQN"][0] is DQN
    trained = read_chooser(save(model_of("DQN", setting), setting, tmp_path))
    (obs,) = one_by_one(setting, 1)

    assert trained.build(setting.dataset, False).probabilities(obs).max() == 1.0
    with pytest.raises(ConfigError, match=r"--sample: .*holds values of actions"):
        trained.build(setting.dataset, True)


def test_policy_that_reads_texts_is_refused(setting: Setting, tmp_path: Path) -> None:
    trained = read_chooser(ours(setting, tmp_path, embeddings=True))
    without = dataclasses.replace(
        setting.dataset, query_embeddings=None, instruction_embeddings=None
    )

    with pytest.raises(ConfigError, match=r"train it without training\.policy\.embeddings"):
        trained.build(without, False)


def test_other_task_types_and_other_workers_are_refused(setting: Setting, tmp_path: Path) -> None:
    dataset = setting.dataset
    turned = dataset.with_workers(dataset.pool.names[::-1])
    table = dataclasses.replace(dataset.workflows, task_types=dataset.task_types[::-1])
    (tmp_path / "stock").mkdir()
    stock = read_chooser(save(model_of("PPO", setting), setting, tmp_path / "stock"))

    with pytest.raises(CheckpointError, match="trained for task_types"):
        read_chooser(_phase1(setting, tmp_path)).build(dataset.with_workflows(table), False)
    with pytest.raises(CheckpointError, match="trained for the task types"):
        read_chooser(ours(setting, tmp_path)).build(dataset.with_workflows(table), False)
    with pytest.raises(CheckpointError, match="trained for the workers"):
        stock.build(turned, False)
    assert read_chooser(ours(setting, tmp_path)).build(turned, False).name.startswith("model.zip")


def _phase1(setting: Setting, folder: Path) -> Path:
    data: dict[str, Any] = dict.fromkeys(PHASE1_KEYS)
    torch.save(data | {"config": {"vocabulary": vocabulary(setting.dataset)}}, folder / "p.pth")
    return folder / "p.pth"


def test_broken_files_are_refused(setting: Setting, tmp_path: Path) -> None:
    for name in ("broken.zip", "broken.pth"):
        (tmp_path / name).write_bytes(b"no model")
        with pytest.raises(CheckpointError, match=name):
            read_chooser(tmp_path / name)
    model: Any = model_of("A2C", setting)
    model.trained_for = {"rules": {"max_attempts": "many"}}
    model.save(tmp_path / "odd.zip")
    with pytest.raises(CheckpointError, match="what it says of its training cannot be read"):
        read_chooser(tmp_path / "odd.zip")
    with pytest.raises(MissingFileError, match=r"none\.zip: no such checkpoint"):
        read_chooser(tmp_path / "none.zip")
