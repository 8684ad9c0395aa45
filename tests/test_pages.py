"""What users read names only pages, headings, modules and files that exist."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import io
import re
import shlex
from pathlib import Path

import pytest

from orchestai_env import cli

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    *(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md"))),
)
PACKAGES = ("orchestai_env", "agents", "supervised", "benchmarks")
MADE_BY_USERS = frozenset({"configs/mine.yaml"})
"""Files that a page tells its reader to write."""


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def anchors_of(page: str) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands_of(page: str) -> list[list[str]]:
    """Commands of a page's shell blocks and indented lines, as words."""
    text = text_of(page).replace("\\\n", " ")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"^    +(?=python -m|orchestai|make)(.+)$", text, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


@functools.cache
def help_of(program: tuple[str, ...]) -> str:
    """What a command says with --help."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit):
        if program[0] == "orchestai":
            cli.main([*program[1:], "--help"])
        module = importlib.import_module(program[-1])
        if hasattr(module, "__path__"):  # a package is run by its __main__
            module = importlib.import_module(f"{program[-1]}.__main__")
        module.main(["--help"])
    return said.getvalue()


def is_there(name: str) -> bool:
    """Tells whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.util.find_spec(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        if found is None:
            continue
        value: object = importlib.import_module(".".join(parts[:length]))
        for part in parts[length:]:
            if not hasattr(value, part):
                return False
            value = getattr(value, part)
        return True
    return False


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page: str) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", text_of(page)):
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        path = ((ROOT / page).parent / target).resolve() if target else ROOT / page
        assert path.exists(), link
        if anchor:
            assert anchor in anchors_of(path.relative_to(ROOT).as_posix()), link


@pytest.mark.parametrize("page", PAGES)
def test_named_modules_exist(page: str) -> None:
    pattern = rf"\b(?:{'|'.join(PACKAGES)})(?:\.[A-Za-z_]\w*)+"
    for name in sorted(set(re.findall(pattern, text_of(page)))):
        is_file = name.rpartition(".")[2] in {"py", "yaml", "npz", "json"}
        assert is_file or is_there(name), name


@pytest.mark.parametrize("page", PAGES)
def test_named_files_exist(page: str) -> None:
    folders = "|".join((*PACKAGES, "configs", "docs", "tests"))
    pattern = rf"(?<![\w/.-])(?:{folders})/[\w/]+\.(?:py|yaml|npz|json|md|png|gif)\b"
    for name in set(re.findall(pattern, text_of(page))) - MADE_BY_USERS:
        assert (ROOT / name).exists(), name


def test_commands_are_found() -> None:
    assert {page for page in PAGES if len(commands_of(page)) >= 7} >= {
        "README.md",
        "docs/live.md",
        "docs/results.md",
        "docs/training.md",
    }


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_their_options_exist(page: str) -> None:
    for words in commands_of(page):
        if words[0] == "make":
            targets = [word for word in words[1:] if "=" not in word]
            assert all(f"\n{target}:" in text_of("Makefile") for target in targets), words
        elif words[0] == "orchestai" or words[:2] == ["python", "-m"]:
            size = 2 if words[0] == "orchestai" else 3
            known = set(re.findall(r"--[\w-]+", help_of(tuple(words[:size]))))
            assert {word for word in words if word.startswith("--")} <= known, words


def test_readme_leads_to_every_page() -> None:
    readme = text_of("README.md")
    for page in PAGES[1:]:
        assert f"({page})" in readme or page == "CHANGELOG.md", page


def test_every_picture_is_on_a_page() -> None:
    shown = "\n".join(text_of(page) for page in PAGES)
    for picture in sorted((ROOT / "docs" / "images").iterdir()):
        assert f"images/{picture.name}" in shown, picture.name
