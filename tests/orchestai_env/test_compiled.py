"""The cache of compiled code: where it lies, and what happens where none can be written."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numba
import pytest

import orchestai_env
from orchestai_env.compiled import PLAIN_PACKAGES, _cache_folder, compiled


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


@pytest.mark.parametrize(("folder", "counts"), [("oracle", True), (PLAIN_PACKAGES[0], False)])
def test_cache_folder_changes_with_any_source_that_may_be_compiled(
    folder: str, counts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package"
    (package / folder).mkdir(parents=True)
    (package / "compiled.py").write_text("a = 1")
    (package / folder / "callee.py").write_text("b = 1")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("orchestai_env.compiled.__file__", str(package / "compiled.py"))
    before = _cache_folder()
    assert _cache_folder() == before
    (package / folder / "callee.py").write_text("b = 2")

    assert (_cache_folder() != before) == counts


def test_nothing_compiled_reads_the_packages_whose_edits_do_not_count() -> None:
    root = Path(orchestai_env.__file__).parent
    for source in root.rglob("*.py"):
        text = source.read_text(encoding="utf-8")
        is_plain = source.relative_to(root).parts[0] in PLAIN_PACKAGES
        if "from orchestai_env.compiled import" in text:
            assert not is_plain, source
            for name in PLAIN_PACKAGES:
                assert f"orchestai_env.{name}." not in text, (source, name)


def test_compiled_leaves_numbas_own_cache_setting_alone() -> None:
    before = numba.config.CACHE_DIR  # type: ignore[attr-defined]
    compiled(lambda x: x)

    assert numba.config.CACHE_DIR == before  # type: ignore[attr-defined]
