"""docs/live.md runs as it stands: its files, its commands and its Python."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.config import load_experiment
from orchestai_env import cli
from orchestai_env.execution.log.log_reading import read_log
from tests.orchestai_env.execution.openai_server import OpenAIServer, SeenRequest

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "live.md").read_text(encoding="utf-8")
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
NUM_EXECUTIONS = 30
"""Collected here, in place of the page's 200."""


def blocks(kind: str) -> list[str]:
    return [body for found, body in BLOCKS if found == kind]


def commands(start: str) -> list[list[str]]:
    """Commands of the page that start so, as words."""
    lines = [line for body in blocks("sh") for line in body.replace("\\\n", " ").splitlines()]
    return [shlex.split(line) for line in lines if line.startswith(start)]


def answer(request: SeenRequest) -> str:
    """Answers sums, judges and everything else in a way that the page's checks accept."""
    return "0.9" if "Rate how well" in request.text else "7"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the files that the page says to save, and a server in place of endpoints."""
    workers, checks, redaction, _ = blocks("yaml")
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "sums.py").write_text(blocks("python")[0])
    (package / "checks.py").write_text(blocks("python")[1])
    (tmp_path / "checks.yaml").write_text(checks)
    (tmp_path / "redaction.yaml").write_text(redaction)
    (tmp_path / "workflows.jsonl").write_text(blocks("json")[0])
    shutil.copytree(ROOT / "configs" / "rewards", tmp_path / "configs" / "rewards")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    with OpenAIServer(answer=answer) as server:
        local, count = re.subn(r"https?://\S+/v1", server.base_url, workers)
        assert count == 2
        (tmp_path / "workers.yaml").write_text(local)
        yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        del sys.modules[name]


def run(words: list[str]) -> None:
    """Runs a command of the page, with fewer executions."""
    assert words[0] == "orchestai"
    cli.main([str(NUM_EXECUTIONS) if word == "200" else word for word in words[1:]])


def test_an_instruction_is_executed_by_command_and_from_python(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(commands("orchestai run")[0])
    assert "workflow 0: succeeded" in capsys.readouterr().out
    (record,) = read_log(folder / "logs")
    assert record.success

    exec(compile(blocks("python")[2], "docs/live.md", "exec"), {})
    assert capsys.readouterr().out.startswith("True ")


def test_the_environment_plays_the_workflow(folder: Path) -> None:
    names: dict[str, object] = {}
    code = f"""{blocks("python")[3]}
obs, info = env.reset(seed=0)
ended = False
while not ended:
    action = obs["action_mask"].argmax()
    obs, reward, terminated, truncated, info = env.step(action)
    ended = terminated or truncated
env.close()
"""
    exec(compile(code, "docs/live.md", "exec"), names)

    info = names["info"]
    assert isinstance(info, dict)
    assert info["is_success"]


def test_a_log_becomes_data_and_a_simulator_to_train_on(folder: Path) -> None:
    run(commands("orchestai collect")[0])
    assert len(list(read_log(folder / "logs"))) == NUM_EXECUTIONS

    for start in ("orchestai prepare", "orchestai import-recorded", "orchestai calibrate"):
        run(commands(start)[0])
    assert (folder / "runs" / "live_recorded" / "dataset.json").is_file()
    assert (folder / "simulated_report" / "report.md").is_file()

    (folder / "live.yaml").write_text(blocks("yaml")[3])
    shutil.copy(folder / "configs" / "rewards" / "balanced.yaml", folder / "rewards.yaml")
    config = load_experiment(folder / "live.yaml")
    assert config.worker_models
    assert config.benchmark.profiles.keys() == {"mine"}


def test_redaction_keeps_outputs_out_of_the_log(folder: Path) -> None:
    run([*commands("orchestai run")[0], "--redaction", "redaction.yaml"])

    (record,) = read_log(folder / "logs")
    assert record.instruction == "Write the report"
    assert record.execution_result.outputs == {}
