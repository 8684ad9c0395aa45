"""Settings whose workers are those of a calibrated simulator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestai_env.datasets.calibration.simulated_pool import load_simulated_pool
from orchestai_env.errors import ConfigError, MissingFileError

_WORKERS, _SIMULATION = "worker_models", "simulation"


def with_calibrated_workers(data: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Returns the settings with a named file of calibrated workers replaced by what it holds.

    Args:
        data: settings as a file holds them; those without such a name stay as they are.
        path: their file, for messages; the name is relative to it.
    Raises:
        MissingFileError: there is no such file.
        ConfigError: it holds something else, or `simulation` is set as well.
    """
    name = data.get(_WORKERS)
    if not isinstance(name, str):
        return dict(data)
    if data.get(_SIMULATION) is not None:
        raise ConfigError(
            f"{path}: {_SIMULATION}: {_WORKERS}: {name} sets it already; take one of them out"
        )
    try:
        pool = load_simulated_pool(path.parent / name)
    except (ConfigError, MissingFileError) as error:
        raise type(error)(
            f"{path}: {_WORKERS}: {error}; expected a list of workers, or the file that `orchestai "
            "calibrate` writes"
        ) from None
    return {
        **data,
        _WORKERS: pool.workers.model_dump(mode="json"),
        _SIMULATION: pool.simulation.model_dump(mode="json"),
    }
