"""Entry points that an installed package declares, for tests that install none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

OURS = {
    "orchestai.choosers": {
        "zip": "agents.live:read_chooser",
        "pth": "agents.live:read_chooser",
    },
    "orchestai.planners": {"pth": "supervised.learned_planner:LearnedPlanner.load"},
}
"""Those of this project; setup.cfg declares them (tested)."""


def declare(
    groups: Mapping[str, Mapping[str, str]],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    package: str = "declared",
) -> None:
    """Puts the metadata of a package on the path, as pip would; it holds nothing else."""
    info = folder / f"{package}-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0\n")
    lines = []
    for group, points in groups.items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(folder))
