"""The command of phase 1: cloning with early stopping, checkpoints, and exact resuming."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents.checkpoint import PHASE1_KEYS
from agents.config import PolicySettings
from agents.experiment import Experiment
from agents.registry import load_cloned_policy
from orchestai_env.errors import CheckpointError
from orchestai_env.workflow import Subtask, Workflow, is_valid_dag, write_workflows
from supervised import train_phase1 as command
from supervised.cloning.learner import CloningLearner
from supervised.fit import Fit, FitSettings
from supervised.learned_planner import LearnedPlanner
from tests.agents.problems import builtin_setting
from tests.supervised.nested import assert_equal
from tests.supervised.phase1_runs import assert_same_run, checkpoint, interrupt_after, phase1, run
from tests.supervised.test_fit import Line

PARTS = ("cross_entropy", "entropy", "accuracy", "total")


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
    policy = result["learners"]["policy"]
    assert policy["epochs"] == 4 and 1 <= policy["best_epoch"] <= 4
    assert policy["best"]["entropy"] > 0
    assert result["val_loss"] == policy["best"]["total"]


@pytest.mark.parametrize("name", ["best", "last"])
def test_checkpoint_has_the_specified_keys(whole: Path, name: str) -> None:
    data = checkpoint(whole, name)

    assert set(PHASE1_KEYS) <= set(data)
    assert data["policy_kwargs"] == PolicySettings(hidden=8).model_dump()
    assert list(data["optimizer_state_dict"]) == list(data["val_losses"]) == ["policy"]
    assert data["val_loss"] == data["val_losses"]["policy"]
    assert data["config"]["training"]["phase1_supervised"]["num_epochs"] == 4
    assert data["config"]["vocabulary"]["workers"] == list(builtin_setting(1).dataset.pool.names)


def test_best_checkpoint_has_the_lowest_validation_loss(whole: Path) -> None:
    (events,) = (whole / "tensorboard").rglob("events.*")
    reader = EventAccumulator(str(events)).Reload()
    parts = {f"policy/{side}/{part}" for side in ("train", "val") for part in PARTS}
    assert set(reader.Tags()["scalars"]) == parts | {"policy/train/learning_rate"}
    losses = [event.value for event in reader.Scalars("policy/val/total")]

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

    assert_same_run(folder, whole)
    assert (folder / "result.json").read_text() == (whole / "result.json").read_text()


def test_interrupted_run_equals_one_run(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_after(patch, 10)  # in the middle of an epoch
        with pytest.raises(KeyboardInterrupt, match=r"phase1_last\.pth holds all .* --resume"):
            run(tmp_path, "--epochs", "4")
    assert 0 < checkpoint(tmp_path / "run")["epoch"] < 4

    folder = run(tmp_path, "--epochs", "4", "--resume")

    assert_equal(checkpoint(folder), checkpoint(whole))


def test_dagger_run_cut_in_two_equals_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = phase1(dagger_rounds=1, expert="lookahead", lookahead_samples=2)
    once = run(tmp_path, "--epochs", "2", name="once", **changes)
    train_epoch = CloningLearner.train_epoch

    def interrupted(self: CloningLearner, epoch: int) -> Any:
        losses = train_epoch(self, epoch)
        if epoch == 3:
            raise KeyboardInterrupt
        return losses

    with monkeypatch.context() as patch:
        patch.setattr(CloningLearner, "train_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, "--epochs", "2", **changes)
    cut = checkpoint(tmp_path / "run")
    assert cut["epoch"] == 3 and len(cut["fits"]["policy"]["played"]) == 1

    again = run(tmp_path, "--epochs", "2", "--resume", **changes)

    assert_same_run(again, once)
    assert checkpoint(once)["epoch"] == 4


def test_same_seed_gives_the_same_weights(whole: Path, tmp_path: Path) -> None:
    again = run(tmp_path, "--epochs", "4")
    other = run(tmp_path, "--epochs", "4", "--seed", "1", name="other")

    assert_equal(checkpoint(again), checkpoint(whole))
    weights = [
        checkpoint(f)["policy_state_dict"]["action_net.score.weight"] for f in (again, other)
    ]
    assert not torch.equal(*weights)


@pytest.fixture
def two_learners(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains something beside the policy: a line whose validation loss is best in epoch 2."""
    new_fits = command._new_fits

    def with_line(experiment: Experiment, plans: Sequence[Path]) -> dict[str, Fit]:
        settings = FitSettings(max_epochs=9, patience=2, seed=0)
        line = Line([3.0, 1.0, 2.0, 2.0, 2.0])
        return {"line": Fit(line, settings)} | new_fits(experiment, plans)

    monkeypatch.setattr(command, "_new_fits", with_line)


@pytest.mark.usefixtures("two_learners")
def test_learners_stop_by_themselves_and_share_the_checkpoints(tmp_path: Path) -> None:
    folder = run(tmp_path, "--epochs", "6")

    best, last = checkpoint(folder, "best"), checkpoint(folder)
    assert last["epochs"] == {"line": 4, "policy": 6}
    assert best["epochs"]["line"] == 2 and best["val_losses"]["line"] == 1.0
    assert best["val_loss"] == 1.0 + best["val_losses"]["policy"]
    assert list(best["optimizer_state_dict"]) == ["line", "policy"]
    (events,) = (folder / "tensorboard").rglob("events.*")
    tags = EventAccumulator(str(events)).Reload().Tags()["scalars"]
    assert {"line/train/total", "line/val/double", "policy/val/total"} <= set(tags)


