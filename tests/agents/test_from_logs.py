"""From logs to a better agent: the commands of docs/live.md, one after the other."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import yaml

from agents import train_phase2
from orchestai_env.cli import main
from orchestai_env.execution.log.log_reading import read_log
from orchestai_env.execution.log.record import ExecutionRecord
from orchestai_env.execution.workers.worker import Answer, CallRequest, Usage
from tests.entry_points import OURS, declare

TYPES = ("coding", "math")
SUCCESS = {"small": {"coding": 0.2, "math": 0.9}, "large": {"coding": 0.9, "math": 0.9}}
TOKENS = {"small": 20, "large": 200}
USD_PER_MTOK = 10.0
REWARDS = {"success_weight": 10.0, "cost_weight": 1000.0, "latency_weight": 0.0}


def small(request: CallRequest) -> Answer:
    """Does sums well, and is cheap."""
    return _answer("small", request)


def large(request: CallRequest) -> Answer:
    """Does everything well, and is dear."""
    return _answer("large", request)


def _answer(name: str, request: CallRequest) -> Answer:
    """Answers by luck that hangs on the call alone."""
    time.sleep(0.001)
    call = f"{name}/{request.workflow_id}/{request.index}/{request.attempt}"
    luck = int.from_bytes(hashlib.blake2b(call.encode(), digest_size=4).digest()) / 2**32
    text = "done" if luck < SUCCESS[name][request.task_type] else "sorry"
    return Answer(text=text, usage=Usage(input_tokens=100, output_tokens=TOKENS[name]))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns the folder of a user with two workers, large one first."""
    declare(OURS, tmp_path / "site", monkeypatch)
    monkeypatch.chdir(tmp_path)
    workers = [
        {
            "name": name,
            "backend": "function",
            "function": f"{__name__}:{name}",
            "output_usd_per_mtok": USD_PER_MTOK,
            "max_output_tokens": 300,
        }
        for name in ("small", "large")[::-1]
    ]
    training = {"total_timesteps": 12_000, "learning_rate": 3.0e-3, "normalize_reward": True}
    quick = {"evaluation_workflows": 100, "num_evaluations": 4, "n_epochs": 4}
    write(tmp_path / "workers.yaml", {"workers": workers})
    write(tmp_path / "checks.yaml", {"default": {"kind": "exact_match", "expected": "done"}})
    write(tmp_path / "rewards.yaml", REWARDS)
    write(
        tmp_path / "mine.yaml",
        {
            "worker_models": "simulated.yaml",
            "planner": {"kind": "annotated", "max_subtasks": 6},
            "system": {"deadline_ms": 300_000.0, "device": "cpu"},
            "training": {"policy": {"hidden": 16}, "phase2_rl": training | quick},
            "benchmark": {"profiles": {"mine": "rewards.yaml"}},
        },
    )
    return tmp_path


def write(path: Path, data: Mapping[str, object]) -> None:
    path.write_text(yaml.safe_dump(dict(data)))


def collect(folder: Path, count: int, *options: str) -> list[ExecutionRecord]:
    """Runs `orchestai collect` and returns what it logged."""
    files = ["--workers", "workers.yaml", "--checks", "checks.yaml", "--task_types", *TYPES]
    main(
        [
            *("collect", "--num_executions", str(count), "--output_dir", str(folder)),
            *files,
            *options,
        ]
    )
    return list(read_log(folder))


def mean_return(records: list[ExecutionRecord]) -> float:
    """Returns what the executions earned on average, under REWARDS."""
    return float(np.mean([10.0 * record.success - 1000.0 * record.cost for record in records]))


@pytest.mark.slow
def test_agent_trained_on_a_calibrated_simulator_earns_more_of_the_real_workers(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Served workflows: random workers earn 1.5, small alone 1.2, large alone -0.1, and the best
    rule by task type, small for sums and large for code, 4.6. The collection at random earns 1.3.
    """
    random = collect(folder / "logs", 200, "--chooser", "random")
    main(["calibrate", "--logs", "logs", "--output", "simulated.yaml"])
    options = ["--config", "mine.yaml", "--profile", "mine", "--output_dir", "runs", "--quiet"]
    train_phase2.main(options)
    capsys.readouterr()
    trained = ["--chooser", "runs/phase2_best.zip", "--known", "simulated.yaml"]
    served = collect(folder / "served", 100, *trained, "--seed", "1")

    assert {record.agent.split()[0] for record in served} == {"phase2_best.zip"}
    assert mean_return(served) > mean_return(random) + 2.0
