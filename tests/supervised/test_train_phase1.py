"""The command of phase 1: cloning with early stopping, checkpoints, and exact resuming."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents.checkpoint import PHASE1_KEYS
from agents.registry import load_cloned_policy
from orchestai_env.errors import CheckpointError, ConfigError
from supervised import train_phase1 as command
from supervised.behaviour_cloning import CloningTrainer
from tests.agents.problems import builtin_setting
from tests.tiny_config import write_config


def run(folder: Path, *options: str, name: str = "run", **changes: Any) -> Path:
    """Runs the command on the tiny configuration and returns the run folder."""
    config = write_config(folder / "config", **changes)
    shared = ["--config", str(config), "--profile", "balanced", "--quiet"]
    command.main([*shared, "--output_dir", str(folder / name), *options])
    return folder / name


def phase1(**changes: Any) -> dict[str, Any]:
    return {"training": {"phase1_supervised": changes}}


def checkpoint(folder: Path, name: str = "last") -> dict[str, Any]:
    data = torch.load(folder / f"phase1_{name}.pth", weights_only=True)
    assert isinstance(data, dict)
    return data


def assert_equal(first: Any, second: Any, place: str = "") -> None:
    """Asserts that nested data with tensors is equal bit for bit."""
    if isinstance(first, dict):
        assert list(first) == list(second), place
        for key in first:
            assert_equal(first[key], second[key], f"{place}.{key}")
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second), place
    else:
        assert first == second, place


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 4 epochs in one go."""
    return run(tmp_path_factory.mktemp("phase1"), "--epochs", "4")


def test_run_folder_has_every_file(whole: Path) -> None:
    assert {path.name for path in whole.iterdir()} >= {
        "config.yaml",
        "run.json",
        "phase1_best.pth",
        "phase1_last.pth",
        "result.json",
        "tensorboard",
    }
    result = json.loads((whole / "result.json").read_text())
    assert result["epochs"] == 4
    assert {"train", "validation"} <= set(result)
    assert result["validation"]["validity"] == 1.0


@pytest.mark.parametrize("name", ["best", "last"])
def test_checkpoint_has_the_specified_keys(whole: Path, name: str) -> None:
    data = checkpoint(whole, name)

    assert set(PHASE1_KEYS) <= set(data)
    assert data["policy_kwargs"] == {"hidden": 8}
    assert data["config"]["training"]["phase1_supervised"]["num_epochs"] == 4
    assert data["config"]["vocabulary"]["workers"] == list(builtin_setting(1).dataset.pool.names)


def test_best_checkpoint_has_the_lowest_validation_loss(whole: Path) -> None:
    (events,) = (whole / "tensorboard").rglob("events.*")
    reader = EventAccumulator(str(events)).Reload()
    assert {"train/total", "train/cross_entropy", "val/entropy", "val/accuracy"} <= set(
        reader.Tags()["scalars"]
    )
    losses = [event.value for event in reader.Scalars("val/total")]

    best = checkpoint(whole, "best")

    assert len(losses) == 4
    assert best["val_loss"] == pytest.approx(min(losses), rel=1e-6)
    assert best["epoch"] == losses.index(min(losses)) + 1
    assert json.loads((whole / "result.json").read_text())["val_loss"] == best["val_loss"]


def test_cloned_policy_can_be_loaded(whole: Path) -> None:
    policy = load_cloned_policy(whole / "phase1_best.pth", builtin_setting(1))

    assert_equal(dict(policy.state_dict()), dict(checkpoint(whole, "best")["policy_state_dict"]))


def test_run_cut_in_two_equals_one_run(whole: Path, tmp_path: Path) -> None:
    run(tmp_path, "--epochs", "2")

    folder = run(tmp_path, "--epochs", "4", "--resume")

    for name in ("best", "last"):
        ours, theirs = checkpoint(folder, name), checkpoint(whole, name)
        ours.pop("config"), theirs.pop("config")  # the settings had another number of epochs
        assert_equal(ours, theirs)
    assert (folder / "result.json").read_text() == (whole / "result.json").read_text()


def test_killed_run_equals_one_run(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = torch.optim.Adam.step
    steps = 0

    def killed(self: torch.optim.Adam, *args: Any, **kwargs: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps > 10:  # in the middle of an epoch
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, "--epochs", "4")
    assert 0 < checkpoint(tmp_path / "run")["epoch"] < 4

    folder = run(tmp_path, "--epochs", "4", "--resume")

    assert_equal(checkpoint(folder), checkpoint(whole))


def test_same_seed_gives_the_same_weights(whole: Path, tmp_path: Path) -> None:
    again = run(tmp_path, "--epochs", "4")
    other = run(tmp_path, "--epochs", "4", "--seed", "1", name="other")

    assert_equal(checkpoint(again), checkpoint(whole))
    weights = [
        checkpoint(f)["policy_state_dict"]["action_net.score.weight"] for f in (again, other)
    ]
    assert not torch.equal(*weights)


@pytest.fixture
def no_progress(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Makes every epoch end with the same validation loss, and lists the trained epochs."""
    epochs: list[int] = []
    train_epoch = CloningTrainer.train_epoch

    def without_gain(self: CloningTrainer, data: Any, epoch: int) -> Any:
        weights = {name: value.clone() for name, value in self.policy.state_dict().items()}
        loss = train_epoch(self, data, epoch)
        self.policy.load_state_dict(weights)
        epochs.append(epoch)
        return loss

    monkeypatch.setattr(CloningTrainer, "train_epoch", without_gain)
    return epochs


def test_training_stops_when_the_loss_no_longer_falls(
    tmp_path: Path, no_progress: list[int]
) -> None:
    """The first epoch sets the best loss; `patience` epochs without a lower one end the run."""
    folder = run(tmp_path, "--epochs", "20", **phase1(patience=3))

    assert no_progress == [0, 1, 2, 3]
    assert checkpoint(folder, "best")["epoch"] == 1
    assert json.loads((folder / "result.json").read_text())["epochs"] == 4


def test_resume_of_a_stopped_run_trains_no_further(tmp_path: Path, no_progress: list[int]) -> None:
    folder = run(tmp_path, "--epochs", "20", **phase1(patience=1))
    before = checkpoint(folder)
    no_progress.clear()

    run(tmp_path, "--epochs", "20", "--resume", **phase1(patience=1))

    assert no_progress == []
    assert_equal(checkpoint(folder), before)


def test_learning_rate_falls_on_a_plateau(tmp_path: Path, no_progress: list[int]) -> None:
    folder = run(tmp_path, "--epochs", "9", **phase1(patience=8))

    (group,) = checkpoint(folder)["optimizer_state_dict"]["param_groups"]
    assert group["lr"] == 0.005


def test_options_replace_settings(tmp_path: Path) -> None:
    folder = run(tmp_path, "--epochs", "1", "--batch_size", "7")

    settings = checkpoint(folder)["config"]["training"]["phase1_supervised"]
    assert (settings["num_epochs"], settings["batch_size"]) == (1, 7)


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


def test_occupied_folder_is_refused(whole: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds a run already; add --resume or name another"):
        run(whole.parent)


def test_resume_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"phase1_last\.pth: nothing to resume"):
        run(tmp_path, "--resume")


def test_output_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")

    with pytest.raises(ConfigError, match=r"--output_dir .*: expected a folder, got a file"):
        run(tmp_path)