@pytest.mark.usefixtures("two_learners")
def test_second_learner_changes_nothing_in_the_first(whole: Path, tmp_path: Path) -> None:
    folder = run(tmp_path, "--epochs", "4")

    assert_equal(checkpoint(folder)["fits"]["policy"], checkpoint(whole)["fits"]["policy"])


@pytest.mark.usefixtures("two_learners")
def test_run_of_two_learners_cut_in_two_equals_one_run(tmp_path: Path) -> None:
    once = run(tmp_path, "--epochs", "6", name="once")
    for epochs in ("3", "5"):  # before and after the line stops
        run(tmp_path, "--epochs", epochs, name=epochs)

        cut = run(tmp_path, "--epochs", "6", "--resume", name=epochs)

        assert_same_run(cut, once)


def test_resume_with_other_learners_is_refused(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run(tmp_path, "--epochs", "1")
    request.getfixturevalue("two_learners")

    with pytest.raises(CheckpointError, match=r"expected the learners \['line', 'policy'\], got"):
        run(tmp_path, "--epochs", "2", "--resume")


@pytest.fixture
def no_progress(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Makes every epoch end with the same validation loss, and lists the trained epochs."""
    epochs: list[int] = []
    train_epoch = CloningLearner.train_epoch

    def without_gain(self: CloningLearner, epoch: int) -> Any:
        weights = {name: value.clone() for name, value in self.module.state_dict().items()}
        loss = train_epoch(self, epoch)
        self.module.load_state_dict(weights)
        epochs.append(epoch)
        return loss

    monkeypatch.setattr(CloningLearner, "train_epoch", without_gain)
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

    (group,) = checkpoint(folder)["optimizer_state_dict"]["policy"]["param_groups"]
    assert group["lr"] == 0.005


def test_wandb_runs_while_the_log_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs: list[bool] = []
    folder = tmp_path / "run"

    def note(**arguments: Any) -> Any:
        logs.append((folder / "tensorboard").exists())
        return types.SimpleNamespace(finish=lambda: logs.append((folder / "tensorboard").exists()))

    fake: Any = types.ModuleType("wandb")
    fake.init, fake.Error = note, RuntimeError
    monkeypatch.setitem(sys.modules, "wandb", fake)

    run(tmp_path, "--epochs", "1", "--wandb")

    assert logs == [False, True]


def test_options_replace_settings(tmp_path: Path) -> None:
    folder = run(tmp_path, "--epochs", "1", "--batch_size", "7")

    settings = checkpoint(folder)["config"]["training"]["phase1_supervised"]
    assert (settings["num_epochs"], settings["batch_size"]) == (1, 7)


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 2 epochs that trains a planner too."""
    return run(tmp_path_factory.mktemp("planned"), "--epochs", "2", planner=LEARNED)


LEARNED = {
    "kind": "learned",
    "max_subtasks": 6,
    "network": {"hidden": 16, "num_heads": 2, "max_spans": 2, "num_neighbours": 2},
}


def test_planner_of_the_best_checkpoint_plans(planned: Path) -> None:
    data = checkpoint(planned, "best")
    assert data["epochs"].keys() == {"planner", "policy"}
    assert data["val_loss"] == pytest.approx(sum(data["val_losses"].values()))

    planner = LearnedPlanner.load(planned / "phase1_best.pth")

    pool = builtin_setting(1).dataset.pool
    assert planner.model.vocabulary.workers == pool.names
    assert_equal(dict(planner.model.state_dict()), dict(data["model_state_dict"]))
    (plan,) = planner.plan(["Read the contract and write a summary."])
    assert is_valid_dag(plan.workflow)


def test_planner_learns_from_files_of_plans(tmp_path: Path) -> None:
    workflows = [
        Workflow(
            id=f"w{k}",
            instruction=f"Fetch item {k} and then paint it {color}.",
            subtasks=(
                Subtask(name=f"fetch item {k}", type="fetch"),
                Subtask(name=f"paint it {color}", type="paint"),
            ),
            links=((0, 1),),
        )
        for k, color in enumerate(["red", "blue", "green", "black", "white"] * 6)
    ]
    write_workflows(tmp_path / "plans.jsonl", workflows)

    folder = run(tmp_path, "--data", str(tmp_path / "plans.jsonl"), planner=LEARNED)

    planner = LearnedPlanner.load(folder / "phase1_best.pth", task_types=("fetch", "paint"))
    assert planner.model.vocabulary.workers == ()
    with pytest.raises(CheckpointError, match="other task types: it has paint and lacks wash"):
        LearnedPlanner.load(folder / "phase1_best.pth", task_types=("fetch", "wash"))


def test_run_with_a_planner_cut_in_two_equals_one_run(planned: Path, tmp_path: Path) -> None:
    run(tmp_path, "--epochs", "1", planner=LEARNED)

    folder = run(tmp_path, "--epochs", "2", "--resume", planner=LEARNED)

    assert_same_run(folder, planned)
