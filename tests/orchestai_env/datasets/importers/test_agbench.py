"""Auto-GPT benchmark runs become recorded outcomes and workflows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestai_env.workflow import read_workflows
from tests.orchestai_env.datasets.importers.foreign import (
    AGBENCH_HEADER,
    AGBENCH_RUNS,
    AGBENCH_TASKS,
    convert,
    read_csv,
    write_agbench,
)


def run(arguments: list[str]) -> None:
    convert(*arguments)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_agents_become_workers_and_attempts_trials(tmp_path: Path, suffix: str) -> None:
    folder = write_agbench(tmp_path / "in", suffix)

    convert("agbench", folder, "--output_dir", tmp_path / "data")

    queries = read_csv(tmp_path / "data" / "agbench" / "queries.csv.gz")
    outcomes = read_csv(tmp_path / "data" / "agbench" / "outcomes.csv.gz")
    assert {row["query_id"]: row["task_type"] for row in queries} == {
        "agbench/Write": "interface",
        "agbench/Read": "interface",
        "agbench/Fix": "code+iterate",
        "agbench/Search": "interface",
        "agbench/Gone": "uncategorised",
    }
    assert [(r["model"], r["query_id"], r["trial"], r["score"]) for r in outcomes] == [
        ("beebot", "agbench/Write", "1", "1"),
        ("beebot", "agbench/Read", "1", "0"),
        ("beebot", "agbench/Write", "2", "0"),
        ("Turbo", "agbench/Write", "1", "1"),
        ("Turbo", "agbench/Gone", "1", "1"),
    ]
    assert [r["cost_usd"] for r in outcomes] == ["0.1", "", "0.2", "0.3", "0.3"]
    assert [r["latency_ms"] for r in outcomes] == ["10000", "60030", "12000", "", "500"]
    assert [r["latency_is_cut"] for r in outcomes] == ["0", "1", "0", "0", "0"]


def test_cut_latencies_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert("agbench", write_agbench(tmp_path / "in"), "--output_dir", tmp_path / "data")

    assert "1 of 5 run times are cut" in capsys.readouterr().out
    data = json.loads((tmp_path / "data" / "agbench" / "provenance.json").read_text())
    assert data["workers"]["beebot"]["num_cut"] == 1


def test_dependencies_become_workflows(tmp_path: Path) -> None:
    convert("agbench", write_agbench(tmp_path / "in"), "--output_dir", tmp_path / "data")

    path = tmp_path / "data" / "planning" / "agbench.jsonl.gz"
    workflows = {workflow.id: workflow for workflow in read_workflows(path)}
    assert set(workflows) == {f"agbench/{n}" for n in ("Write", "Read", "Fix", "Search", "all")}
    fix = workflows["agbench/Fix"]
    assert fix.instruction == "Fix it"
    assert [s.query_id for s in fix.subtasks] == ["agbench/Write", "agbench/Read", "agbench/Fix"]
    assert fix.links == ((0, 1), (1, 2))
    assert workflows["agbench/all"].instruction == "Fix it\nSearch"
    assert len(workflows["agbench/all"].subtasks) == 4


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("task", "Wriet", "task: unknown task 'Wriet'. Did you mean 'Write'?"),
        ("success", "", "success: expected 0 or 1, got none"),
        ("success", "2", "success: expected a number, 0..1, got '2'"),
        ("run_time_ms", "fast", "run_time_ms: expected a number, 0 or more, got 'fast'"),
        ("cost_usd", "-0.1", "cost_usd: expected a number, 0 or more"),
        ("agent", "", "agent: expected text"),
    ],
)
def test_bad_run_is_refused_or_left_out(
    refused: Any, tmp_path: Path, column: str, value: str, expected: str
) -> None:
    runs = [list(row) for row in AGBENCH_RUNS]
    runs[1][AGBENCH_HEADER.index(column)] = value
    folder = write_agbench(tmp_path / "in", runs=runs)

    line = refused(run, "agbench", folder, "--output_dir", tmp_path / "data")
    assert f"{folder / 'runs.csv.gz'}:3: " in line and expected in line

    convert("agbench", folder, "--output_dir", tmp_path / "data", "--skip-bad")
    assert len(read_csv(tmp_path / "data" / "agbench" / "outcomes.csv.gz")) == 4


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"name": "Write"}, "'Write' comes twice"),
        ({"category": "code"}, "category: expected a list of names, got 'code'"),
        ({"depends_on": [1]}, "depends_on: expected a list of names, got [1]"),
        ({"task": 3}, "task: expected text, got 3"),
    ],
)
def test_bad_task_is_refused(
    refused: Any, tmp_path: Path, change: dict[str, Any], expected: str
) -> None:
    tasks = [AGBENCH_TASKS[0], AGBENCH_TASKS[1] | change, *AGBENCH_TASKS[2:]]
    folder = write_agbench(tmp_path / "in", tasks=tasks)

    line = refused(run, "agbench", folder, "--output_dir", tmp_path / "data")
    assert f"{folder / 'tasks.jsonl.gz'}:2: " in line and expected in line


def test_tasks_in_a_circle_are_refused(refused: Any, tmp_path: Path) -> None:
    tasks = [AGBENCH_TASKS[0] | {"depends_on": ["Read"]}, *AGBENCH_TASKS[1:]]
    folder = write_agbench(tmp_path / "in", tasks=tasks)

    assert "cycle" in refused(run, "agbench", folder, "--output_dir", tmp_path / "data")


def test_missing_column_file_and_folder_are_named(refused: Any, tmp_path: Path) -> None:
    output = ("--output_dir", tmp_path / "data")
    short = write_agbench(tmp_path / "a", header=[*AGBENCH_HEADER[:-1], "other"])
    assert "column 'reached_cutoff' is missing" in refused(run, "agbench", short, *output)

    (short / "runs.csv.gz").unlink()
    assert "no such file, nor runs.csv.gz" in refused(run, "agbench", short, *output)

    line = refused(run, "agbench", short / "tasks.jsonl.gz", *output)
    assert "expected one folder with tasks.jsonl and runs.csv" in line
