"""Engines: processes that start once, and one clear error where one of them dies."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from orchestai_env.engine import Engine, WorkerDiedError, num_ray_cores, open_executor
from orchestai_env.errors import ConfigError, MissingPackageError

ray_only = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed (extra: ray)"
)
ENGINES = ["local", pytest.param("ray", marks=[ray_only, pytest.mark.slow])]

_base = 0
_starts = 0


def start(base: int) -> None:
    global _base, _starts
    _base = base
    _starts += 1


def add(value: int) -> tuple[int, int]:
    return _base + value, _starts


def fail(value: int) -> None:
    raise ConfigError(f"{value} is too much")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(path: Path) -> bool:
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return True
    os.kill(os.getpid(), signal.SIGKILL)
    return False


def touch(path: Path) -> None:
    path.touch()


def folder() -> Path:
    return Path.cwd()


@pytest.mark.parametrize("engine", ENGINES)
def test_tasks_run_in_processes_that_started_once(engine: Engine) -> None:
    with open_executor(engine, 2, start, (10,)) as pool:
        futures = [pool.submit(add, value) for value in range(4)]
        found = [future.result() for future in futures]

        assert found == [(10, 1), (11, 1), (12, 1), (13, 1)]
        assert pool.submit(folder).result() == Path.cwd()
        with pytest.raises(ConfigError, match=r"^7 is too much$"):
            pool.submit(fail, 7).result()
    assert _starts == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_death_of_a_process_is_one_clear_error(engine: Engine) -> None:
    with (
        pytest.raises(WorkerDiedError, match=r"what finished is kept.*same command again"),
        open_executor(engine, 1, start, (0,)) as pool,
    ):
        pool.submit(die).result()


@ray_only
@pytest.mark.slow
def test_ray_repeats_a_task_as_often_as_it_is_told(tmp_path: Path) -> None:
    with open_executor("ray", 1, start, (0,)) as pool:
        assert pool.submit(die_once, tmp_path / "one").result()
        assert num_ray_cores() == 1
    with (
        pytest.raises(WorkerDiedError),
        open_executor("ray", 1, start, (0,), num_retries=0) as pool,
    ):
        pool.submit(die_once, tmp_path / "two").result()


def test_missing_ray_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)

    with (
        pytest.raises(MissingPackageError, match=r"pip install \"orchestai-env\[ray\]\""),
        open_executor("ray", 1, start, (0,)),
    ):
        pass


@ray_only
@pytest.mark.slow
def test_cluster_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")

    with (
        pytest.raises(ConfigError, match=r"RAY_ADDRESS 127.0.0.1:1: .*ray start --head"),
        open_executor("ray", 1, start, (0,)),
    ):
        pass


@ray_only
@pytest.mark.slow
def test_cluster_that_nobody_named_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with tempfile.TemporaryDirectory(prefix="ray") as name:  # sockets need a short path
        monkeypatch.setenv("RAY_TMPDIR", name)
        (Path(name) / "ray").mkdir()
        # As `ray start --head` leaves it.
        (Path(name) / "ray" / "ray_current_cluster").write_text("127.0.0.1:1")

        with open_executor("ray", 1, start, (0,)) as pool:
            assert pool.submit(add, 1).result() == (1, 1)


def test_error_inside_the_block_drops_what_waits(tmp_path: Path) -> None:
    with pytest.raises(KeyError), open_executor("local", 1, start, (0,)) as pool:
        futures = [pool.submit(touch, tmp_path / str(i)) for i in range(50)]
        raise KeyError

    assert futures[-1].done()
    assert not (tmp_path / "49").exists()
