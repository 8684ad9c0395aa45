"""Experiments small enough for a test, as the YAML files that the commands read."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

BALANCED = {
    "success_weight": 10.0,
    "cost_weight": 200.0,
    "latency_weight": 0.1,
    "latency_unit": "s",
    "shaping_weight": 0.1,
}
TINY: dict[str, Any] = {
    "planner": {"kind": "annotated", "max_subtasks": 6},
    "system": {"device": "cpu"},
    "training": {
        "policy": {"hidden": 8},
        "phase1_supervised": {
            "batch_size": 16,
            "learning_rate": 0.01,
            "num_epochs": 2,
            "train_data_size": 20,
            "synthetic_augmentations": 0,
        },
        "phase2_rl": {
            "learning_rate": 0.001,
            "total_timesteps": 64,
            "num_envs": 4,
            "n_steps": 8,
            "batch_size": 16,
            "n_epochs": 2,
            "num_evaluations": 2,
            "evaluation_workflows": 10,
        },
    },
    "benchmark": {
        "profiles": {"balanced": "balanced.yaml"},
        "num_seeds": 1,
        "workflows": 30,
        "replicates": 3,
        "replicate_workflows": 20,
        "table_workflows": 10,
        "num_jobs": 1,
    },
}


def write_config(folder: Path, **changes: Any) -> Path:
    """Writes the tiny experiment and its reward profile, and returns the path of the former.

    Args:
        folder: to write into.
        changes: sections to change, nested like the file; a value of None removes a key.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = copy.deepcopy(TINY)
    _merge(data, changes)
    (folder / "balanced.yaml").write_text(yaml.safe_dump(BALANCED))
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def recorded_config(folder: Path, **changes: Any) -> Path:
    """Writes the tiny experiment on the toy source of recorded outcomes; see `write_config`."""
    source = {
        "source": "toy",
        "task_types": ["math", "code"],
        "latency": "derived",
        "max_subtasks": 3,
        "num_workflows": {"train": 40, "validation": 10, "test": 20},
    }
    workers = [{"name": "ace"}, {"name": "bob"}]
    return write_config(folder, **{"source": source, "worker_models": workers} | changes)


def _merge(data: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(data.get(key), dict):
            _merge(data[key], value)
        elif value is None:
            data.pop(key, None)
        else:
            data[key] = value
