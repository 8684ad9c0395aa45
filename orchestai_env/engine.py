"""Engine: where independent work runs, in processes of this machine or on a Ray cluster.

On a cluster of several machines the checkout and every folder that the work reads or writes are at
one path on all of them, on a shared disk.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import platform
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar, get_args

from orchestai_env.errors import ConfigError, MissingPackageError, OrchestAIError

P = ParamSpec("P")
T = TypeVar("T")
Engine = Literal["local", "ray"]
ENGINES: tuple[Engine, ...] = get_args(Engine)
_CONNECT_S = 10.0


class WorkerDiedError(OrchestAIError):
    """A process that worked for a command was killed or crashed."""


@contextlib.contextmanager
def open_executor(
    engine: Engine,
    num_jobs: int,
    start: Callable[..., None],
    args: tuple[Any, ...],
    *,
    num_retries: int = 3,
) -> Iterator[Executor]:
    """Opens an executor of module-level functions; leaving the block cancels what still waits.

    Args:
        engine: local = processes of this machine; ray = the cluster that the environment variable
            RAY_ADDRESS names, all of its cores; without that a Ray of this machine.
        num_jobs: processes on this machine.
        start: runs once in every process that works, before anything else does.
        args: of `start`; sent to each machine once.
        num_retries: how often Ray repeats a task whose process died; processes of this machine are
            not replaced.
    Raises:
        MissingPackageError: Ray is not installed.
        ConfigError: there is no cluster at that address.
        WorkerDiedError: a process died; raised when the block is left.
    """
    try:
        if engine == "local":
            with _process_pool(num_jobs, start, args) as pool:
                yield pool
        else:
            with (
                _ray_session(num_jobs),
                closing_executor(_RayExecutor(start, args, num_retries)) as pool,
            ):
                yield pool
    except BrokenExecutor:
        raise WorkerDiedError(
            "a worker process died (killed by hand, or is memory short?); what finished is kept: "
            "run the same command again to go on from there"
        ) from None


@contextlib.contextmanager
def _process_pool(
    num_jobs: int, start: Callable[..., None], args: tuple[Any, ...]
) -> Iterator[Executor]:
    others = set(multiprocessing.active_children())
    spawn = multiprocessing.get_context("spawn")
    with closing_executor(ProcessPoolExecutor(num_jobs, spawn, start, args)) as pool:
        try:
            yield pool
        except BaseException:  # to wait for what runs would only be in the way, of Ctrl-C say
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            raise


@contextlib.contextmanager
def closing_executor(pool: Executor) -> Iterator[Executor]:
    """Ends an executor when the block is left: what waits is cancelled, what runs is awaited."""
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _ray_session(num_jobs: int) -> Iterator[None]:
    """Connects to Ray where this process is not connected yet, and then disconnects at the end."""
    ray = _import_ray()
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    # "local": without it Ray would join whatever cluster was started on this machine.
    own = {"address": "local", "num_cpus": num_jobs, "include_dashboard": False}
    try:
        _reach(address or "")
        place = {"address": address} if address else own
        ray.init(**place, logging_level="ERROR", log_to_driver=False)
    except (OSError, ValueError, RuntimeError) as error:
        where = f"RAY_ADDRESS {address}" if address else "ray"
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"{where}: {reason}; start the cluster with `ray start --head`, or use --engine local"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def num_ray_cores() -> int:
    """Returns how many cores the cluster has, inside a block of `open_executor` on Ray."""
    return max(1, int(_import_ray().cluster_resources().get("CPU", 1)))


def _reach(address: str) -> None:
    """Tries to reach host:port or ray://host:port at all: Ray itself would try for long minutes.

    Raises:
        OSError: nobody answers there.
    """
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), _CONNECT_S).close()


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # work calls nobody up
    # 0: tasks see the GPUs of their machine, as local processes do; 1, Ray's default, hides them.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise MissingPackageError(
            "the engine ray is optional and not installed; install it with pip install "
            '"orchestai-env[ray]", or use --engine local'
        ) from None
    return ray


class _RayExecutor(Executor):
    """An executor over Ray tasks, one core each."""

    def __init__(self, start: Callable[..., None], args: tuple[Any, ...], num_retries: int) -> None:
        self._ray = _import_ray()
        self._start = self._ray.put((os.urandom(8), Path.cwd(), start, args))
        self._call = self._ray.remote(num_cpus=1, max_retries=num_retries)(_call)
        self._waiting: set[Any] = set()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        reference = self._call.remote(self._start, functools.partial(fn, *args, **kwargs))
        self._waiting.add(reference)
        found: Future[T] = Future()
        reference.future().add_done_callback(functools.partial(self._pass_on, reference, found))
        return found

    def _pass_on(self, reference: Any, found: Future[Any], done: Future[Any]) -> None:
        """Hands a finished task's result or error on as those of a local process."""
        self._waiting.discard(reference)
        if not found.set_running_or_notify_cancel():
            return
        error = done.exception()
        if error is None:
            found.set_result(done.result())
        elif isinstance(error, self._ray.exceptions.RayTaskError):
            found.set_exception(error.cause)
        elif isinstance(error, self._ray.exceptions.RayError):
            found.set_exception(BrokenExecutor(str(error)))
        else:
            found.set_exception(error)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        waiting = list(self._waiting)
        if cancel_futures:
            for reference in waiting:
                self._ray.cancel(reference)
        if wait and waiting:
            self._ray.wait(waiting, num_returns=len(waiting))


_started: bytes | None = None


def _call(started: tuple[bytes, Path, Callable[..., None], tuple[Any, ...]], task: Any) -> Any:
    """Runs a task in a process of Ray, which may have worked for another executor before."""
    global _started  # one per process; Ray has no initializer
    key, folder, start, args = started
    if _started != key:
        if not folder.is_dir():
            raise ConfigError(
                f"{folder}: is not there on {platform.node()}; every machine of the cluster "
                "needs the checkout and the run folders at the same path, on a shared disk"
            )
        os.chdir(folder)
        start(*args)
        _started = key
    return task()
