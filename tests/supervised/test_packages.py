"""The packages of supervised/ import one another in one direction, and no modules in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ORDER = (
    ("commands", "experts", "fit", "intervals"),
    ("texts",),
    ("plans",),
    ("planner",),
    ("planner_comparison",),
    ("success",),
    ("cloning",),
    ("shapes",),
    ("learned_planner",),
)
"""Modules and packages, each importing only what is in a line above; the commands come last."""
PLACE = {name: place for place, names in enumerate(ORDER) for name in names}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in sorted((ROOT / "supervised").rglob("*.py"))
}


def imported(path: Path) -> Iterator[str]:
    """Yields the modules of supervised/ that a file imports, at any depth of its code."""
    for item in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(item, ast.Import):
            names = [alias.name for alias in item.names]
        elif isinstance(item, ast.ImportFrom) and item.module is not None:
            names = [item.module, *(f"{item.module}.{alias.name}" for alias in item.names)]
        yield from (name for name in names if name in MODULES)


def test_packages_import_only_what_is_before_them() -> None:
    wrong = []
    for name, path in MODULES.items():
        own = name.split(".")[1]
        for other in map(lambda module: module.split(".")[1], imported(path)):
            if other != own and not PLACE.get(other, len(ORDER)) < PLACE.get(own, len(ORDER)):
                wrong.append(f"{name} imports {other}")
    assert len(MODULES) > 40
    assert wrong == []


def test_no_modules_import_one_another_in_a_circle() -> None:
    graph = {name: set(imported(path)) for name, path in MODULES.items()}
    assert set(TopologicalSorter(graph).static_order()) == set(MODULES)
