"""`orchestai run` with a trained planner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from orchestai_env.cli import main
from orchestai_env.execution.log.log_reading import read_log
from supervised.planner.checkpoint import PLANNER_KEY, planner_state
from tests.entry_points import OURS, declare
from tests.orchestai_env.execution.known import calibrated, worker
from tests.supervised.small_planners import small_planner, tiny_encoder, tiny_grammar

FUNCTION = "tests.orchestai_env.execution.live_functions:good"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a folder with a worker and a planner."""
    declare(OURS, tmp_path / "site", monkeypatch)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workers.yaml").write_text(
        f"workers:\n  - {{name: good, backend: function, function: '{FUNCTION}'}}\n"
    )
    (tmp_path / "encoder").mkdir()
    model = small_planner(tiny_grammar(16, 0), tiny_encoder(tmp_path / "encoder"))
    data = {PLANNER_KEY: planner_state(model), "model_state_dict": model.state_dict()}
    torch.save(data, tmp_path / "planner.pth")
    return tmp_path


def command(planner: str, *options: str) -> list[str]:
    return ["run", "draw a map", "--workers", "workers.yaml", "--planner", planner, *options]


def test_planner_of_a_file_plans(folder: Path) -> None:
    main(command("planner.pth", "--log", "logs"))
    (record,) = read_log(folder / "logs")

    assert record.planner == "learned"
    assert record.instruction == "draw a map"
    assert set(record.planner_outputs.task_types) <= set(tiny_grammar(16, 0).vocabulary.task_types)


@pytest.mark.parametrize(
    ("planner", "message"),
    [
        ("none.pth", "--planner none.pth: no such file"),
        ("nobody", "--planner: unknown worker 'nobody'. Did you mean 'good'? Known: good; or name"),
        ("workers.yaml", "no installed package reads .yaml files as planners (they read: .pth)"),
    ],
)
def test_planner_that_is_none_is_refused(
    planner: str, message: str, folder: Path, refused: Any
) -> None:
    assert message in refused(main, *command(planner))


def test_checkpoint_without_a_planner_is_refused(folder: Path, refused: Any) -> None:
    torch.save({"epoch": 1}, folder / "other.pth")

    assert "other.pth: holds no planner" in refused(main, *command("other.pth"))


def test_planner_of_types_that_are_not_known_is_refused(folder: Path, refused: Any) -> None:
    calibrated(folder, worker("good"))
    line = refused(main, *command("planner.pth", "--known", "simulated.yaml"))

    assert "nothing is known of its calls" in line
