"""Runs the commands and evaluations of a study in the test's own process, without new imports."""

from __future__ import annotations

import contextlib
import importlib
import subprocess
import types
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agents.benchmark import contest, jobs


class InProcess:
    """Runs the jobs' commands where it is called, and notes their modules and arguments."""

    def __init__(self) -> None:
        self.modules: list[str] = []
        self.arguments: list[list[str]] = []
        self.failing: Path | None = None
        """Output folder whose command fails."""

    def __call__(self, command: list[str], *, stdout: Any, **_: Any) -> Any:
        _python, _m, module, *arguments = command
        self.modules.append(module)
        self.arguments.append(arguments)
        if str(self.failing) in arguments:
            stdout.write("error: a loss is not finite")
            return subprocess.CompletedProcess(command, 2)
        with contextlib.redirect_stdout(stdout):
            importlib.import_module(module).main(arguments)
        return subprocess.CompletedProcess(command, 0)


@contextlib.contextmanager
def one_thread(
    _engine: str, _num_jobs: int, start: Callable[..., None], args: tuple[Any, ...]
) -> Iterator[Executor]:
    """Stands in for open_executor."""
    with ThreadPoolExecutor(1, "evaluate", start, args) as pool:
        yield pool


@contextlib.contextmanager
def in_process() -> Iterator[InProcess]:
    """Puts both in place."""
    with pytest.MonkeyPatch.context() as patch:
        runner = InProcess()
        only_run = types.SimpleNamespace(run=runner, STDOUT=subprocess.STDOUT)
        patch.setattr(jobs, "subprocess", only_run)
        patch.setattr(contest, "open_executor", one_thread)
        yield runner
