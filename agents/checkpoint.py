"""Checkpoints: files by which weights travel between phase 1, phase 2 and the benchmark."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.save_util import load_from_zip_file

from agents.agent import Setting
from agents.policy import WorkerScoringPolicy, policy_keys
from orchestai_env.dataset import Dataset
from orchestai_env.errors import CheckpointError, ConfigError, MissingFileError, shown
from orchestai_env.observation import ObservationLayout

PHASE1_KEYS = (
    "epoch",
    "model_state_dict",
    "optimizer_state_dict",
    "val_loss",
    "config",
    "policy_state_dict",
    "policy_kwargs",
)
"""Keys of a phase-1 checkpoint (.pth)."""

TRAINED_FOR = "trained_for"
"""Under which name zips, and the config of phase-1 checkpoints, hold what `trained_for` returns."""
_SERVED_RULES = {
    "max_attempts",
    "max_parallel_tasks",
    "on_failure",
    "cost_budget_usd",
    "deadline_ms",
}
"""Rules that real workers can be held to."""


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Writes a file aside and renames it, so that the old one stays until the new one is whole.

    Raises:
        CheckpointError: the disk is full, or the folder cannot be written.
    """
    partial = path.with_name(f".partial-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(partial)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be written ({error.strerror or error}); what was there before is "
            "intact; free space or check the rights of the folder, then run again"
        ) from None


def save_checkpoint(path: Path, data: dict[str, Any]) -> None:
    """Writes plain values and tensors for `torch.load(path, weights_only=True)`.

    Raises:
        CheckpointError: the file cannot be written; the old one is intact.
    """
    buffer = io.BytesIO()  # torch tells a full disk as a RuntimeError of its own words
    torch.save(data, buffer)
    write_whole(path, lambda partial: partial.write_bytes(buffer.getvalue()))


def check_resume(last: Path, *, resume: bool) -> None:
    """Checks that a run folder fits the wish to resume.

    Args:
        last: the run's last checkpoint.
        resume: whether to continue from it.
    Raises:
        CheckpointError: there is nothing to resume.
        ConfigError: the folder holds a run, which would be overwritten.
    """
    if resume and not last.is_file():
        raise CheckpointError(f"{last}: nothing to resume; start without --resume")
    if not resume and last.exists():
        raise ConfigError(
            f"{last}: the run folder holds a run already; add --resume or name another --output_dir"
        )


def vocabulary(dataset: Dataset) -> dict[str, list[str]]:
    """Returns what a policy was trained on: its workers, and the task types of its columns."""
    return {"workers": list(dataset.pool.names), "task_types": list(dataset.task_types)}


def trained_for(setting: Setting) -> dict[str, Any]:
    """Returns the rules and reward weights that a policy takes along to real workers."""
    rules = setting.rules.model_dump(include=_SERVED_RULES, exclude_none=True)
    return {"rules": rules, "weights": setting.weights.model_dump()}


def read_torch(path: Path) -> Any:
    """Reads what torch.save wrote: tensors and plain values only, onto the CPU.

    Raises:
        MissingFileError: there is no such file.
        CheckpointError: the file is broken, or holds other objects.
    """
    _check_exists(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a broken or foreign file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, pickle.UnpicklingError):  # torch advises to run what is in there
            reason = "expected tensors and plain values as torch.save writes them, got other data"
        raise CheckpointError(f"{path}: cannot be read as a checkpoint ({reason})") from None


def read_phase1(path: Path, dataset: Dataset | None = None) -> dict[str, Any]:
    """Reads a phase-1 checkpoint.

    Args:
        path: written by supervised.train_phase1.
        dataset: refuses a checkpoint of other task types. Workers may differ: policies of ours
            serve any number and order of them.
    Raises:
        MissingFileError: there is no such file.
        CheckpointError: the file is broken, no phase-1 checkpoint, or of other task types.
    """
    data = read_torch(path)
    missing = set(PHASE1_KEYS) - set(data) if isinstance(data, dict) else set(PHASE1_KEYS)
    if missing:
        raise CheckpointError(
            f"{path}: expected a phase-1 checkpoint, but the keys {sorted(missing)} are missing"
        )
    if dataset is not None:
        config = data["config"]
        found = config.get("vocabulary") if isinstance(config, dict) else None
        _check_task_types(path, found, dataset)
    checkpoint: dict[str, Any] = data
    return checkpoint


