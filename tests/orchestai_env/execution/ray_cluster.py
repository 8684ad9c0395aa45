"""A Ray cluster on this machine, for tests; `python -m` starts one until its input ends.

Each of its pretended machines is a raylet with cores and processes of its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]


@dataclasses.dataclass(frozen=True)
class RayCluster:
    """A cluster in a process of its own, which takes orders."""

    address: str
    logs: Path
    """Folder of all that it writes."""
    process: subprocess.Popen[str]

    def add_machines(self, count: int) -> set[str]:
        """Adds machines of one core each; returns their ids."""
        return set(_asked(self.process, f"add {count}").split())

    def kill_machine(self, machine: str) -> None:
        """Kills what holds a machine in the cluster; its processes end with it."""
        _asked(self.process, f"kill {machine}")


def _asked(process: subprocess.Popen[str], order: str) -> str:
    assert process.stdin is not None and process.stdout is not None
    print(order, file=process.stdin, flush=True)
    return process.stdout.readline().strip()


@contextlib.contextmanager
def ray_cluster(**environment: str) -> Iterator[RayCluster]:
    """Starts a cluster of one machine with two cores.

    Args:
        environment: variables of its processes, beside those of this one.
    """
    # Its sockets need a short path, shorter than those of pytest.
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.orchestai_env.execution.ray_cluster"],
            cwd=ROOT,
            env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": folder} | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            yield RayCluster(_asked(process, "address"), Path(folder), process)
        finally:
            process.communicate()


def _main() -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False}
    )
    machines: dict[str, Any] = {}
    for line in sys.stdin:
        match line.split():
            case ["address"]:
                print(cluster.address, flush=True)
            case ["add", count]:
                added = [cluster.add_node(num_cpus=1, wait=False) for _ in range(int(count))]
                cluster.wait_for_nodes()
                machines |= {machine.node_id: machine for machine in added}
                print(*(machine.node_id for machine in added), flush=True)
            case ["kill", name]:
                machines[name].kill_raylet()
                print("killed", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    _main()
