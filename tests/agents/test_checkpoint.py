"""Checkpoints: whole files, and a clear line for every file that is none."""

from __future__ import annotations

import dataclasses
import functools
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from stable_baselines3 import A2C, PPO

from agents.checkpoint import (
    PHASE1_KEYS,
    build_policy,
    load_policy_state,
    read_phase1,
    read_policy_weights,
    save_checkpoint,
    vocabulary,
    write_whole,
)
from agents.evaluate import evaluate
from agents.policy import WorkerScoringPolicy, policy_keys
from orchestai_env.dataset import Dataset
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.errors import CheckpointError, ConfigError, MissingFileError
from tests.agents.policies import KINDS, make_vec_env
from tests.agents.problems import builtin_setting, toy_setting
from tests.orchestai_env.toy import Instance, win


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return builtin_setting(2).dataset


def phase1_file(path: Path, dataset: Dataset, **changes: Any) -> Path:
    """Writes a phase-1 checkpoint with every key, or with other values."""
    data: dict[str, Any] = dict.fromkeys(PHASE1_KEYS, 0)
    data["config"] = {"vocabulary": vocabulary(dataset)}
    data |= {"policy_state_dict": {"weight": torch.ones(2)}, "policy_kwargs": {"hidden": 8}}
    torch.save(data | changes, path)
    return path


def test_phase1_checkpoint_is_read_back(tmp_path: Path, dataset: Dataset) -> None:
    path = phase1_file(tmp_path / "best.pth", dataset)

    assert set(read_phase1(path, dataset)) == set(PHASE1_KEYS)
    weights, arguments = read_policy_weights(path, dataset)
    assert weights["weight"].tolist() == [1.0, 1.0] and arguments == {"hidden": 8}


def test_phase1_keys_are_the_specified_ones() -> None:
    assert set(PHASE1_KEYS) == {
        "epoch",
        "model_state_dict",
        "optimizer_state_dict",
        "val_loss",
        "config",
        "policy_state_dict",
        "policy_kwargs",
    }


@pytest.mark.parametrize("name", ["model.pth", "model.zip"])
def test_missing_file_is_named(tmp_path: Path, dataset: Dataset, name: str) -> None:
    with pytest.raises(MissingFileError, match=rf"{name}: no such checkpoint"):
        read_policy_weights(tmp_path / name, dataset)


@pytest.mark.parametrize("name", ["model.pth", "model.zip"])
def test_truncated_file_is_refused(tmp_path: Path, dataset: Dataset, name: str) -> None:
    whole = phase1_file(tmp_path / "whole", dataset).read_bytes()
    path = tmp_path / name
    for content in (whole[: len(whole) // 2], b"", b"text"):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=rf"{name}: cannot be read as a") as caught:
            read_policy_weights(path, dataset)
        assert "\n" not in str(caught.value)


def test_file_with_code_is_refused_and_not_run(tmp_path: Path, dataset: Dataset) -> None:
    path = tmp_path / "model.pth"
    torch.save({"policy_state_dict": Path("x")}, path)

    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint") as caught:
        read_phase1(path, dataset)
    assert "weights_only" not in str(caught.value)  # what torch advises would run the code


@pytest.mark.parametrize("content", [{"epoch": 1}, [1, 2], torch.ones(2)])
def test_foreign_file_names_the_missing_keys(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "model.pth"
    torch.save(content, path)

    with pytest.raises(CheckpointError, match=r"the keys \['config'.*are missing"):
        read_phase1(path)


def test_foreign_zip_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no model")

    with pytest.raises(CheckpointError, match="holds no policy of SB3"):
        read_policy_weights(path, dataset)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"vocabulary": {"workers": ["a"], "task_types": ["b"]}},
            r"trained for task_types \['b'\]",
        ),
        ({"vocabulary": {}}, "trained for task_types None"),
        ({}, "trained for task_types None"),
        (0, "trained for task_types None"),
    ],
)
def test_other_vocabulary_is_refused(
    tmp_path: Path, dataset: Dataset, config: Any, message: str
) -> None:
    path = phase1_file(tmp_path / "best.pth", dataset, config=config)

    read_phase1(path)
    with pytest.raises(CheckpointError, match=message):
        read_phase1(path, dataset)


def test_other_task_types_are_refused(tmp_path: Path, dataset: Dataset) -> None:
    other = vocabulary(dataset) | {"task_types": ["code"]}
    path = phase1_file(tmp_path / "best.pth", dataset, config={"vocabulary": other})

    with pytest.raises(CheckpointError, match=r"trained for task_types \['code'\], but the data"):
        read_phase1(path, dataset)


def test_other_workers_are_fine(tmp_path: Path, dataset: Dataset) -> None:
    other = vocabulary(dataset) | {"workers": ["somebody", "else"]}
    path = phase1_file(tmp_path / "best.pth", dataset, config={"vocabulary": other})

    assert set(read_phase1(path, dataset)) == set(PHASE1_KEYS)


