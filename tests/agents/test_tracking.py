"""Weights & Biases: started before the TensorBoard log, finished after it, never required."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from agents.tracking import wandb_run
from orchestai_env.errors import ConfigError, MissingPackageError


class FakeError(Exception):
    """wandb.Error."""


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module in wandb's place that notes what is called."""
    module: Any = types.ModuleType("wandb")
    module.calls = []
    module.Error = FakeError

    def init(**arguments: Any) -> Any:
        module.calls.append(("init", arguments))
        return types.SimpleNamespace(finish=lambda: module.calls.append(("finish", {})))

    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    fake: types.ModuleType = module
    return fake


def test_run_copies_the_tensorboard_log(wandb: Any, tmp_path: Path) -> None:
    with wandb_run(tmp_path, {"seed": 3}):
        assert [name for name, _ in wandb.calls] == ["init"]

    (_, arguments), (last, _) = wandb.calls
    assert last == "finish"
    assert arguments == {
        "project": "orchestai",
        "name": tmp_path.name,
        "dir": str(tmp_path),
        "config": {"seed": 3},
        "sync_tensorboard": True,
    }


def test_run_is_finished_when_training_fails(wandb: Any, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), wandb_run(tmp_path, {}):
        raise ZeroDivisionError

    assert [name for name, _ in wandb.calls] == ["init", "finish"]


def test_missing_package_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)

    with (
        pytest.raises(MissingPackageError, match=r'pip install "orchestai-env\[wandb\]"'),
        wandb_run(tmp_path, {}),
    ):
        pass


def test_refusal_to_start_is_one_line(
    wandb: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(**arguments: Any) -> None:
        raise FakeError("no API key\nconfigured")

    monkeypatch.setattr(wandb, "init", refuse)

    with (
        pytest.raises(ConfigError, match=r"--wandb: no API key configured; run `wandb login`"),
        wandb_run(tmp_path, {}),
    ):
        pass
