"""`orchestai run` and `collect` with a trained chooser."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.agent import Setting
from orchestai_env.cli import main
from orchestai_env.execution.live_arguments import contents
from orchestai_env.execution.live_setup import known_workers
from orchestai_env.execution.log.log_reading import read_log
from orchestai_env.execution.log.record import ExecutionRecord
from orchestai_env.rules import EpisodeRules
from tests.agents.problems import WEIGHTS
from tests.agents.saved_models import model_of, ours, save
from tests.entry_points import OURS, declare
from tests.orchestai_env.execution.known import calibrated, worker

FUNCTIONS = "tests.orchestai_env.execution.live_functions"
WORKERS = f"""
workers:
  - {{name: good, backend: function, function: "{FUNCTIONS}:good"}}
  - {{name: bad, backend: function, function: "{FUNCTIONS}:bad", max_tries: 1}}
"""
PLAN = [{"name": "find it", "type": "math"}, {"name": "tell it", "type": "summary"}]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a folder of workers, workflows, a calibrated simulator and a policy for it."""
    declare(OURS, tmp_path / "site", monkeypatch)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workers.yaml").write_text(WORKERS)
    workflow = {"id": "a", "instruction": "Say it", "subtasks": PLAN, "links": [[0, 1]]}
    longer = workflow | {"id": "b", "instruction": "Say more", "subtasks": PLAN * 11}
    lines = [json.dumps(one) + "\n" for one in (workflow, longer)]
    (tmp_path / "workflows.jsonl").write_text(lines[0])
    (tmp_path / "longer.jsonl").write_text("".join(lines))
    unsure = dict.fromkeys(("coding", "math", "summary"), (0.2, 200.0))
    # Sorted by name, as `orchestai calibrate` does.
    calibrated(tmp_path, worker("bad", skills=unsure), worker("good"))
    ours(setting(tmp_path), tmp_path)
    return tmp_path


def setting(folder: Path, *names: str) -> Setting:
    """Returns what the policy was trained for."""
    dataset = known_workers(folder / "simulated.yaml")
    return Setting(
        dataset=dataset.with_workers(names or dataset.pool.names),
        rules=EpisodeRules(max_attempts=2),
        weights=WEIGHTS,
    )


def command(*changes: str) -> list[str]:
    """Returns a command that executes the one workflow; later options go before earlier ones."""
    files = ["--workers", "workers.yaml", "--workflows", "workflows.jsonl"]
    return ["run", "Say it", *files, "--log", "logs", *changes]


TRAINED = ("--chooser", "model.zip", "--known", "simulated.yaml")


def logged(folder: Path) -> list[ExecutionRecord]:
    return list(read_log(folder / "logs"))


def test_zip_chooses_and_is_named_in_the_log(folder: Path) -> None:
    main(command(*TRAINED))
    (record,) = logged(folder)

    assert record.agent.startswith("model.zip ")
    assert len(record.agent) == len("model.zip ") + 12
    for decision in record.decisions:
        assert decision.probabilities is not None
        assert sorted(decision.probabilities.values()) == [0.0, 1.0]
        assert decision.probabilities[decision.worker] == 1.0


@pytest.mark.parametrize(("option", "expected"), [((), 2), (("--max_attempts", "1"), 1)])
def test_rules_are_those_of_the_training_unless_given(
    option: tuple[str, ...], expected: int, folder: Path
) -> None:
    one_bad = WORKERS.replace("name: good", "name: other").replace(":good", ":bad")
    (folder / "workers.yaml").write_text(one_bad.replace("name: other", "name: good"))
    main(command(*TRAINED, *option))
    (record,) = logged(folder)

    assert not record.success
    assert [decision.subtask for decision in record.decisions] == [0] * expected


def test_collection_draws_by_the_policy_and_explores(folder: Path) -> None:
    files = ["--workers", "workers.yaml", "--workflows", "workflows.jsonl"]
    chosen = [*TRAINED, "--sample", "--exploration", "0.2"]
    main(["collect", "--num_executions", "6", "--output_dir", "logs", *files, *chosen])

    found = [d.probabilities for record in logged(folder) for d in record.decisions]
    assert len(found) >= 6
    for chances in found:
        assert chances is not None
        assert sum(chances.values()) == pytest.approx(1.0)
        assert 0.1 < min(chances.values()) < max(chances.values()) < 0.9


