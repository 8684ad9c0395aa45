"""The command of phase 2: PPO from scratch, from checkpoints, resumed, and its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from stable_baselines3 import PPO
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents.agent import Agent
from agents.algorithms import LinearRate
from agents.baselines.simple import LowestFeatureAgent, RandomAgent
from agents.checkpoint import vocabulary
from agents.evaluate import evaluate
from agents.sb3_agent import load_sb3_agent
from supervised import train_phase1
from tests.agents.phase2_runs import Weights, curve_of, equal, result_of, run, weights_of
from tests.agents.problems import builtin_setting
from tests.tiny_config import write_config


def close(first: Weights, second: Weights) -> bool:
    """Tells whether weights are equal but for steps of a learning rate of 1e-30."""
    return set(first) == set(second) and all(
        torch.allclose(first[k], second[k], rtol=0.0, atol=1e-20) for k in first
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("phase2"))


@pytest.fixture(scope="module")
def phase1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phase1")
    config = write_config(folder)
    train_phase1.main(["--config", str(config), "--output_dir", str(folder / "run"), "--quiet"])
    return folder / "run" / "phase1_best.pth"


def test_run_folder_has_every_file(finished: Path) -> None:
    assert {path.name for path in finished.iterdir()} >= {
        "config.yaml",
        "run.json",
        "curve.csv",
        "phase2_best.zip",
        "phase2_last.zip",
        "result.json",
        "tensorboard",
    }
    result = result_of(finished)
    assert result["timesteps"] == 64 and result["checkpoint"] == ""
    about = json.loads((finished / "run.json").read_text())
    assert about["profile"] == "balanced" and about["device"] == "cpu"


def test_curve_has_validation_and_training_returns(finished: Path) -> None:
    rows = curve_of(finished)

    assert [int(row["step"]) for row in rows] == [0, 32, 64]
    best = max(rows, key=lambda row: float(row["validation_return"]))
    assert result_of(finished)["validation_return"] == float(best["validation_return"])
    assert all(row["train_return"] != row["validation_return"] for row in rows)


def test_same_seed_gives_the_same_weights(finished: Path, tmp_path: Path) -> None:
    again = weights_of(run(tmp_path) / "phase2_last.zip")
    other = weights_of(run(tmp_path, "--seed", "1", name="other") / "phase2_last.zip")

    assert equal(again, weights_of(finished / "phase2_last.zip"))
    assert not equal(again, other)


def test_training_starts_from_a_phase1_checkpoint(phase1: Path, tmp_path: Path) -> None:
    folder = run(tmp_path, "--checkpoint", str(phase1), **no_learning())

    found = weights_of(folder / "phase2_last.zip")
    assert close(found, torch.load(phase1, weights_only=True)["policy_state_dict"])
    assert result_of(folder)["checkpoint"] == str(phase1)


def test_training_starts_from_a_zip(finished: Path, tmp_path: Path) -> None:
    path = finished / "phase2_last.zip"

    folder = run(tmp_path, "--checkpoint", str(path), **no_learning())

    assert close(weights_of(folder / "phase2_last.zip"), weights_of(path))


def no_learning() -> dict[str, Any]:
    """Returns changes under which a step moves no weight."""
    return {"training": {"phase2_rl": {"learning_rate": 1e-30, "total_timesteps": 32}}}


def test_checkpoint_of_another_width_is_used_as_it_is(phase1: Path, tmp_path: Path) -> None:
    """The checkpoint says how wide its network is, not the settings."""
    changes = no_learning()
    changes["training"]["policy"] = {"hidden": 4}

    folder = run(tmp_path, "--checkpoint", str(phase1), **changes)

    model = PPO.load(folder / "phase2_last.zip", device="cpu")
    assert model.policy_kwargs["hidden"] == 8


@pytest.mark.parametrize("episodes", [5, 60])
def test_episodes_are_counted_over_all_environments(tmp_path: Path, episodes: int) -> None:
    folder = run(tmp_path, "--episodes", str(episodes))

    model = PPO.load(folder / "phase2_last.zip", device="cpu")
    steps = model.n_steps * model.n_envs
    assert model.num_timesteps % steps == 0  # whole roll-outs, all of them learned from
    assert model._n_updates == model.n_epochs * model.num_timesteps // steps
    # No roll-out began after the number was reached; one has at most as many as it has steps.
    assert episodes <= model._episode_num < episodes + steps
    assert result_of(folder)["timesteps"] == model.num_timesteps


def test_resume_continues_the_run(tmp_path: Path) -> None:
    folder = run(tmp_path)
    updates = PPO.load(folder / "phase2_last.zip", device="cpu")._n_updates

    run(tmp_path, "--resume", training={"phase2_rl": {"total_timesteps": 128}})

    model = PPO.load(folder / "phase2_last.zip", device="cpu")
    assert model.num_timesteps == 128 == result_of(folder)["timesteps"]
    assert model._n_updates == 2 * updates
    steps = [int(row["step"]) for row in curve_of(folder)]
    assert steps == sorted(steps) and steps[:3] == [0, 32, 64] and steps[-1] == 128
    best = max(curve_of(folder), key=lambda row: float(row["validation_return"]))
    assert result_of(folder)["validation_return"] == float(best["validation_return"])


def test_resume_of_a_finished_run_trains_no_further(tmp_path: Path) -> None:
    folder = run(tmp_path, "--episodes", "20")
    before = weights_of(folder / "phase2_last.zip")
    timesteps = result_of(folder)["timesteps"]

    run(tmp_path, "--episodes", "20", "--resume")

    assert equal(weights_of(folder / "phase2_last.zip"), before)
    assert result_of(folder)["timesteps"] == timesteps


def test_zip_says_what_it_was_trained_for(finished: Path) -> None:
    model: Any = PPO.load(finished / "phase2_last.zip", device="cpu")

    assert model.vocabulary == vocabulary(builtin_setting(10).dataset)


def test_patience_ends_training_at_the_evaluation_that_uses_it_up(tmp_path: Path) -> None:
    """Weights that do not move are never better than those of the first evaluation."""
    rl = {"learning_rate": 1e-30, "total_timesteps": 320, "num_evaluations": 10, "patience": 3}
    folder = run(tmp_path, training={"phase2_rl": rl})

    assert [int(row["step"]) for row in curve_of(folder)] == [0, 32, 64, 96]
    assert result_of(folder)["timesteps"] == 96 and result_of(folder)["step"] == 0

    run(tmp_path, "--resume", training={"phase2_rl": rl})  # the wait goes on where it was
    assert [int(row["step"]) for row in curve_of(folder)] == [0, 32, 64, 96]


def test_resumed_run_is_tied_to_the_same_start(phase1: Path, tmp_path: Path) -> None:
    """The run stays near the checkpoint also when it is resumed without naming it."""
    rl = {"kl_coef": 1000.0, "kl_fade": 1.0, "learning_rate": 0.01}
    folder = run(tmp_path, "--checkpoint", str(phase1), training={"phase2_rl": rl})
    start = torch.load(folder / "phase2_start.pth", weights_only=True)
    assert equal(start, torch.load(phase1, weights_only=True)["policy_state_dict"])

    run(tmp_path, "--resume", training={"phase2_rl": rl | {"total_timesteps": 128}})

    logs = sorted((folder / "tensorboard").rglob("events.*"))
    last = EventAccumulator(str(logs[-1])).Reload()
    kl = [event.value for event in last.Scalars("train/kl_to_start")]
    assert kl and max(kl) < 0.01
    assert equal(torch.load(folder / "phase2_start.pth", weights_only=True), start)


def test_resumed_run_keeps_the_network_of_its_checkpoint(phase1: Path, tmp_path: Path) -> None:
    """Settings that name another kind of network count for new ones only."""
    training = {"policy": {"kind": "attention"}, "phase2_rl": {"total_timesteps": 32}}
    run(tmp_path, "--checkpoint", str(phase1), training=training)

    training["phase2_rl"] = {"total_timesteps": 64}
    folder = run(tmp_path, "--resume", training=training)

    assert PPO.load(folder / "phase2_last.zip", device="cpu").policy_kwargs["kind"] == "mlp"
    assert result_of(folder)["timesteps"] == 64


def test_run_from_scratch_has_no_anchor(tmp_path: Path) -> None:
    folder = run(tmp_path, training={"phase2_rl": {"critic_warmup": 100, "kl_coef": 1.0}})

    assert not (folder / "phase2_start.pth").exists()
    first = PPO.load(folder / "phase2_best.zip", device="cpu")
    assert first._n_updates == 0 or result_of(folder)["step"] > 0
    (events,) = (folder / "tensorboard").rglob("events.*")
    tags = EventAccumulator(str(events)).Reload().Tags()["scalars"]
    assert "train/policy_gradient_loss" in tags and "train/kl_to_start" not in tags


def test_linear_rate_falls_to_a_fiftieth() -> None:
    rate = LinearRate(0.5)

    assert [rate(left) for left in (1.0, 0.5, 0.0)] == [0.5, 0.25, 0.01]


def test_settings_reach_ppo(tmp_path: Path) -> None:
    changes = {
        "phase2_rl": {
            "learning_rate_schedule": "linear",
            "gamma": 0.9,
            "epsilon": 0.3,
            "ent_coef": 0.02,
            "normalize_reward": True,
            "batch_size": 4096,
        }
    }

    model = PPO.load(run(tmp_path, training=changes) / "phase2_last.zip", device="cpu")

    assert (model.gamma, model.ent_coef, model.batch_size) == (0.9, 0.02, 32)
    assert callable(model.clip_range) and model.clip_range(1.0) == 0.3
    assert model.lr_schedule(0.5) == pytest.approx(0.0005)


@pytest.mark.slow
def test_ppo_learns_more_than_rules(tmp_path: Path) -> None:
    """PPO from scratch beats random, cheapest and fastest by more than 1.2 on test workflows.

    On the 400 test workflows (balanced weights) random scores 1.7, the cheapest worker 1.2 and the
    fastest 1.6; the mask is always obeyed. 40,960 steps reached 4.4.
    """
    settings = {
        "total_timesteps": 40960,
        "num_envs": 64,
        "n_steps": 16,
        "batch_size": 256,
        "n_epochs": 4,
        "learning_rate": 0.003,
        "learning_rate_schedule": "linear",
        "gamma": 1.0,
        "ent_coef": 0.003,
        "normalize_reward": True,
    }
    training = {
        "policy": {"hidden": 32},
        "phase1_supervised": {"train_data_size": 300},
        "phase2_rl": settings,
    }
    path = run(tmp_path, training=training) / "phase2_last.zip"
    setting = builtin_setting(400, "test")

    def mean_return(agent: Agent) -> float:
        return float(evaluate(agent, setting, seed=0).episode_return.mean())

    rules: list[Agent] = [
        RandomAgent(0),
        LowestFeatureAgent(setting, "price"),
        LowestFeatureAgent(setting, "expected_latency"),
    ]
    assert mean_return(load_sb3_agent(path, setting)) > 1.2 + max(map(mean_return, rules))
