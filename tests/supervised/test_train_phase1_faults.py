"""The command of phase 1 under bad input, full disks, interrupts and losses that are not finite."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestai_env.errors import CheckpointError, ConfigError
from supervised import train_phase1 as command
from supervised.cloning.learner import CloningLearner
from supervised.fit import DivergenceError
from tests.supervised.phase1_runs import checkpoint, interrupt_after, phase1, run
from tests.tiny_config import write_config


def test_interrupt_before_the_first_checkpoint_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_after(monkeypatch, 1)

    with pytest.raises(KeyboardInterrupt, match="before the first epoch ended; nothing was saved"):
        run(tmp_path)


def test_loss_that_is_not_finite_keeps_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_epoch = CloningLearner.train_epoch

    def diverging(self: CloningLearner, epoch: int) -> Any:
        if epoch == 2:
            for parameter in self.module.parameters():
                torch.nn.init.constant_(parameter, float("nan"))
        return train_epoch(self, epoch)

    monkeypatch.setattr(CloningLearner, "train_epoch", diverging)
    with pytest.raises(DivergenceError, match="not finite in epoch 2, batch 0; lower"):
        run(tmp_path, "--epochs", "4")

    last = checkpoint(tmp_path / "run")
    assert last["epoch"] == 2
    assert all(torch.isfinite(value).all() for value in last["policy_state_dict"].values())


def test_full_disk_keeps_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable[..., str]
) -> None:
    folder = run(tmp_path, "--epochs", "1")
    before = (folder / "phase1_last.pth").read_bytes()

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    options = ["--config", tmp_path / "config" / "config.yaml", "--output_dir", folder, "--quiet"]
    line = refused(command.main, *options, "--epochs", "2", "--resume")

    assert "phase1_best.pth: cannot be written (No space left on device); what was" in line
    assert (folder / "phase1_last.pth").read_bytes() == before
    assert not list(folder.glob(".partial*"))


def test_resume_with_another_network_is_refused(tmp_path: Path) -> None:
    run(tmp_path, "--epochs", "1")

    with pytest.raises(CheckpointError, match=r"its policy is another network .*; resume with"):
        run(tmp_path, "--epochs", "2", "--resume", training={"policy": {"hidden": 4}})


def test_resume_from_the_best_checkpoint_is_refused(tmp_path: Path) -> None:
    folder = run(tmp_path, "--epochs", "1")
    (folder / "phase1_best.pth").replace(folder / "phase1_last.pth")

    with pytest.raises(CheckpointError, match=r"expected the learners \['policy'\], got \[\]"):
        run(tmp_path, "--epochs", "2", "--resume")


def test_wandb_that_is_missing_is_refused_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable[..., str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    config = write_config(tmp_path / "config")

    options = ["--config", config, "--output_dir", tmp_path / "run", "--quiet", "--wandb"]
    line = refused(command.main, *options)

    assert 'install it with pip install "orchestai-env[wandb]", or leave --wandb out' in line
    assert not (tmp_path / "run" / "phase1_last.pth").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", "0"], r"training\.phase1_supervised\.num_epochs: .*greater than or equal"),
        (["--seed", "-1"], "--seed: expected a whole number >= 0, got -1"),
    ],
)
def test_options_out_of_range_are_refused(tmp_path: Path, options: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(tmp_path, *options)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_share_that_leaves_one_side_empty_is_refused(tmp_path: Path, share: float) -> None:
    with pytest.raises(ConfigError, match=r"validation_share .*: leaves no workflow on one side"):
        run(tmp_path, **phase1(validation_share=share))


def test_resume_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"phase1_last\.pth: nothing to resume"):
        run(tmp_path, "--resume")


def test_output_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")

    with pytest.raises(ConfigError, match=r"--output_dir .*: expected a folder, got a file"):
        run(tmp_path)


def test_occupied_folder_is_refused(tmp_path: Path) -> None:
    run(tmp_path, "--epochs", "1")

    with pytest.raises(ConfigError, match=r"holds a run already; add --resume or name another"):
        run(tmp_path)