def test_zip_of_another_policy_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    PPO("MlpPolicy", "CartPole-v1", device="cpu").save(tmp_path / "model.zip")

    with pytest.raises(
        CheckpointError, match=r"expected a WorkerScoringPolicy, got <class .*ActorCriticPolicy"
    ):
        read_policy_weights(tmp_path / "model.zip", dataset)


def trained_zip(path: Path, *, known: Any = None, kind: str = "mlp", algorithm: Any = PPO) -> Path:
    """Writes a model of our policy, which says what it knows unless `known` is None."""
    policy: Any = WorkerScoringPolicy
    model = algorithm(policy, make_vec_env(kind), policy_kwargs={"kind": kind, "hidden": 8})
    if known is not None:
        model.vocabulary = known
    model.save(path)
    return path


def test_zip_says_its_task_types(tmp_path: Path, dataset: Dataset) -> None:
    known = vocabulary(dataset)
    fits = trained_zip(tmp_path / "fits.zip", known=known | {"workers": ["a"]})
    silent = trained_zip(tmp_path / "silent.zip")
    other = trained_zip(tmp_path / "other.zip", known=known | {"task_types": ["code"]})

    for path in (fits, silent):
        assert read_policy_weights(path, dataset)[1] == {"kind": "mlp", "hidden": 8}
    with pytest.raises(CheckpointError, match=r"other\.zip: trained for task_types \['code'\]"):
        read_policy_weights(other, dataset)


def test_arguments_of_the_optimizer_stay_behind(tmp_path: Path, dataset: Dataset) -> None:
    path = trained_zip(tmp_path / "a2c.zip", algorithm=A2C)

    assert read_policy_weights(path, dataset)[1] == {"kind": "mlp", "hidden": 8}


@pytest.mark.parametrize("kind", KINDS)
def test_policy_is_built_for_other_workers_in_another_order(tmp_path: Path, kind: str) -> None:
    """Two of eight workers are left out, the others are reversed, and workflows are longer."""
    setting = builtin_setting(20)
    path = trained_zip(tmp_path / "model.zip", kind=kind)
    names = setting.dataset.pool.names
    dataset = builtin_dataset(num_workflows=20, max_subtasks=9).with_workers(names[5::-1])
    other = dataclasses.replace(setting, dataset=dataset)

    state, arguments = read_policy_weights(path, dataset)
    policy = build_policy(other, arguments, state, path)

    assert policy.observation_keys == policy_keys(kind)
    trained = PPO.load(path, device="cpu").policy.state_dict()
    assert all(torch.equal(trained[name], value) for name, value in policy.state_dict().items())
    outcomes = evaluate(policy, other, seed=0)
    assert outcomes.valid.all() and outcomes.num_calls.min() >= 1


def test_policy_of_another_class_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"

    with pytest.raises(CheckpointError, match=r"expected a WorkerScoringPolicy.*lstm_hidden_size"):
        build_policy(builtin_setting(2), {"lstm_hidden_size": 8}, {}, path)
    with pytest.raises(CheckpointError, match=r"its network does not fit this environment"):
        build_policy(builtin_setting(2), {"hidden": 8}, {"weight": torch.ones(2)}, path)


def test_policy_that_reads_embeddings_needs_them(tmp_path: Path) -> None:
    setting = toy_setting([Instance(calls=((win(1, 0.1), win(1, 0.1)),))])

    with pytest.raises(ConfigError, match="has no stored embeddings"):
        build_policy(setting, {"embeddings": True}, {}, tmp_path / "model.zip")


def test_weights_of_another_network_are_refused_in_one_line(tmp_path: Path) -> None:
    state = torch.nn.Linear(3, 2).state_dict()

    with pytest.raises(CheckpointError, match="does not fit this environment") as caught:
        load_policy_state(torch.nn.Linear(4, 2), state, tmp_path / "best.pth")
    assert "\n" not in str(caught.value)


def test_write_whole_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.txt"
    for text in ("first", "second"):
        write_whole(path, functools.partial(Path.write_text, data=text))
        assert path.read_text() == text
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_write_whole_keeps_the_old_file_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail(partial: Path) -> None:
        partial.write_text("ne")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        write_whole(path, fail)

    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


def test_full_disk_is_one_line_and_keeps_the_old_checkpoint(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the full disk; the write fails half-way."""
    path = tmp_path / "last.pth"
    save_checkpoint(path, {"weights": torch.zeros(10)})
    script = f"""
import resource, signal, torch
from pathlib import Path
from agents.checkpoint import save_checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
save_checkpoint(Path({str(path)!r}), {{"weights": torch.zeros(100_000)}})
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    last = done.stderr.splitlines()[-1]
    assert "last.pth: cannot be written (File too large); what was there before is intact" in last
    assert torch.equal(torch.load(path, weights_only=True)["weights"], torch.zeros(10))
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.pth"]


def test_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")

    with pytest.raises(CheckpointError, match=r"last\.pth: cannot be written \(File exists\)"):
        save_checkpoint(tmp_path / "run" / "last.pth", {})
