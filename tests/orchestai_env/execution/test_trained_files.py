"""Files of trained choosers and planners, and the packages that read them."""

from __future__ import annotations

import configparser
from pathlib import Path
from typing import Any

import pytest

from orchestai_env.errors import ConfigError, MissingFileError, MissingPackageError
from orchestai_env.execution.trained_files import content_name, read_trained, suffixes
from tests.entry_points import OURS, declare

ROOT = Path(__file__).resolve().parents[3]
HERE = "tests.orchestai_env.execution.test_trained_files"


def read_text(path: Path) -> str:
    """Reads the files of a made-up package."""
    return path.read_text()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Returns a file of a made-up kind."""
    path = tmp_path / "mine.made"
    path.write_text("what I have learned")
    return path


def test_file_is_read_by_the_package_that_declares_its_suffix(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = {"orchestai.choosers": {"made": f"{HERE}:read_text"}}
    declare(groups, tmp_path / "site", monkeypatch)

    assert read_trained("choosers", file, option="--chooser") == "what I have learned"
    assert ".made" in suffixes("choosers")
    assert ".made" not in suffixes("planners")


def test_file_that_nobody_reads_is_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"mine\.made: no installed package reads \.made files"):
        read_trained("planners", file, option="--planner")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"--chooser .*none\.zip: no such file"):
        read_trained("choosers", tmp_path / "none.zip", option="--chooser")


@pytest.mark.parametrize("value", ["no_such_package.live:read", f"{HERE}:read_nothing"])
def test_reader_that_cannot_be_imported_says_how_to_install_it(
    value: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare({"orchestai.choosers": {"made": value}}, tmp_path / "site", monkeypatch)

    with pytest.raises(MissingPackageError, match=r"cannot be imported.*pip install -e"):
        read_trained("choosers", file, option="--chooser")


def test_two_readers_of_one_suffix_are_refused(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for k, value in enumerate((f"{HERE}:read_text", "other:read")):
        groups: Any = {"orchestai.choosers": {"made": value}}
        declare(groups, tmp_path / f"site{k}", monkeypatch, package=f"package{k}")

    with pytest.raises(ConfigError, match=r"several installed packages read \.made files"):
        read_trained("choosers", file, option="--chooser")


def test_content_gives_a_file_another_name(file: Path) -> None:
    before = content_name(file)
    file.write_text("more")

    assert before.startswith("mine.made ")
    assert content_name(file) != before


def test_setup_declares_our_readers() -> None:
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    declared = dict(setup["options.entry_points"])
    found = {
        group: dict(line.split(" = ") for line in declared[group].strip().splitlines())
        for group in OURS
    }

    assert found == OURS
