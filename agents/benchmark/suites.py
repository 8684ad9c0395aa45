"""Suites: benchmarks whose environment, seeds and score are fixed in one file each."""

from __future__ import annotations

from pathlib import Path

from orchestai_env.errors import ConfigError, unknown_name

SUITES = Path(__file__).resolve().parents[2] / "configs" / "suites"
"""Folder of the suites' settings."""


def suite_names() -> list[str]:
    """Returns the names of all suites."""
    return sorted(path.stem for path in SUITES.glob("*.yaml"))


def suite_path(name: str) -> Path:
    """Returns the settings file of a suite.

    Raises:
        ConfigError: there is no such suite.
    """
    names = suite_names()
    if name not in names:
        raise ConfigError(f"--suite: {unknown_name('suite', name, names)}")
    return SUITES / f"{name}.yaml"
