"""The cache of compiled code: where it lies, and what happens where none can be written."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numba
import pytest

from orchestai_env.compiled import _cache_folder, compiled


@pytest.mark.parametrize("variable", ["NUMBA_CACHE_DIR", "XDG_CACHE_HOME"])
def test_cache_folder_lies_where_the_environment_says(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    folder = Path(_cache_folder())

    assert folder.is_dir()
    assert folder.parent == tmp_path / "orchestai"


def test_cache_folder_falls_back_to_the_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("no folder can be made in here")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(blocker))

    assert Path(_cache_folder()).parent == Path(tempfile.gettempdir())


def test_cache_folder_changes_with_any_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package"
    (package / "deep").mkdir(parents=True)
    (package / "compiled.py").write_text("a = 1")
    (package / "deep" / "callee.py").write_text("b = 1")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("orchestai_env.compiled.__file__", str(package / "compiled.py"))
    before = _cache_folder()
    assert _cache_folder() == before
    (package / "deep" / "callee.py").write_text("b = 2")

    assert _cache_folder() != before


def test_compiled_leaves_numbas_own_cache_setting_alone() -> None:
    before = numba.config.CACHE_DIR  # type: ignore[attr-defined]
    compiled(lambda x: x)

    assert numba.config.CACHE_DIR == before  # type: ignore[attr-defined]
