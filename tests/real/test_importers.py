"""Public files that were recorded by others, converted, imported and played."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from orchestai_env.cli import main
from orchestai_env.datasets.folder import load_folder
from orchestai_env.env import OrchestAIEnv
from orchestai_env.workflow import read_workflows
from tests.orchestai_env.datasets.importers.foreign import (
    convert,
    read_csv,
    taskbench_row,
    write_lines,
)

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def agbench(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("agbench")
    convert("agbench", data_root / "agbench", "--output_dir", folder, "--license", "MIT")
    return folder


def test_agbench_attempts_are_all_there(agbench: Path, data_root: Path) -> None:
    with gzip.open(data_root / "agbench" / "runs.csv.gz", "rt", newline="") as file:
        runs = list(csv.DictReader(file))
    outcomes = read_csv(agbench / "agbench" / "outcomes.csv.gz")

    assert len(outcomes) == len(runs) == 3_982
    for run, row in zip(runs, outcomes, strict=True):
        assert (run["agent"], f"agbench/{run['task']}") == (row["model"], row["query_id"])
        assert float(run["success"]) == float(row["score"])
        for theirs, ours in (("cost_usd", "cost_usd"), ("run_time_ms", "latency_ms")):
            assert bool(run[theirs]) == bool(row[ours])  # nothing invented, nothing lost
            assert not run[theirs] or float(run[theirs]) == float(row[ours])
    assert sum(row["latency_is_cut"] == "1" for row in outcomes) == 1_546


def test_agbench_graph_is_a_set_of_workflows(agbench: Path) -> None:
    workflows = {w.id: w for w in read_workflows(agbench / "planning" / "agbench.jsonl.gz")}

    assert len(workflows) == 35
    assert len(workflows["agbench/all"].subtasks) == 34
    three_sum = workflows["agbench/TestThreeSum"]
    assert three_sum.subtasks[0].query_id == "agbench/TestWriteFile"
    queries = {row["query_id"] for row in read_csv(agbench / "agbench" / "queries.csv.gz")}
    assert {s.query_id for w in workflows.values() for s in w.subtasks} <= queries


def test_agbench_is_imported_and_played(agbench: Path, tmp_path: Path) -> None:
    config = agbench / "agbench" / "import.yaml"
    settings = yaml.safe_load(config.read_text())
    settings["source"]["num_workflows"] = {"train": 200, "validation": 20, "test": 50}
    config = tmp_path / "import.yaml"
    config.write_text(yaml.safe_dump(settings))

    arguments = ("--config", config, "--data", agbench, "--output_dir", tmp_path / "set")
    main(["import-recorded", *map(str, arguments)])

    imported = load_folder(tmp_path / "set")
    assert len(imported.all_splits.pool) == 8
    assert imported.all_splits.latency_label == "recorded"
    assert imported.all_splits.outcomes.num_trials.max() > 10  # attempts became trials
    env = OrchestAIEnv(imported.dataset("test"))
    rng = np.random.default_rng(0)
    successes = []
    for seed in range(20):
        env.reset(seed=seed)
        ended = False
        info: dict[str, Any] = {}
        while not ended:
            action = rng.choice(np.flatnonzero(env.action_masks()))
            obs, _, terminated, truncated, info = env.step(action)
            assert env.observation_space.contains(obs)
            ended = terminated or truncated
        successes.append(info["is_success"])
    assert {True, False} == set(successes)


def test_taskbench_requests_without_gold_plans_are_refused(
    refused: Any, data_root: Path, tmp_path: Path
) -> None:
    path = data_root / "planning" / "taskbench_requests.jsonl.gz"

    line = refused(
        lambda arguments: convert(*arguments), "taskbench", path, "--output_dir", tmp_path
    )

    assert f"{path}:1: expected task_nodes (or tool_nodes), the gold graph" in line


def test_every_link_of_the_taskbench_tool_graphs_can_be_a_plan(
    data_root: Path, tmp_path: Path
) -> None:
    """The real names of tools, two at a time, since the gold plans are not at hand."""
    with gzip.open(data_root / "planning" / "taskbench_tool_graphs.jsonl.gz", "rt") as file:
        links = [link for line in file for link in json.loads(line)["links"]]
    links = [link for link in links if link["source"] != link["target"]]
    rows = []
    for number, link in enumerate(links):
        nodes = [{"task": link[end], "arguments": []} for end in ("source", "target")]
        rows.append(taskbench_row(id=str(number), task_nodes=nodes, task_links=[link]))

    convert("taskbench", write_lines(tmp_path / "data.json", rows), "--output_dir", tmp_path)

    workflows = read_workflows(tmp_path / "planning" / "taskbench.jsonl.gz")
    assert len(workflows) == len(links) > 1_000
    assert [[s.type for s in w.subtasks] for w in workflows] == [
        [link["source"], link["target"]] for link in links
    ]


@pytest.mark.parametrize("name", ["worfbench", "sealtools", "nestful", "asynchow"])
def test_planning_files_are_workflows_already(data_root: Path, name: str) -> None:
    workflows = read_workflows(data_root / "planning" / f"{name}.jsonl.gz")

    assert len(workflows) > 200
    assert all(workflow.subtasks for workflow in workflows)
