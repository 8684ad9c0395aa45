"""Tracking: an optional copy of a run's TensorBoard log in Weights & Biases."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestai_env.errors import ConfigError, MissingPackageError


@contextlib.contextmanager
def wandb_run(output_dir: Path, config: Mapping[str, Any]) -> Iterator[None]:
    """Runs Weights & Biases while a TensorBoard writer is opened and used inside the block.

    Args:
        output_dir: run folder, which is there; holds wandb's own files too, and names the run.
        config: settings to show beside the curves.
    Raises:
        MissingPackageError: wandb is not installed.
        ConfigError: wandb refuses to start, without an account for instance.
    """
    try:
        import wandb
    except ImportError:
        raise MissingPackageError(
            "Weights & Biases is optional and not installed; install it with pip install "
            '"orchestai-env[wandb]", or leave --wandb out'
        ) from None
    try:
        run = wandb.init(
            project="orchestai",
            name=output_dir.name,
            dir=str(output_dir),
            config=dict(config),
            sync_tensorboard=True,
        )
    except wandb.Error as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"--wandb: {reason}; run `wandb login`, or set WANDB_MODE=offline"
        ) from None
    try:
        yield
    finally:
        run.finish()