def read_zip(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads the attributes of a model that SB3 saved, and the weights of its policy.

    Raises:
        MissingFileError: there is no such file.
        CheckpointError: the file is broken, or holds no policy.
    """
    _check_exists(path)
    try:
        data, params, _ = load_from_zip_file(path, device="cpu")
    except (ValueError, zipfile.BadZipFile, RuntimeError, KeyError, EOFError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path}: cannot be read as a model of SB3 ({reason})") from None
    weights: Any = params.get("policy")
    if not data or not isinstance(weights, dict):
        raise CheckpointError(f"{path}: the zip holds no policy of SB3")
    return data, weights


def read_policy_weights(path: Path, dataset: Dataset) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads a policy's weights and constructor arguments from a phase-1 .pth or an SB3 zip.

    Arguments of the optimizer, which some algorithms of SB3 add, are left out: they belong to
    whoever trains on.

    Args:
        path: the file.
        dataset: refuses a checkpoint of other task types; a zip that does not name them passes.
    Raises:
        MissingFileError: there is no such file.
        CheckpointError: the file is broken, or of another policy or other task types.
    """
    _check_exists(path)
    if path.suffix != ".zip":
        data = read_phase1(path, dataset)
        return data["policy_state_dict"], data["policy_kwargs"]
    found, weights = read_zip(path)
    if found.get("policy_class") is not WorkerScoringPolicy:
        raise CheckpointError(
            f"{path}: expected a WorkerScoringPolicy, got {shown(found.get('policy_class'))}; name "
            "a zip of `agents.train_phase2`, or one that was trained with this policy"
        )
    if "vocabulary" in found:
        _check_task_types(path, found["vocabulary"], dataset)
    arguments = dict(found.get("policy_kwargs") or {})
    return weights, {k: v for k, v in arguments.items() if not k.startswith("optimizer_")}


def build_policy(
    setting: Setting, policy_kwargs: Mapping[str, Any], state: dict[str, Any], path: Path
) -> WorkerScoringPolicy:
    """Builds a policy for the workers and subtasks of a setting, and loads its weights.

    Number and order of the workers may be others than it was trained on.

    Args:
        setting: the decision problem; its task types are those of `read_policy_weights`.
        policy_kwargs: constructor arguments, as `read_policy_weights` returns them.
        state: weights, likewise.
        path: the file that they are from, for messages.
    Raises:
        CheckpointError: they are of another network or class.
        ConfigError: the policy reads embeddings, which the data lack.
    """
    shape = {key: policy_kwargs[key] for key in ("kind", "embeddings") if key in policy_kwargs}
    try:
        keys = policy_keys(**shape)
        policy = WorkerScoringPolicy(
            ObservationLayout.of(setting.dataset, keys).space,
            spaces.Discrete(len(setting.dataset.pool)),
            lambda _: 0.0,
            **policy_kwargs,
        )
    except TypeError as error:
        raise CheckpointError(
            f"{path}: expected a WorkerScoringPolicy, got one with other arguments ({error}); "
            "name a checkpoint of `supervised.train_phase1` or `agents.train_phase2`"
        ) from None
    load_policy_state(policy, state, path)
    return policy


def load_policy_state(policy: torch.nn.Module, state: dict[str, Any], path: Path) -> None:
    """Loads weights into a policy.

    Raises:
        CheckpointError: their shapes differ; the message names the first.
    """
    try:
        policy.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{path}: its network does not fit this environment ({reason}); use a checkpoint "
            "trained with the same task types, observation and policy settings"
        ) from None


def _check_exists(path: Path) -> None:
    if not path.is_file():
        raise MissingFileError(f"{path}: no such checkpoint; check the path")


def _check_task_types(path: Path, found: Any, dataset: Dataset) -> None:
    """Refuses a vocabulary of other task types, or of another order: they are input columns."""
    expected = list(dataset.task_types)
    trained = found.get("task_types") if isinstance(found, dict) else None
    if trained != expected:
        raise CheckpointError(
            f"{path}: trained for task_types {trained}, but the data has {expected}; train it for "
            "this data"
        )
