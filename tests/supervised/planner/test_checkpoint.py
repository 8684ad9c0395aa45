"""A planner's checkpoint gives back the planner, and is refused where it cannot."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.checkpoint import save_checkpoint
from agents.config import ExperimentSettings, load_experiment
from orchestai_env.errors import CheckpointError, ConfigError, MissingFileError
from supervised.fit import Losses
from supervised.learned_planner import LearnedPlanner
from supervised.planner.checkpoint import PLANNER_KEY, load_planner, planner_state
from supervised.planner.learner import MISSED
from supervised.planner.model import PlannerModel
from supervised.planner.training import planner_fit, train_planner
from supervised.plans.dataset import WorkflowDataset
from supervised.texts.encoder import MemoEncoder, TextEncoder
from tests.supervised.nested import assert_equal
from tests.supervised.small_planners import small_planner, tiny_encoder, tiny_grammar
from tests.tiny_config import write_config

WORKERS = ("ann", "bob")
INSTRUCTIONS = [
    "draw a map, then add two numbers and write a poem",
    "add two numbers",
    "write a poem and draw two numbers, then add a map " * 5,
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoint")


@pytest.fixture(scope="module")
def encoder(folder: Path) -> TextEncoder:
    return tiny_encoder(folder)


@pytest.fixture(scope="module")
def train() -> WorkflowDataset:
    return tiny_grammar(16, 0, workers=WORKERS)


@pytest.fixture(scope="module")
def model(train: WorkflowDataset, encoder: TextEncoder) -> PlannerModel:
    return small_planner(train, encoder, max_subtasks=5)


def save(model: PlannerModel, path: Path, **changes: Any) -> Path:
    """Writes what training writes of a planner, with changes to its state."""
    state = planner_state(model) | changes
    save_checkpoint(path, {"model_state_dict": model.state_dict(), PLANNER_KEY: state})
    return path


def config_of(folder: Path, encoder: TextEncoder, **network: Any) -> ExperimentSettings:
    """Returns settings of a small planner that trains for two epochs."""
    sizes = {"encoder": encoder.name, "hidden": 16, "num_heads": 2, "num_layers": 1}
    return load_experiment(write_config(folder, planner={"network": sizes | network}))


def assert_same_plans(first: PlannerModel, second: PlannerModel) -> None:
    ours, theirs = (LearnedPlanner(model).plan(INSTRUCTIONS) for model in (first, second))
    assert ours == theirs
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.subtask_embeddings, other.subtask_embeddings)


@pytest.mark.parametrize("fine_tune", [False, True])
@pytest.mark.parametrize("workers", [WORKERS, (None,)], ids=["workers", "no workers"])
def test_loaded_planner_is_the_same(
    tmp_path: Path, encoder: TextEncoder, fine_tune: bool, workers: Any
) -> None:
    data = tiny_grammar(16, 0, workers=workers)
    model = small_planner(data, encoder, fine_tune=fine_tune, num_neighbours=2, max_spans=5)
    path = save(model, tmp_path / "planner.pth")

    loaded = load_planner(
        path, task_types=data.vocabulary.task_types, workers=data.vocabulary.workers
    )

    assert not loaded.training
    assert (loaded.shape, loaded.vocabulary) == (model.shape, model.vocabulary)
    assert_equal(dict(loaded.state_dict()), dict(model.state_dict()))
    assert_equal(planner_state(loaded), planner_state(model))
    assert_same_plans(model, loaded)


def test_trained_planner_is_written_with_its_best_weights(
    tmp_path: Path, train: WorkflowDataset, encoder: TextEncoder
) -> None:
    config = config_of(tmp_path, encoder)
    held_out = tiny_grammar(6, 1, avoid=train)
    path = tmp_path / "planner.pth"
    finished: list[int] = []

    epochs = train_planner(
        train, held_out, config, seed=1, device="cpu", path=path, on_epoch=finished.append
    )

    data = torch.load(path, weights_only=True)
    best = int(np.argmin([epoch["val"][MISSED] for epoch in epochs]))
    assert finished == [1, 2]
    assert (data["epoch"], data["val_loss"]) == (best + 1, epochs[best]["val"]["total"])
    assert data["config"] == config.model_dump(mode="json")
    assert {"epoch", "model_state_dict", "optimizer_state_dict", "val_loss", "config"} < set(data)
    fit = planner_fit(train, held_out, config, seed=1, device="cpu")
    again: list[dict[str, Losses]] = []
    while not fit.is_done:
        again.append(fit.run_epoch())
    assert again == epochs
    fit.learner.module.load_state_dict(fit.best.weights)
    assert isinstance(fit.learner.module, PlannerModel)
    assert_same_plans(fit.learner.module, load_planner(path))


def test_settings_reach_the_network_and_its_training(
    tmp_path: Path, train: WorkflowDataset, encoder: TextEncoder
) -> None:
    config = config_of(
        tmp_path,
        encoder,
        max_tokens=9,
        num_neighbours=2,
        max_spans=1,
        fine_tune=True,
        learning_rate=0.5,
        encoder_learning_rate=0.25,
        dropout=0.0,
    )

    fit = planner_fit(train, tiny_grammar(2, 1), config, seed=0, device="cpu")

    model = fit.learner.module
    assert isinstance(model, PlannerModel) and model.encoder is not None
    assert dataclasses.asdict(model.shape) == {
        "hidden": 16,
        "num_layers": 1,
        "num_heads": 2,
        "dropout": 0.0,
        "max_subtasks": 6,
    }
    assert (model.reader.num_neighbours, model.reader.max_spans) == (2, 1)
    assert model.reader.encoder.max_tokens == 9
    groups = fit.learner.optimizer.param_groups
    assert [group["lr"] for group in groups] == [0.5, 0.25]
    assert len(groups[1]["params"]) == len(list(model.encoder.parameters()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"task_types": ["draw", "math", "sing"]},
            "trained with other task types: it has write and lacks sing; train it anew",
        ),
        ({"task_types": ["write", "math", "draw"]}, "task types: it has another order"),
        ({"workers": ["ann"]}, "trained with other workers: it has bob; train it anew"),
        ({"workers": ["ann", "bob", "cy"]}, "trained with other workers: it lacks cy;"),
    ],
    ids=["types", "order", "fewer workers", "more workers"],
)
def test_planner_of_other_words_is_refused_naming_the_difference(
    tmp_path: Path, model: PlannerModel, arguments: dict[str, Any], message: str
) -> None:
    path = save(model, tmp_path / "planner.pth")

    with pytest.raises(CheckpointError, match=message) as caught:
        load_planner(path, **arguments)

    assert str(caught.value).startswith(f"{path}: ")


def without(key: str) -> Callable[[Path, PlannerModel], None]:
    def write(path: Path, model: PlannerModel) -> None:
        state = planner_state(model)
        del state[key]
        save_checkpoint(path, {"model_state_dict": model.state_dict(), PLANNER_KEY: state})

    return write


def cut(path: Path, model: PlannerModel) -> None:
    save(model, path)
    path.write_bytes(path.read_bytes()[:5000])


BAD: dict[str, tuple[Callable[[Path, PlannerModel], Any], str]] = {
    "no checkpoint": (lambda path, _: path.write_text("hello"), "cannot be read as a checkpoint"),
    "cut off": (cut, "cannot be read as a checkpoint"),
    "a list": (lambda path, _: torch.save([1], path), "holds no planner; train one with"),
    "no planner": (
        lambda path, model: torch.save({"model_state_dict": model.state_dict()}, path),
        "holds no planner; train one with `python -m supervised.train_phase1`",
    ),
    "no weights": (
        lambda path, model: torch.save({PLANNER_KEY: planner_state(model)}, path),
        "holds no planner",
    ),
    "no library": (without("library"), r"cannot be built \(KeyError: 'library'\); train it anew"),
    "other sizes": (
        lambda path, model: save(model, path, shape=dataclasses.asdict(model.shape) | {"new": 1}),
        r"cannot be built \(TypeError: .*'new'\); train it anew",
    ),
    "other weights": (
        lambda path, model: save(model, path, fine_tune=True),
        r"cannot be built \(RuntimeError: .*Missing key\(s\) .*encoder",
    ),
}


@pytest.mark.parametrize(("write", "message"), BAD.values(), ids=BAD)
def test_bad_file_is_refused(
    tmp_path: Path, model: PlannerModel, write: Callable[[Path, PlannerModel], Any], message: str
) -> None:
    path = tmp_path / "planner.pth"
    write(path, model)

    with pytest.raises(CheckpointError, match=message) as caught:
        load_planner(path)

    assert "\n" not in str(caught.value)


def test_encoder_that_is_there_already_is_used(
    tmp_path: Path, model: PlannerModel, encoder: TextEncoder
) -> None:
    path, memo = save(model, tmp_path / "planner.pth"), MemoEncoder(encoder)

    loaded = load_planner(path, encoder=memo)

    assert loaded.reader.encoder is memo
    assert_same_plans(model, loaded)


def test_encoder_of_another_planner_is_refused(
    tmp_path: Path, model: PlannerModel, encoder: TextEncoder
) -> None:
    path = save(model, tmp_path / "planner.pth")
    other = TextEncoder.load(encoder.name, max_tokens=20)

    with pytest.raises(CheckpointError, match=r"of 48 tokens, got .* of 20"):
        load_planner(path, encoder=MemoEncoder(other))


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"planner\.pth"):
        load_planner(tmp_path / "planner.pth")


def test_missing_encoder_is_refused(tmp_path: Path, model: PlannerModel) -> None:
    # A path that is no folder is no name of the hub either, so that nobody is asked for it.
    gone = {"name": str(tmp_path / "gone"), "max_tokens": 48}
    path = save(model, tmp_path / "planner.pth", encoder=gone)

    with pytest.raises(ConfigError, match=r"encoder '.*gone': cannot be loaded"):
        load_planner(path)
