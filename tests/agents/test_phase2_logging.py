"""What phase 2 logs: TensorBoard's scalars, figures and hparams, and the line at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from agents import train_phase2 as command
from orchestai_env.reward import REWARD_TERMS
from tests.agents.phase2_runs import run
from tests.agents.problems import builtin_setting


def test_tensorboard_has_rollout_and_eval_tags(tmp_path: Path) -> None:
    (events,) = (run(tmp_path) / "tensorboard").rglob("events.*")
    reader = EventAccumulator(str(events)).Reload()

    tags = set(reader.Tags()["scalars"])
    assert {"rollout/ep_rew_mean", "rollout/success_rate", "train/entropy_loss"} <= tags
    assert {"eval/validation_return", "eval/train_return", "eval/success_rate"} <= tags
    assert [event.step for event in reader.Scalars("eval/validation_return")] == [0, 32, 64]


def test_tensorboard_has_terms_picks_figures_and_hparams(tmp_path: Path) -> None:
    rl = {"num_envs": 64, "n_steps": 16, "total_timesteps": 2048, "critic_warmup": 1}
    folder = run(tmp_path, training={"phase2_rl": rl})

    (events,) = (folder / "tensorboard" / "phase2_1").glob("events.*")
    reader = EventAccumulator(str(events)).Reload()
    tags = reader.Tags()
    names = ("cost_usd", "makespan_s", "masked_actions", "reward_success", "reward_latency")
    assert {f"rollout/{name}" for name in names} <= set(tags["scalars"])
    dataset = builtin_setting(10).dataset
    for task_type in dataset.task_types:
        assert f"picks/entropy/{task_type}" in tags["scalars"]
        assert f"picks/largest_share/{task_type}" in tags["scalars"]
        for worker in dataset.pool.names:
            assert f"rollout/picks/{task_type}/{worker}" in tags["scalars"]
    assert {"eval/mean_reward", "eval/mean_ep_length"} <= set(tags["scalars"])
    assert tags["images"] == ["eval/picks"]
    assert "_hparams_/session_start_info" in reader.summary_metadata
    assert any("device" in tag for tag in tags["tensors"])


def test_hparams_name_the_weights_in_force(tmp_path: Path) -> None:
    (events,) = (run(tmp_path) / "tensorboard").rglob("events.*")

    metadata = EventAccumulator(str(events)).Reload().summary_metadata
    content = metadata["_hparams_/session_start_info"].plugin_data.content
    named = HParamsPluginData.FromString(content).session_start_info.hparams
    values = {key: value.number_value for key, value in named.items()}
    weights = builtin_setting(10).weights
    for name in ("success_weight", "cost_weight", "latency_weight", "shaping_weight"):
        assert values[f"reward/{name}"] == getattr(weights, name)
    assert not {"alpha", "beta", "gamma_latency", "shaped_reward"} & set(values)


def test_reward_terms_sum_to_the_return(tmp_path: Path) -> None:
    """Where each roll-out ends fewer than 100 episodes, SB3's mean is over more of them."""
    rl = {"num_envs": 8, "n_steps": 8, "total_timesteps": 64}
    folder = run(tmp_path, training={"phase2_rl": rl})

    (events,) = (folder / "tensorboard").rglob("events.*")
    reader = EventAccumulator(str(events)).Reload()
    terms = [reader.Scalars(f"rollout/reward_{name}")[0].value for name in REWARD_TERMS]
    assert sum(terms) == pytest.approx(reader.Scalars("rollout/ep_rew_mean")[0].value, rel=1e-5)


def test_device_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path)

    assert "phase 2: 64 steps on cpu; best validation return" in capsys.readouterr().out


def test_wandb_is_started_before_the_tensorboard_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[bool] = []

    @contextlib.contextmanager
    def fake(output_dir: Path, config: dict[str, Any]) -> Iterator[None]:
        started.append((output_dir / "tensorboard").exists())
        assert config["training"]["phase2_rl"]["total_timesteps"] == 64
        yield

    monkeypatch.setattr(command, "wandb_run", fake)

    run(tmp_path, "--wandb")

    assert started == [False]
