"""`compiled`: numba compilation with an on-disk cache that notices every edit of the package."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

PLAIN_PACKAGES = ("datasets", "execution", "planning", "render")
"""Packages of which nothing is compiled, nor read by what is; their edits recompile nothing."""


def _cache_folder() -> str:
    """Returns a writable folder named by the sources of all that is compiled.

    numba checks only the file of the cached function, so an edited callee in another file would
    be missed; a folder per state of all sources cannot be stale.
    """
    digest, package = hashlib.sha256(), Path(__file__).parent
    for source in sorted(package.rglob("*.py")):
        if source.relative_to(package).parts[0] not in PLAIN_PACKAGES:
            digest.update(source.read_bytes())
    base = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    root = Path(base) if base else Path.home() / ".cache"
    folder = root / "orchestai" / digest.hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return str(folder)
    except OSError:
        pass  # a read-only home: compile anew in each process tree
    return str(Path(tempfile.gettempdir()) / f"orchestai-{os.getuid()}-{folder.name}")


_FOLDER = _cache_folder()
_OPTIONS: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "error_model": "numpy",
    "forceinline": True,
    "_nrt": False,
}


def compiled(function: Function) -> Function:
    """Compiles a function at its first call; with NUMBA_DISABLE_JIT=1 it stays plain Python.

    Inlined wherever it is called (forceinline): a call that is not passes every array of every
    record on the stack, which took three quarters of a step. Without numba's reference counts
    (_nrt=False): the functions only read and write arrays that their caller holds, and counting
    every view costs several times the work itself. So a compiled function must not allocate.
    """
    return _compile(function, **_OPTIONS)


def inlined(function: Function) -> Function:
    """Compiles a function that only compiled functions call, which halves the time to compile.

    It has no form that Python can call: doing so ends the process.
    """
    return _compile(function, **_OPTIONS, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def _compile(function: Function, **options: Any) -> Function:
    config: Any = numba.config
    before = config.CACHE_DIR
    config.CACHE_DIR = _FOLDER
    try:
        return cast(Function, numba.njit(**options)(function))
    finally:
        config.CACHE_DIR = before
