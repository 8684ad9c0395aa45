"""A Ray cluster of this machine, for tests; `python -m` starts one until its input ends."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


@contextlib.contextmanager
def ray_cluster(**environment: str) -> Iterator[tuple[str, Path]]:
    """Starts a cluster of two cores; yields its address, and the folder of its logs.

    Args:
        environment: variables of its processes, beside those of this one.
    """
    # Its sockets need a short path, shorter than those of pytest.
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.orchestai_env.execution.ray_cluster", folder],
            cwd=ROOT,
            env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"} | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdin is not None and process.stdout is not None
        try:
            yield process.stdout.readline().strip(), Path(folder)
        finally:
            process.stdin.close()
            process.wait()
            process.stdout.close()


def _main(folder: str) -> None:
    import ray

    ray.init(num_cpus=2, include_dashboard=False, _temp_dir=folder, logging_level=logging.ERROR)
    print(ray.get_runtime_context().gcs_address, flush=True)
    sys.stdin.read()
    ray.shutdown()


if __name__ == "__main__":
    _main(sys.argv[1])
