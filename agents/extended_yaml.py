"""YAML files that extend another one: mappings merged key by key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pydantic

from orchestai_env.errors import ConfigError, MissingFileError, shown
from orchestai_env.settings import load_yaml

EXTENDS = "extends"
"""Key of a settings file: another one, relative to it, whose settings hold where its own do not."""


class _Mapping(pydantic.RootModel[dict[str, Any]]):
    """Settings as they stand in a file."""


def read_extended(path: Path, files: list[Path]) -> dict[str, Any]:
    """Returns the settings of a file over those of the file that it extends.

    Args:
        path: YAML file.
        files: those that were read on the way here; gets this one, and those below it.
    Raises:
        MissingFileError: there is no such file, or none that it extends.
        ConfigError: a file is no YAML of settings, or files extend each other.
    """
    if path.resolve() in [file.resolve() for file in files]:
        raise ConfigError(f"{files[-1]}: {EXTENDS}: leads back to {path}; take one of them out")
    files.append(path)
    data = load_yaml(path, _Mapping).root
    base = data.pop(EXTENDS, None)
    if base is None:
        return data
    if not isinstance(base, str) or not (path.parent / base).is_file():
        raise MissingFileError(f"{path}: {EXTENDS}: expected a settings file, got {shown(base)}")
    return merged(read_extended(path.parent / base, files), data)


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns nested settings with some replaced: mappings key by key, all else as a whole."""
    result = dict(base)
    for key, value in changes.items():
        below = result.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            result[key] = merged(below, value)
        else:
            result[key] = value
    return result
