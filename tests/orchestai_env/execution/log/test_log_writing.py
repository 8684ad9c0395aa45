"""Where the system has no file locks, only writing a log is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestai_env.errors import OrchestAIError
from orchestai_env.execution.log.execution_log import ExecutionLogger

ROOT = Path(__file__).resolve().parents[4]

WITHOUT_LOCKS = """
import concurrent.futures.thread, logging, os, random, sys
del os.register_at_fork
sys.modules["fcntl"] = None
import orchestai_env.cli
"""


def test_log_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)

    with pytest.raises(OrchestAIError, match=r"needs the file locks of a POSIX system; on Windows"):
        ExecutionLogger(tmp_path / "logs")
    assert not (tmp_path / "logs").exists()


def test_commands_start_without_file_locks() -> None:
    """As on Windows, which has neither these locks nor forks."""
    subprocess.run([sys.executable, "-c", WITHOUT_LOCKS], cwd=ROOT, check=True)
