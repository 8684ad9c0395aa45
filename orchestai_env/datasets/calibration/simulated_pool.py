"""SimulatedPool: workers, their skills and what a simulator shares among them, as a YAML file."""

from __future__ import annotations

import os
from pathlib import Path

import pydantic
import yaml

from orchestai_env.outcomes.simulated import SimulationSettings
from orchestai_env.settings import load_yaml
from orchestai_env.workers import WorkerPool

_HEADER = """\
# Made by `orchestai calibrate` from an execution log; the report beside it tells how well it fits.
# Play on it: pool = load_simulated_pool("{name}"), then
#   builtin_dataset(pool=pool.workers, simulation=pool.simulation)
# input_tokens of a skill are those that cost what its calls cost beside their output.
"""


class SimulatedPool(pydantic.BaseModel):
    """What a simulated environment runs on; the content of builtin_workers.yaml and the like."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    task_types: tuple[str, ...]
    """Vocabulary."""
    simulation: SimulationSettings = SimulationSettings()
    """Parameters that all workers share; the documented defaults where the file has none."""
    workers: WorkerPool


def load_simulated_pool(path: str | Path) -> SimulatedPool:
    """Reads a pool, as `orchestai calibrate` writes it.

    Raises:
        MissingFileError: there is no such file.
        ConfigError: a key is unknown, mistyped or out of range.
    """
    return load_yaml(path, SimulatedPool)


def write_simulated_pool(path: str | Path, pool: SimulatedPool) -> None:
    """Writes a pool; the old file stays until the new one is whole."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = pool.model_dump(mode="json", exclude_defaults=False)
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(_HEADER.format(name=path.name) + "\n" + text, encoding="utf-8")
    os.replace(partial, path)
