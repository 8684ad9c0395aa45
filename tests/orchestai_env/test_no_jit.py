"""Without compilation the environment is plain Python, and does the same to the last bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.orchestai_env.trajectory import trajectory

ROOT = Path(__file__).resolve().parents[2]


def test_plain_python_plays_the_same_trajectory_without_a_warning() -> None:
    process = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.orchestai_env.trajectory"],
        cwd=ROOT,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.stderr == ""
    lines = process.stdout.splitlines()
    assert len(lines) == 160
    for number, (plain, compiled) in enumerate(zip(lines, trajectory(), strict=True)):
        assert plain == compiled, f"step {number}"
