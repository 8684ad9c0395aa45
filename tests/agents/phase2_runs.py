"""Runs of phase 2 that are small enough for a test, and what they leave in their folders."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import torch
from stable_baselines3 import PPO

from agents import train_phase2
from tests.tiny_config import write_config

Weights = dict[str, torch.Tensor]


def run(folder: Path, *options: str, name: str = "run", **changes: Any) -> Path:
    """Runs the command on the tiny configuration and returns the run folder."""
    config = write_config(folder / "config", **changes)
    shared = ["--config", str(config), "--profile", "balanced", "--quiet"]
    train_phase2.main([*shared, "--output_dir", str(folder / name), *options])
    return folder / name


def weights_of(path: Path) -> Weights:
    """Returns the weights of a policy in a zip of PPO."""
    return dict(PPO.load(path, device="cpu").policy.state_dict())


def equal(first: Weights, second: Weights) -> bool:
    """Tells whether weights are the same, bit by bit."""
    return set(first) == set(second) and all(torch.equal(first[k], second[k]) for k in first)


def result_of(folder: Path) -> dict[str, Any]:
    """Returns result.json."""
    data = json.loads((folder / "result.json").read_text())
    assert isinstance(data, dict)
    return data


def curve_of(folder: Path) -> list[dict[str, str]]:
    """Returns the rows of curve.csv."""
    with (folder / "curve.csv").open(newline="") as file:
        return list(csv.DictReader(file))
