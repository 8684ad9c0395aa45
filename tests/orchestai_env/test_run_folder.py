"""The lock on a run folder: one process at a time, freed however that process ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agents import tune_tables
from orchestai_env.errors import ConfigError
from orchestai_env.run_folder import RunFolderError, claim
from tests.tiny_config import write_config

HOLD = """
import sys
from pathlib import Path
from orchestai_env.run_folder import claim
with claim(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Starts another process that holds the folder `run` until it is killed."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_second_run_is_refused_in_one_line(
    tmp_path: Path, holder: subprocess.Popen[str], refused: Callable[..., str]
) -> None:
    config = write_config(tmp_path)

    line = refused(
        tune_tables.main, "--config", config, "--output_dir", tmp_path / "run", "--quiet"
    )

    assert f"{tmp_path / 'run'}: another run (pid {holder.pid} on " in line
    assert "wait for it, stop it, or name another --output_dir" in line
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_killed_run_frees_its_folder(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()

    with claim(tmp_path / "run"):
        pass


def test_folder_is_made_and_free_afterwards(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "run"
    for _ in range(2):
        with claim(folder):
            assert folder.is_dir()


def test_folder_inside_a_held_one_is_free(tmp_path: Path) -> None:
    with claim(tmp_path), claim(tmp_path / "seed0"):
        pass


def test_same_process_cannot_hold_a_folder_twice(tmp_path: Path) -> None:
    with claim(tmp_path), pytest.raises(RunFolderError, match="another run"), claim(tmp_path):
        pass


def test_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()

    with pytest.raises(ConfigError, match="expected a folder, got a file"), claim(path):
        pass
