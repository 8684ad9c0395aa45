"""`orchestai collect --engine ray`: the same collection, whichever process is killed."""

from __future__ import annotations

import collections
import importlib.util
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestai_env.cli import main
from orchestai_env.execution.calls.budget import sum_usd
from orchestai_env.execution.log.log_reading import read_log
from orchestai_env.execution.log.record import ExecutionRecord
from tests.orchestai_env.execution.openai_server import OpenAIServer
from tests.orchestai_env.execution.ray_cluster import RayCluster, ray_cluster

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="Ray is not installed (extra: ray)"
    ),
    pytest.mark.slow,
]
ROOT = Path(__file__).resolve().parents[4]
FUNCTIONS = "tests.orchestai_env.execution.live_functions"
SECRET = "sk-very-secret-1234567890"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    """Returns a cluster, which runs for all tests here."""
    killed = tmp_path_factory.mktemp("cluster") / "killed"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")  # nobody else may send it tasks
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(16))
        with ray_cluster(ORCHESTAI_TEST_KILLED=str(killed)) as found:
            yield found


@pytest.fixture(autouse=True)
def address(cluster: RayCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has commands use the cluster."""
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)


def workers(folder: Path, *functions: str) -> Path:
    """Returns a file of workers that are functions."""
    path = folder / "workers.yaml"
    lines = [
        f'  - {{name: {name}, backend: function, function: "{FUNCTIONS}:{name}", concurrency: 4, '
        "output_usd_per_mtok: 1000.0, max_output_tokens: 10}"
        for name in functions
    ]
    path.write_text("workers:\n" + "\n".join(lines) + "\n")
    return path


def command(workers: Path, count: int, *arguments: str) -> list[str]:
    """Returns the arguments of a collection into the folder `log` beside the file of workers."""
    return [
        *("collect", "--num_executions", str(count), "--output_dir", str(workers.parent / "log")),
        *("--workers", str(workers), "--task_types", "sums", "texts", "--chooser", "random"),
        *("--engine", "ray", *arguments),
    ]


def started(*arguments: str) -> subprocess.Popen[str]:
    """Starts a command in a process of its own."""
    code = "import sys; from orchestai_env.cli import main; main(sys.argv[1:])"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def records(folder: Path) -> list[ExecutionRecord]:
    """Returns what was logged; a torn line is no execution."""
    return list(read_log(folder, skip_bad=True))


def done(folder: Path) -> collections.Counter[str]:
    """Returns how often each execution was done."""
    return collections.Counter(one.execution_id for one in records(folder) if not one.interrupted)


def each_once(count: int) -> dict[str, int]:
    return {f"0-{i:08d}": 1 for i in range(count)}


def wait_for_more(folder: Path, num_before: int, process: subprocess.Popen[str]) -> None:
    """Waits until something new is in the log, or the process has ended."""
    deadline = time.monotonic() + 60.0
    while process.poll() is None:
        if list(folder.glob("*.jsonl")) and len(records(folder)) > num_before:
            return
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_ray_goes_on_where_another_engine_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, folder = workers(tmp_path, "good"), tmp_path / "log"
    main([*command(file, 5), "--engine", "local"])
    main(command(file, 40))
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"{folder}: 40 of 40 executions, 40 succeeded, ")
    assert f"{sum(one.cost for one in records(folder)):.4f} USD" in last
    main([*command(file, 45), "--engine", "local"])

    assert done(folder) == each_once(45)


def test_engines_ask_the_same_of_the_same_workers(tmp_path: Path) -> None:
    found = {}
    for engine in ("local", "ray"):
        place = tmp_path / engine
        place.mkdir()
        file = workers(place, "good", "slow")
        main([*command(file, 12), "--engine", engine])
        found[engine] = {
            one.execution_id: (
                one.instruction,
                one.planner_outputs.workflow_graph,
                one.decisions[0].worker,
                one.decisions[0].probabilities,
            )
            for one in records(place / "log")
        }
    assert found["ray"] == found["local"]


def test_limits_of_workers_hold_over_all_processes(tmp_path: Path, cluster: RayCluster) -> None:
    with OpenAIServer(latency_s=0.02) as server:
        file = tmp_path / "workers.yaml"
        file.write_text(
            f"workers:\n  - {{name: mini, model: m, base_url: {server.base_url}, concurrency: 3, "
            "api_key_env: ORCHESTAI_TEST_KEY}\n"
        )
        (tmp_path / ".env").write_text(f"ORCHESTAI_TEST_KEY={SECRET}\n")
        main(command(file, 20, "--num_parallel", "12"))
        assert 2 <= server.max_in_flight <= 3
        assert {one.headers["authorization"] for one in server.requests} == {f"Bearer {SECRET}"}
    assert done(tmp_path / "log") == each_once(20)
    written = [*cluster.logs.rglob("*"), *(tmp_path / "log").rglob("*")]
    texts = [path.read_bytes() for path in written if path.is_file() and not path.is_symlink()]
    assert texts
    assert not any(SECRET.encode() in text for text in texts)


def test_machine_without_a_key_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Any
) -> None:
    monkeypatch.setenv("ORCHESTAI_TEST_KEY", SECRET)  # here, but not where the tasks run
    file = tmp_path / "workers.yaml"
    file.write_text("workers: [{name: mini, model: m, api_key_env: ORCHESTAI_TEST_KEY}]\n")
    line = refused(main, *command(file, 4))
    assert f"in a task on {os.uname().nodename}: " in line
    assert "environment variables ORCHESTAI_TEST_KEY, which are not set" in line
    assert SECRET not in line


def test_budget_holds_over_all_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, folder = workers(tmp_path, "good"), tmp_path / "log"
    main(command(file, 60, "--budget_usd", "0.6"))
    assert "stopped at the budget of 0.6 USD" in capsys.readouterr().out
    found = records(folder)
    assert 0.6 - 0.05 < sum_usd(one.cost for one in found) <= 0.6
    assert any(one.interrupted for one in found)

    main(command(file, 60, "--budget_usd", "60"))
    assert done(folder) == each_once(60)


def test_killed_command_loses_and_repeats_nothing(tmp_path: Path) -> None:
    rng, file, folder = random.Random(0), workers(tmp_path, "slow"), tmp_path / "log"
    acknowledged: collections.Counter[str] = collections.Counter()
    for _ in range(3):
        process = started(*command(file, 60))
        wait_for_more(folder, len(records(folder)) if folder.is_dir() else 0, process)
        time.sleep(rng.uniform(0.0, 1.0))
        process.kill()
        process.communicate()
        assert acknowledged <= done(folder)
        acknowledged = done(folder)
    main(command(file, 60))  # at once: tasks of the last one may still run

    assert done(folder) == each_once(60)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_command_logs_what_ran(tmp_path: Path, number: int, code: int) -> None:
    file, folder = workers(tmp_path, "slow"), tmp_path / "log"
    process = started(*command(file, 500))
    wait_for_more(folder, 8, process)  # the first ones wait for the compiler
    process.send_signal(number)
    _, err = process.communicate(timeout=60)

    assert process.returncode == code, err
    found = list(read_log(folder))  # every line is whole
    num_interrupted = sum(one.interrupted for one in found)
    assert 1 <= num_interrupted <= 8
    assert err.startswith(f"{folder}: {done(folder).total()} of 500 executions, ")
    assert f"{num_interrupted} interrupted in this run; stopped, the same command" in err
    assert err.count("\n") == 1
    assert set(done(folder).values()) == {1}


def test_batch_of_a_killed_process_is_done_again_but_for_what_is_logged(tmp_path: Path) -> None:
    file, folder = workers(tmp_path, "good", "fatal_once"), tmp_path / "log"
    main(command(file, 40))
    assert done(folder) == each_once(40)


def test_processes_that_always_die_end_the_collection(tmp_path: Path, refused: Any) -> None:
    line = refused(main, *command(workers(tmp_path, "fatal"), 4))
    assert "a worker process died" in line
    assert "run the same command again" in line


def test_machine_that_dies_costs_neither_executions_nor_more_money(
    tmp_path: Path, cluster: RayCluster
) -> None:
    machines = cluster.add_machines(2)
    file, folder = workers(tmp_path, "where"), tmp_path / "log"
    process = started(*command(file, 100, "--budget_usd", "3"))
    deadline = time.monotonic() + 60.0
    while not (at_work := machines & places(folder)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    cluster.kill_machine(at_work.pop())
    _, err = process.communicate(timeout=60)

    assert process.returncode == 0, err
    found = records(folder)
    assert 3.0 - 0.1 < sum_usd(one.cost for one in found) <= 3.0
    assert set(done(folder).values()) == {1}
    assert len(places(folder)) == 3
    main([*command(file, 100), "--engine", "local"])
    assert done(folder) == each_once(100)


def places(folder: Path) -> set[str]:
    """Returns the machines that outputs name."""
    if not list(folder.glob("*.jsonl")):
        return set()
    return {text for one in records(folder) for text in one.execution_result.outputs.values()}
