"""Phase 2 when something goes wrong: Ctrl-C, losses that are not finite, folders in use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import ProgressBarCallback
from stable_baselines3.common.save_util import load_from_zip_file

from agents import phase2_callbacks
from agents import train_phase2 as command
from agents.checkpoint import write_whole
from agents.phase2_callbacks import BEST, LAST
from agents.vec_env import OrchestAIVecEnv
from orchestai_env.cli import run_command
from orchestai_env.errors import CheckpointError, ConfigError
from orchestai_env.run_folder import claim
from tests.agents.phase2_runs import Weights, curve_of, result_of, run
from tests.tiny_config import write_config


def test_interrupted_run_goes_on_from_the_last_whole_rollout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = OrchestAIVecEnv.step_wait
    calls = []

    def interrupted(env: OrchestAIVecEnv) -> Any:
        calls.append(1)
        if len(calls) == 12:  # in the second roll-out of 8 steps
            raise KeyboardInterrupt
        return step(env)

    with monkeypatch.context() as patch:
        patch.setattr(OrchestAIVecEnv, "step_wait", interrupted)
        with pytest.raises(SystemExit) as caught:
            run_command(lambda: void(run(tmp_path)))
    assert caught.value.code == 130
    line = capsys.readouterr().err
    assert (
        line.endswith(
            "phase2_last.zip holds all 32 steps that were learned from, --resume goes "
            "on from there\n"
        )
        and line.count("\n") == 1
    )

    run(tmp_path, "--resume")

    assert result_of(tmp_path / "run")["timesteps"] == 64
    assert [int(row["step"]) for row in curve_of(tmp_path / "run")][-1] == 64


def test_progress_bar_is_closed_when_training_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars: list[ProgressBarCallback] = []

    class Bar(ProgressBarCallback):
        def __init__(self) -> None:
            super().__init__()
            bars.append(self)

        def _on_step(self) -> bool:
            raise KeyboardInterrupt

    monkeypatch.setattr(command, "ProgressBarCallback", Bar)
    config = write_config(tmp_path)

    with pytest.raises(KeyboardInterrupt):
        command.main(["--config", str(config), "--output_dir", str(tmp_path / "run")])

    assert [bar.pbar.disable for bar in bars] == [True]  # what tqdm sets when it is closed


@pytest.mark.parametrize("name", [BEST, LAST])
def test_checkpoint_that_could_not_be_written_is_evaluated_again(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best checkpoint is that of the best row, also after the disk was full."""
    rl = {"learning_rate": 0.01, "num_envs": 16, "total_timesteps": 512, "num_evaluations": 4}
    rl |= {"evaluation_workflows": 100}
    whole = best_step(run(tmp_path, name="whole", training={"phase2_rl": rl}))
    assert whole > 0

    def full(path: Path, write: Any) -> None:
        steps = [int(row["step"]) for row in curve_of(tmp_path / "run")]
        if path.name == name and steps and steps[-1] + 128 == whole:
            raise CheckpointError("disk full")
        write_whole(path, write)

    with monkeypatch.context() as patch:
        patch.setattr(phase2_callbacks, "write_whole", full)
        with pytest.raises(CheckpointError, match="disk full"):
            run(tmp_path, training={"phase2_rl": rl})
    folder = run(tmp_path, "--resume", training={"phase2_rl": rl})

    assert [int(row["step"]) for row in curve_of(folder)] == [0, 128, 256, 384, 512]
    best = best_step(folder)
    assert PPO.load(folder / BEST, device="cpu").num_timesteps == best
    assert result_of(folder)["step"] == best


def best_step(folder: Path) -> int:
    """Returns the step of the best evaluation."""
    return int(max(curve_of(folder), key=lambda row: float(row["validation_return"]))["step"])


def void(_: object) -> None:
    """Takes anything, so that a call that returns something can be a command."""


@pytest.mark.parametrize("algorithm", ["PPO", "A2C"])
def test_loss_that_is_not_finite_is_refused(tmp_path: Path, algorithm: str, refused: Any) -> None:
    rl = {"learning_rate": 1e12, "algorithm": algorithm}
    config = write_config(tmp_path, training={"phase2_rl": rl})

    line = refused(command.main, "--config", config, "--output_dir", tmp_path / "run", "--quiet")

    assert "phase 2: " in line and "lower learning_rate" in line
    saved = weights_of_zip(tmp_path / "run" / "phase2_last.zip")
    assert all(torch.isfinite(value).all() for value in saved.values())


def weights_of_zip(path: Path) -> Weights:
    _, parameters, _ = load_from_zip_file(path, device="cpu")
    return dict(parameters["policy"])


def test_folder_of_a_running_run_is_refused(tmp_path: Path, refused: Any) -> None:
    config = write_config(tmp_path)
    with claim(tmp_path / "run"):
        line = refused(command.main, "--config", config, "--output_dir", tmp_path / "run")

    assert "another run" in line and "--output_dir" in line


def test_occupied_folder_is_refused(tmp_path: Path) -> None:
    run(tmp_path)

    with pytest.raises(ConfigError, match=r"holds a run already; add --resume or name another"):
        run(tmp_path)


def test_resume_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"phase2_last\.zip: nothing to resume"):
        run(tmp_path, "--resume")
