"""TaskBench plans become workflows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestai_env.datasets.shapes import read_shapes
from orchestai_env.workflow import read_workflows
from tests.orchestai_env.datasets.importers.foreign import convert, taskbench_row, write_lines


def run(arguments: list[str]) -> None:
    convert(*arguments)


def converted(tmp_path: Path, *rows: Any, name: str = "data.json") -> list[Any]:
    path = write_lines(tmp_path / name, list(rows))
    convert("taskbench", path, "--output_dir", tmp_path / "data")
    return read_workflows(tmp_path / "data" / "planning" / "taskbench.jsonl.gz")


@pytest.mark.parametrize("name", ["data.json", "data.json.gz"])
def test_line_becomes_a_workflow(tmp_path: Path, name: str) -> None:
    (workflow,) = converted(tmp_path, taskbench_row(), name=name)

    assert workflow.id == "taskbench/10523150"
    assert workflow.instruction == "Describe example.jpg and read it to me."
    assert [s.type for s in workflow.subtasks] == ["Image-to-Text", "Text-to-Speech"]
    assert workflow.subtasks[1].name == "Step 2: Call Text-to-Speech"
    assert workflow.links == ((0, 1),)
    data = json.loads((tmp_path / "data" / "taskbench" / "provenance.json").read_text())
    assert data["workflows"] == 1 and data["calls"] == 0


def test_copy_of_hugging_face_has_other_names_and_json_in_text(tmp_path: Path) -> None:
    row = taskbench_row()
    other = {"id": 7, "instruction": row["user_request"]}
    for key in ("steps", "nodes", "links"):
        other[f"tool_{key}"] = json.dumps(row[f"task_{key}"])

    (workflow,) = converted(tmp_path, other)

    assert workflow.id == "taskbench/7"
    assert [s.name for s in workflow.subtasks] == row["task_steps"]
    assert workflow.links == ((0, 1),)


def test_shapes_are_those_that_an_import_composes_by(tmp_path: Path) -> None:
    converted(tmp_path, taskbench_row(), taskbench_row(id="2", task_links=[]))

    shapes = read_shapes(tmp_path / "data" / "planning", 1, 6).shapes()
    assert shapes == {(2, ()): 1, (2, ((0, 1),)): 1}


def test_repeated_tool_is_told_apart_by_arguments(tmp_path: Path) -> None:
    nodes = [
        {"task": "A", "arguments": ["x"]},
        {"task": "A", "arguments": ["<node-0>"]},
        {"task": "B", "arguments": ["<node-1>"]},
    ]
    links = [{"source": "A", "target": "A"}, {"source": "A", "target": "B"}]
    row = taskbench_row(task_nodes=nodes, task_links=links, task_steps=["1", "2", "3"])

    (workflow,) = converted(tmp_path, row)

    assert workflow.links == ((0, 1), (1, 2))


def test_endless_number_in_an_argument_names_no_node(tmp_path: Path) -> None:
    nodes = [{"task": "A", "arguments": [f"<node-{'9' * 5000}>"]}, {"task": "B", "arguments": []}]
    row = taskbench_row(task_nodes=nodes, task_links=[{"source": "A", "target": "B"}])
    (workflow,) = converted(tmp_path, row)
    assert workflow.links == ((0, 1),)


def test_subtasks_are_in_topological_order(tmp_path: Path) -> None:
    row = taskbench_row(task_links=[{"source": "Text-to-Speech", "target": "Image-to-Text"}])

    (workflow,) = converted(tmp_path, row)

    assert [s.type for s in workflow.subtasks] == ["Text-to-Speech", "Image-to-Text"]
    assert workflow.links == ((0, 1),)


def test_missing_steps_leave_the_types(tmp_path: Path) -> None:
    (workflow,) = converted(tmp_path, taskbench_row(task_steps=["only one"]))

    assert [s.name for s in workflow.subtasks] == ["Image-to-Text", "Text-to-Speech"]
    data = json.loads((tmp_path / "data" / "taskbench" / "provenance.json").read_text())
    assert "1 workflows have another number of steps than of nodes" in data["notes"][0]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"task_nodes": None}, "expected task_nodes (or tool_nodes), the gold graph of data.json"),
        ({"task_nodes": "no json"}, "task_nodes: expected a list, got 'no json'"),
        ({"task_nodes": ["x"]}, "nodes: expected {task, arguments}, got 'x'"),
        ({"task_nodes": [], "task_links": []}, "expected at least one subtask"),
        ({"task_links": {}}, "task_links: expected a list, got {}"),
        ({"task_links": ["x"]}, "links: expected {source, target}, got 'x'"),
        (
            {"task_links": [{"source": "Image-to-Text", "target": "Nobody"}]},
            "links: 'Nobody' is no node of this graph",
        ),
        (
            {
                "task_links": [
                    {"source": "Image-to-Text", "target": "Text-to-Speech"},
                    {"source": "Text-to-Speech", "target": "Image-to-Text"},
                ]
            },
            "form a cycle",
        ),
        ({"task_links": [{"source": "Image-to-Text", "target": "Image-to-Text"}]}, "cycle"),
        (
            {
                "task_nodes": [{"task": "A"}, {"task": "A"}, {"task": "B"}],
                "task_links": [{"source": "A", "target": "B"}],
            },
            "'A' -> 'B' could join several nodes",
        ),
        ({"id": None}, "id: expected text or a whole number, got None"),
        ({"id": "1"}, "id 'taskbench/1' comes twice"),
        ({"user_request": ""}, "user_request: expected text, got ''"),
    ],
)
def test_bad_line_is_refused_or_left_out(
    refused: Any, tmp_path: Path, change: dict[str, Any], expected: str
) -> None:
    rows = [taskbench_row(id="1"), taskbench_row(id="2") | change, taskbench_row(id="3")]
    path = write_lines(tmp_path / "data.json", rows)

    line = refused(run, "taskbench", path, "--output_dir", tmp_path / "data")
    assert f"{path}:2: " in line and expected in line

    convert("taskbench", path, "--output_dir", tmp_path / "data", "--skip-bad")
    kept = read_workflows(tmp_path / "data" / "planning" / "taskbench.jsonl.gz")
    assert [workflow.id for workflow in kept] == ["taskbench/1", "taskbench/3"]
