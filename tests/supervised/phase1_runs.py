"""Small runs of the command of phase 1, and what they leave behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from supervised import train_phase1 as command
from tests.supervised.nested import assert_equal
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


def assert_same_run(first: Path, second: Path) -> None:
    """Asserts that the checkpoints are equal but for the settings, such as the most epochs."""
    for name in ("best", "last"):
        ours, theirs = checkpoint(first, name), checkpoint(second, name)
        ours.pop("config"), theirs.pop("config")
        assert_equal(ours, theirs, name)


def interrupt_after(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """Makes Ctrl-C come after so many steps of training."""
    step = torch.optim.Adam.step
    steps = 0

    def killed(self: torch.optim.Adam, *args: Any, **kwargs: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps > limit:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", killed)