def test_memory_of_one_execution_stays_out_of_the_others(folder: Path) -> None:
    turned = setting(folder, "good", "bad")
    save(model_of("RecurrentPPO", turned), turned, folder)
    files = ["--workers", "workers.yaml", "--workflows", "workflows.jsonl"]
    chosen = [*TRAINED, "--sample", "--num_parallel", "3"]
    main(["collect", "--num_executions", "9", "--output_dir", "logs", *files, *chosen])

    first = [tuple((record.decisions[0].probabilities or {}).values()) for record in logged(folder)]
    np.testing.assert_allclose(first, [first[0]] * 9, rtol=1e-6)
    second = [d for record in logged(folder) for d in record.decisions[1:]]
    assert any(tuple((d.probabilities or {}).values()) != first[0] for d in second)


def test_collections_tell_by_its_content_what_has_chosen(folder: Path) -> None:
    args = argparse.Namespace(chooser="model.zip", known=Path("simulated.yaml"), planner="good")
    before = contents(args)
    with (folder / "model.zip").open("ab") as file:
        file.write(b" ")

    assert set(before) == {"chooser", "known"}
    assert before["known"].startswith("simulated.yaml ")
    assert contents(args)["known"] == before["known"]
    assert contents(args)["chooser"] != before["chooser"]
    assert contents(argparse.Namespace(chooser="greedy", known=None, planner=None)) == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("--chooser", "none.zip"), "--chooser none.zip: no such file; check the path"),
        (("--chooser", "greedie"), "unknown chooser 'greedie'. Did you mean 'greedy'?"),
        (("--chooser", "workers.yaml"), "reads .yaml files as choosers (they read: .pth, .zip)"),
        (("--chooser", "model.zip"), "--chooser model.zip: expected --known"),
        (("--sample",), "--sample: expected the file of a trained chooser, got the rule 'greedy'"),
        (("--known", "workers.yaml"), "expected the file that `orchestai calibrate` writes"),
        (("--known", "none.yaml"), "none.yaml: no such settings file"),
        ((*TRAINED, "--max_attempts", "0"), "rules.max_attempts"),
    ],
)
def test_wrong_options_are_refused(
    changes: tuple[str, ...], message: str, folder: Path, refused: Any
) -> None:
    assert message in refused(main, *command(*changes))


def test_training_packages_that_are_missing_are_named(
    folder: Path, refused: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "agents.live", None)
    line = refused(main, *command(*TRAINED))

    assert "agents.live:read_chooser reads it, and cannot be imported" in line
    assert 'pip install -e ".[train,live]"' in line


def test_policy_of_other_task_types_is_refused(folder: Path, refused: Any) -> None:
    calibrated(folder, worker("bad"), worker("good", skills={"math": (0.5, 9.0)}))
    text = (folder / "simulated.yaml").read_text()
    (folder / "simulated.yaml").write_text(text.replace("coding", "poems"))

    assert "trained for the task types" in refused(main, *command(*TRAINED))


def test_stock_policy_serves_its_own_workers_in_their_order_alone(
    folder: Path, refused: Any
) -> None:
    save(model_of("PPO", setting(folder, "bad", "good")), setting(folder), folder)
    assert "trained for the workers" in refused(main, *command(*TRAINED))

    turned = setting(folder, "good", "bad")
    save(model_of("PPO", turned), turned, folder)
    main(command(*TRAINED))
    assert logged(folder)[-1].agent.startswith("model.zip ")


def test_workflow_longer_than_a_stock_policy_reads_is_refused(folder: Path, refused: Any) -> None:
    turned = setting(folder, "good", "bad")
    save(model_of("PPO", turned), turned, folder)
    line = refused(main, *command(*TRAINED, "--workflows", "longer.jsonl"))

    assert "reads workflows of at most 20 subtasks, and 'b' has 22" in line
