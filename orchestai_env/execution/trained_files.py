"""Trained choosers and planners in files, read by packages that this one does not know.

A package says in its metadata which files it reads, by their suffix and without the dot:

    [options.entry_points]
    orchestai.choosers =
        zip = agents.live:read_chooser
    orchestai.planners =
        pth = supervised.learned_planner:LearnedPlanner.load

A reader of choosers takes the path and returns a `TrainedChooser`; one of planners takes the path
and returns a `planning.planner.Planner`. So this library needs nothing of what they need, and other
people's packages read other files in the same way.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal

from orchestai_env.dataset import Dataset
from orchestai_env.errors import ConfigError, MissingFileError, MissingPackageError
from orchestai_env.execution.chooser import Chooser
from orchestai_env.reward import RewardWeights

Kind = Literal["choosers", "planners"]

_HASH_LENGTH = 12  # of 64 digits; chosen: enough to tell the trainings of a lifetime apart


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedChooser:
    """A chooser as it lies in a file, and what it was trained for."""

    build: Callable[[Dataset, bool], Chooser]
    """Makes it for what is known of the workers; the second argument says whether it draws workers
    by its probabilities or takes the likeliest. Raises OrchestAIError where it does not fit."""
    max_subtasks: int | None = None
    """Padded number of subtasks that it reads; None = any."""
    rules: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Rules of the episodes that it was trained for, by the names of EpisodeRules."""
    weights: RewardWeights | None = None
    """What it was trained to earn; None = the file does not say."""


def suffixes(kind: Kind) -> tuple[str, ...]:
    """Returns the suffixes that installed packages read, with the dot."""
    return tuple(sorted(f".{name}" for name in entry_points(group=_group(kind)).names))


def read_trained(kind: Kind, path: Path, *, option: str) -> Any:
    """Reads a file with the reader that is installed for its suffix.

    Args:
        kind: what the file holds.
        path: file.
        option: of the command line, for messages.
    Returns:
        What the reader returns; see the head of this module.
    Raises:
        MissingFileError: there is no such file.
        ConfigError: no installed package reads such files.
        MissingPackageError: the reader lacks a package.
        OrchestAIError: the reader refuses the file.
    """
    found = entry_points(group=_group(kind), name=path.suffix.removeprefix("."))
    values = sorted({point.value for point in found})
    if not path.is_file():
        raise MissingFileError(f"{option} {path}: no such file; check the path")
    if not values:
        known = ", ".join(suffixes(kind)) or "none"
        raise ConfigError(
            f"{option} {path}: no installed package reads {path.suffix} files as {kind} (they "
            f"read: {known}); in a checkout of OrchestAI, {_INSTALL} brings those for .zip and .pth"
        )
    if len(values) > 1:
        raise ConfigError(
            f"{option} {path}: several installed packages read {path.suffix} files as {kind} "
            f"({', '.join(values)}); uninstall all but one"
        )
    try:
        reader = next(iter(found)).load()
    except (ImportError, AttributeError) as error:
        raise MissingPackageError(
            f"{option} {path}: {values[0]} reads it, and cannot be imported ({error}); in a "
            f"checkout of OrchestAI, install what it needs with: {_INSTALL}"
        ) from error
    return reader(path)


def content_name(path: Path) -> str:
    """Returns the name of a file with the begin of its SHA-256, as a log tells files apart."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{path.name} {digest[:_HASH_LENGTH]}"


_INSTALL = 'pip install -e ".[train,live]"'


def _group(kind: Kind) -> str:
    return f"orchestai.{kind}"
