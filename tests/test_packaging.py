"""The promises of the repository: versions, direction of imports, settings files, file sizes."""

import ast
import configparser
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import orchestai_env

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("orchestai_env", "agents", "supervised")
MAX_LINES = 400

# What each package must never import, directly or inside a function.
FORBIDDEN_IMPORTS = {
    "orchestai_env": {
        "torch",
        "stable_baselines3",
        "sb3_contrib",
        "transformers",
        "sklearn",
        "agents",
        "supervised",
    },
    "agents": {"supervised"},
}
# Local workers and their tokenizers load it when they are built.
ALLOWED_IMPORTS = {
    ("orchestai_env/execution/workers/tokens.py", "transformers"),
    ("orchestai_env/execution/workers/transformers_worker.py", "transformers"),
}


def source_files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def relative_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported_packages(source: str) -> Iterator[tuple[int, str]]:
    """Yields line and top-level package of every absolute import, at any depth of the code."""
    for item in ast.walk(ast.parse(source)):
        if isinstance(item, ast.Import):
            for alias in item.names:
                yield item.lineno, alias.name.partition(".")[0]
        elif isinstance(item, ast.ImportFrom) and item.level == 0 and item.module is not None:
            yield item.lineno, item.module.partition(".")[0]


def leaf_values(data: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yields every scalar of nested lists and mappings with the path of its keys."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from leaf_values(value, f"{place}.{key}".lstrip("."))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from leaf_values(value, f"{place}[{index}]")
    else:
        yield place, data


def read_setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_changelog_newest_version_is_the_package_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## (\d+\.\d+\.\d+)\b", text, flags=re.MULTILINE)
    assert versions[0] == orchestai_env.__version__


def test_changelog_releases_have_the_fixed_headings() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for release in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        headings = re.findall(r"^### (.+)$", release, flags=re.MULTILINE)
        assert headings == ["Breaking", "New", "Bug fixes", "Others"], release.splitlines()[0]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import torch.nn as nn", ["torch"]),
        ("def f():\n    from agents.ppo import x", ["agents"]),
        ("from . import torch\nfrom .agents import x", []),
    ],
)
def test_imported_packages_finds_nested_and_skips_relative(
    source: str, expected: list[str]
) -> None:
    assert [name for _, name in imported_packages(source)] == expected


@pytest.mark.parametrize("package", sorted(FORBIDDEN_IMPORTS))
def test_package_imports_only_what_lies_before_it(package: str) -> None:
    wrong = [
        f"{relative_id(path)}:{line} imports {name}"
        for path in source_files(package)
        for line, name in imported_packages(path.read_text(encoding="utf-8"))
        if name in FORBIDDEN_IMPORTS[package] and (relative_id(path), name) not in ALLOWED_IMPORTS
    ]
    assert source_files(package)
    assert not wrong


def test_library_import_loads_no_training_package() -> None:
    code = "import sys, orchestai_env; print(*sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(process.stdout.split())
    assert "orchestai_env" in loaded
    assert not loaded & {"torch", "transformers", "sklearn", "matplotlib", "stable_baselines3"}


def test_configs_parse_and_their_numbers_are_numbers() -> None:
    paths = sorted((ROOT / "configs").rglob("*.yaml"))
    assert paths
    for path in paths:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert isinstance(data, dict), f"{relative_id(path)} holds no mapping"
        # YAML 1.1 reads 1e-4 and 1.0e4 as text.
        texts = [
            f"{place}: {value}"
            for place, value in leaf_values(data)
            if isinstance(value, str) and re.fullmatch(r"[-+]?[\d.]+[eE][-+]?\d+", value)
        ]
        assert not texts, f"{relative_id(path)}: write 1.0e-4 or 1.0e+4, not {texts}"


@pytest.mark.parametrize("package", PACKAGES)
def test_source_files_stay_small(package: str) -> None:
    sizes = {
        relative_id(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in source_files(package)
    }
    assert sizes
    assert {name: lines for name, lines in sizes.items() if lines > MAX_LINES} == {}


def test_setup_cfg_has_no_percent_sign() -> None:
    # One anywhere in the file breaks the build: setuptools reads it with interpolation.
    assert "%" not in (ROOT / "setup.cfg").read_text(encoding="utf-8")


def test_contributing_says_why_each_dependency_is_there() -> None:
    setup = read_setup_cfg()
    lines = setup["options"]["install_requires"].splitlines()
    for extra in setup["options.extras_require"].values():
        lines += extra.splitlines()
    required = {re.split(r"[<>=!~;\[ ]", line)[0] for line in lines if line.strip()}
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.partition("\n## Dependencies\n")[2]
    extra_name = "(?:core|" + "|".join(setup["options.extras_require"]) + ")"
    row = rf"^\| ([\w-]+) \| {extra_name}(?:, {extra_name})* \|"
    assert set(re.findall(row, table, re.M)) == required


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_readme_names_the_two_commands(command: str) -> None:
    assert command in (ROOT / "README.md").read_text(encoding="utf-8")
