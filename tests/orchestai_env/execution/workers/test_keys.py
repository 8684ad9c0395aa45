"""Keys: read from the environment or .env, and hidden everywhere else."""

from __future__ import annotations

import builtins
import os
import traceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestai_env.errors import ConfigError, MissingPackageError
from orchestai_env.execution.workers.keys import HIDDEN, read_keys, said, without_key

SECRET = "sk-top-secret-17"


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("A_KEY", "B_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / ".env"


def test_key_comes_from_the_file_where_the_environment_has_none(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_file.write_text(f"A_KEY=from-file\n# a comment\nexport B_KEY='{SECRET}${{HOME}}'\n")
    monkeypatch.setenv("A_KEY", "from-environment")
    expected = {"A_KEY": "from-environment", "B_KEY": SECRET + "${HOME}"}
    assert read_keys(["A_KEY", "B_KEY", "A_KEY"], env_file) == expected
    assert "B_KEY" not in os.environ


def test_empty_variable_counts_as_not_set(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env_file.write_text("A_KEY=from-file")
    monkeypatch.setenv("A_KEY", "")
    assert read_keys(["A_KEY"], env_file) == {"A_KEY": "from-file"}


def test_missing_keys_are_named_with_what_to_do(env_file: Path) -> None:
    match = r"environment variables A_KEY, B_KEY, which are not set; export A_KEY=\.\.\., or write "
    with pytest.raises(ConfigError, match=match):
        read_keys(["B_KEY", "A_KEY"], env_file)
    with pytest.raises(ConfigError, match=r"A_KEY, which are not set; export A_KEY=\.\.\.$"):
        read_keys(["A_KEY"], None)


@pytest.mark.parametrize("key", [SECRET + "\nX", SECRET + " b", "ключ" + SECRET, SECRET + "\x7f"])
def test_key_that_no_header_can_hold_is_refused_unseen(
    env_file: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("A_KEY", key)
    with pytest.raises(ConfigError, match="variable A_KEY: expected a key of printable") as caught:
        read_keys(["A_KEY"], env_file)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_blanks_around_a_key_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", f" {SECRET}\n")
    assert read_keys(["A_KEY"], None) == {"A_KEY": SECRET}


def test_env_file_of_other_bytes_is_refused_unseen(env_file: Path) -> None:
    env_file.write_bytes(f"A_KEY={SECRET}\xff".encode("latin-1"))
    with pytest.raises(ConfigError, match="expected lines NAME=value in UTF-8") as caught:
        read_keys(["A_KEY"], env_file)
    assert caught.value.__context__ is None


def test_env_file_without_dotenv_says_what_to_install(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_file.write_text("A_KEY=1")
    imported = builtins.__import__

    def without_dotenv(name: str, *args: Any) -> Any:
        if name == "dotenv":
            raise ModuleNotFoundError("no dotenv", name=name)
        return imported(name, *args)

    monkeypatch.setattr(builtins, "__import__", without_dotenv)
    with pytest.raises(MissingPackageError, match=r"need dotenv.*orchestai-env\[live\]"):
        read_keys(["A_KEY"], env_file)


KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)


@given(KEYS, st.data())
def test_no_long_piece_of_a_key_survives(key: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(key) - 1))
    piece = key[start : data.draw(st.integers(start + 1, len(key)))]
    before, after = data.draw(st.text(max_size=20)), data.draw(st.text(max_size=20))
    left = without_key(before + piece + after, key).replace(HIDDEN, "\n")
    size = min(8, len(key))
    assert not any(key[i : i + size] in left for i in range(len(key) - size + 1))


def test_texts_without_the_key_stay_as_they_are() -> None:
    text = "HTTP 401: incorrect key sk-*** provided"
    assert without_key(text, SECRET) == text == without_key(text, "")
    assert without_key(f"a {SECRET} b", SECRET) == f"a {HIDDEN} b"


def test_what_was_said_becomes_one_short_line() -> None:
    assert said(f"bad\n\n  key {SECRET}", SECRET) == f"bad key {HIDDEN}"
    assert len(said("x" * 10**6)) == 200
