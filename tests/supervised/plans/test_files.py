"""read_plans: three formats, round trips, and every line that is refused."""

from __future__ import annotations

import copy
import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from orchestai_env.errors import ConfigError, DataError, MissingFileError
from orchestai_env.workflow import write_workflows
from supervised.plans.dataset import PlanTarget, PlanVocabulary, WorkflowDataset
from supervised.plans.files import read_plans
from tests.supervised.random_plans import plans

WORKFLOW: dict[str, Any] = {
    "id": "w",
    "instruction": "Sum and plot.",
    "subtasks": [{"name": "plot", "type": "draw"}, {"name": "sum", "type": "math"}],
    "links": [[1, 0]],
}
EXAMPLE: dict[str, Any] = {
    "instruction": "Sum and plot.",
    "targets": {
        "model_selections": ["ann", "bob"],
        "task_types": ["draw", "math"],
        "dependencies": [[1, 0]],
    },
    "rewards": {"success": 1.0, "cost": -0.25, "latency": -3.5},
}
ENTRY: dict[str, Any] = {
    "schema_version": 1,
    "timestamp": "2026-01-01T00:00:00Z",
    "instruction": "Sum and plot.",
    "success": True,
    "cost": 0.25,
    "latency_ms": 3500.0,
    "planner_outputs": {
        "model_selections": ["ann", "bob"],
        "task_types": ["draw", "math"],
        "workflow_graph": {"adjacency": [[0, 0], [1, 0]]},
    },
    "execution_result": {
        "success": True,
        "outputs": {},
        "total_cost": 0.25,
        "total_latency_ms": 3500.0,
        "subtasks": [
            {"name": "plot", "type": "draw", "worker": "bob", "success": True},
            {"name": "subtask 1", "type": "math", "worker": "ann", "success": True},
        ],
    },
}


def changed(record: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Returns the record with one value set, by the path of its key."""
    record = copy.deepcopy(record)
    inner = record
    *parents, last = key.split(".")
    for parent in parents:
        inner = inner[parent]
    inner[last] = value
    return record


def write_lines(path: Path, *records: Any) -> Path:
    lines = [r if isinstance(r, str) else json.dumps(r) for r in records]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def read_one(path: Path, record: Any) -> PlanTarget:
    return read_plans(write_lines(path / "plans.jsonl", record)).dataset.plans[0]


def texts(plan: PlanTarget) -> list[str]:
    return [subtask.name for subtask in plan.workflow.subtasks]


def test_training_data_is_a_json_list(tmp_path: Path) -> None:
    path = tmp_path / "runs.v2.json"
    path.write_text("\n" + json.dumps([EXAMPLE, EXAMPLE], indent=1) + "\n")

    data = read_plans(path).dataset

    assert len(data) == 2
    plan = data.plans[0]
    assert texts(plan) == ["math: Sum and plot.", "draw: Sum and plot."]
    assert plan.workers == ("bob", "ann")
    assert plan.workflow.links == ((0, 1),)
    assert (plan.source, plan.workflow.id) == ("runs", "runs.v2.json:3")


def test_training_data_may_hold_the_texts(tmp_path: Path) -> None:
    plan = read_one(tmp_path, changed(EXAMPLE, "targets.subtasks", ["plot", "sum"]))
    assert texts(plan) == ["sum", "plot"]


@pytest.mark.parametrize("success", [0, 0.0, False])
def test_failed_example_teaches_its_plan_but_no_worker(success: float, tmp_path: Path) -> None:
    plan = read_one(tmp_path, changed(EXAMPLE, "rewards.success", success))
    assert plan.workers == (None, None)
    assert plan.workflow.links == ((0, 1),)


def test_log_teaches_the_worker_that_succeeded_and_the_texts_that_it_has(tmp_path: Path) -> None:
    plan = read_one(tmp_path, ENTRY)

    assert texts(plan) == ["math: Sum and plot.", "plot"]
    assert plan.workers == ("ann", "bob")
    assert plan.workflow.links == ((0, 1),)


def test_log_prefers_the_texts_of_the_planner(tmp_path: Path) -> None:
    plan = read_one(tmp_path, changed(ENTRY, "planner_outputs.subtasks", ["p", "s"]))
    assert texts(plan) == ["s", "p"]


def test_failed_execution_teaches_the_workers_of_what_succeeded(tmp_path: Path) -> None:
    entry = changed(ENTRY, "execution_result.success", False)
    entry["execution_result"]["subtasks"][0]["success"] = False
    assert read_one(tmp_path, entry).workers == ("ann", None)


@pytest.mark.parametrize(("success", "workers"), [(True, ("bob", "ann")), (False, (None, None))])
def test_log_without_subtask_results_teaches_the_choices_of_a_success(
    success: bool, workers: tuple[str | None, ...], tmp_path: Path
) -> None:
    entry = changed(ENTRY, "execution_result.subtasks", [])
    assert read_one(tmp_path, changed(entry, "execution_result.success", success)).workers == (
        workers
    )


def test_execution_without_a_plan_is_left_out(tmp_path: Path) -> None:
    nothing = {"model_selections": [], "task_types": [], "workflow_graph": {"adjacency": []}}
    failed = {"success": False, "outputs": {}, "subtasks": []}
    unplanned = ENTRY | {"planner_outputs": nothing, "execution_result": failed}
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in (unplanned, ENTRY)))

    read = read_plans(path)
    assert len(read.dataset) == 1
    assert read.left_out == (f"{path}:1: its instruction could not be planned",)


def test_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    path.touch()
    with pytest.raises(ConfigError, match="got Parquet, which is for other programs"):
        read_plans(path)


def test_no_selections_are_no_labels(tmp_path: Path) -> None:
    example = changed(EXAMPLE, "targets.model_selections", None)
    assert read_one(tmp_path, example).workers == (None, None)


def test_workflow_keeps_its_source(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", WORKFLOW, WORKFLOW | {"source": "b"})
    assert read_plans(path).dataset.sources == ("a", "b")


def test_folder_is_read_by_name_and_other_files_are_left_alone(tmp_path: Path) -> None:
    write_lines(tmp_path / "b.jsonl", ENTRY, WORKFLOW)
    (tmp_path / "a.json").write_text(json.dumps([EXAMPLE]))
    with gzip.open(tmp_path / "c.jsonl.gz", "wt") as file:
        file.write(json.dumps(WORKFLOW) + "\n")
    (tmp_path / "notes.txt").write_text("not data")

    data = read_plans(tmp_path).dataset

    assert data.sources == ("a", "b", "b", "c")
    assert data.vocabulary == PlanVocabulary(task_types=("draw", "math"), workers=("ann", "bob"))
    assert len(read_plans(tmp_path / "a.json", tmp_path / "c.jsonl.gz").dataset) == 2


@given(given_plans=plans(max_size=3))
def test_workflows_survive_a_file(given_plans: list[PlanTarget]) -> None:
    data = WorkflowDataset.from_plans(given_plans)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flows.jsonl.gz"
        write_workflows(path, data.workflows)
        again = read_plans(path).dataset
    assert again.workflows == data.workflows


@given(given_plans=plans(max_size=3))
def test_plans_survive_training_data(given_plans: list[PlanTarget]) -> None:
    examples = [
        {
            "instruction": plan.workflow.instruction,
            "targets": {
                "model_selections": plan.workers,
                "task_types": [s.type for s in plan.workflow.subtasks],
                "dependencies": plan.workflow.links,
                "subtasks": texts(plan),
            },
            "rewards": {"success": True},
        }
        for plan in given_plans
    ]
    data = WorkflowDataset.from_plans(given_plans)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "training.json"
        path.write_text(json.dumps(examples, ensure_ascii=False), encoding="utf-8")
        again = read_plans(path).dataset

    assert again.vocabulary == data.vocabulary
    for found, plan in zip(again.plans, data.plans, strict=True):
        assert found.workers == plan.workers
        assert found.workflow.subtasks == plan.workflow.subtasks
        assert found.workflow.links == plan.workflow.links
        assert found.workflow.instruction == plan.workflow.instruction


BAD_LINES = [
    ("{", "expected one JSON object a line.*breaks"),
    ("", "expected one JSON object a line.*breaks"),
    ("[" * 100_000, "expected one JSON object a line.*recursion"),
    ("3", "expected training data.*workflows.*or an execution log.*got 3"),
    ({"instruction": "a", "shape": "dag"}, "expected training data.*workflows.*execution log"),
    (changed(WORKFLOW, "instruction", " "), "'w': expected an instruction, got blanks"),
    (changed(WORKFLOW, "subtasks", []), "at least one subtask"),
    (changed(WORKFLOW, "links", [[0, 1], [1, 0]]), "form a cycle"),
    (changed(WORKFLOW, "links", [[0, 2]]), "leaves the subtasks"),
    (changed(WORKFLOW, "subtasks", [{"name": "x", "type": "y"}] * 2), "unknown task type 'y'"),
    (changed(WORKFLOW, "subtasks", WORKFLOW["subtasks"] * 2), "at most 3 subtasks, got 4"),
    (changed(EXAMPLE, "targets", {}), r"training example: targets.*required.*\(and 2 more\)"),
    (changed(EXAMPLE, "rewards", {}), "training example: rewards.success: this key is required"),
    (changed(EXAMPLE, "rewards.success", 2), "rewards.success.*got 2"),
    (changed(EXAMPLE, "targets.dependencies", [[0]]), "targets.dependencies.0: .*got"),
    (changed(EXAMPLE, "targets.dependencies", [[0, 9]]), "leaves the subtasks"),
    (changed(EXAMPLE, "targets.task_types", ["draw"]), "model_selections: expected 1.*got 2"),
    (changed(EXAMPLE, "targets.subtasks", ["x"]), "subtasks: expected 2.*got 1"),
    (changed(EXAMPLE, "targets.model_selections", ["ann", "eve"]), "unknown worker 'eve'"),
    (changed(EXAMPLE, "targets.model_selections", [0, 1]), "model_selections.0: .*string.*got 0"),
    (changed(ENTRY, "planner_outputs", None), "execution log: planner_outputs: .*got None"),
    (
        changed(ENTRY, "planner_outputs.workflow_graph.adjacency", [[0, 0]]),
        r"adjacency: expected 2 rows of 2 numbers.*got 1 rows of \[2\]",
    ),
    (
        changed(ENTRY, "planner_outputs.workflow_graph.adjacency", [[0, 0.5], [0, 0]]),
        "adjacency.0.1: .*multiple of 1; got 0.5",
    ),
    (
        changed(ENTRY, "planner_outputs.workflow_graph.adjacency", [[1, 0], [0, 0]]),
        "form a cycle",
    ),
    (changed(ENTRY, "execution_result.subtasks", [{}]), "execution_result.subtasks.0.name"),
    (
        changed(ENTRY, "execution_result.subtasks", ENTRY["execution_result"]["subtasks"][:1]),
        "execution_result.subtasks: expected 2.*got 1",
    ),
]


@pytest.mark.parametrize(
    ("record", "match"), BAD_LINES, ids=[f"bad{i}" for i in range(len(BAD_LINES))]
)
def test_bad_line_is_refused_with_its_place_or_left_out_and_listed(
    record: Any, match: str, tmp_path: Path
) -> None:
    path = write_lines(tmp_path / "plans.jsonl", WORKFLOW, record, EXAMPLE)
    words = PlanVocabulary(task_types=("draw", "math"), workers=("ann", "bob"))

    with pytest.raises(DataError, match=rf"plans\.jsonl:2: .*{match}") as caught:
        read_plans(path, vocabulary=words, max_subtasks=3)
    found = read_plans(path, vocabulary=words, max_subtasks=3, skip_bad=True)

    assert "\n" not in str(caught.value)
    assert found.left_out == (str(caught.value),)
    assert len(found.dataset) == 2


def test_item_of_a_list_is_refused_with_the_line_that_it_begins_on(tmp_path: Path) -> None:
    path = tmp_path / "training.json"
    path.write_text(json.dumps([EXAMPLE, EXAMPLE | {"rewards": {}}, EXAMPLE], indent=1))
    begin = len(json.dumps([EXAMPLE], indent=1).splitlines())

    with pytest.raises(DataError, match=rf"training\.json:{begin}: training example: rewards"):
        read_plans(path)
    assert len(read_plans(path, skip_bad=True).dataset) == 2


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[{}\n{}]", ":1: .*no comma nor closing bracket"),
        ("[\n{},\n", ":3: .*breaks .Expecting value"),
        ("[{}] []", ":1: .*more text after its closing bracket"),
        ("[", ":1: .*breaks"),
    ],
)
def test_broken_list_is_refused_even_when_skipping(text: str, match: str, tmp_path: Path) -> None:
    path = tmp_path / "training.json"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"training\.json{match}"):
        read_plans(path, skip_bad=True)


@pytest.mark.parametrize("text", ["", "[]", " [ \n] "])
def test_file_without_a_workflow_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "empty.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"empty\.json: expected at least one workflow, got none;"):
        read_plans(path)


def test_file_of_which_nothing_is_left_is_refused(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "plans.jsonl", "{", "3")
    with pytest.raises(DataError, match=r"got none \(2 were left out; the first: .*jsonl:1: "):
        read_plans(path, skip_bad=True)


def test_missing_file_and_folder_without_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no such file"):
        read_plans(tmp_path / "none.jsonl")
    with pytest.raises(MissingFileError, match=r"expected files named \.json, .*training data"):
        read_plans(tmp_path)
    with pytest.raises(DataError, match="no path: expected at least one workflow"):
        read_plans()


@pytest.mark.parametrize("damage", ["truncated", "encoding"])
def test_damaged_file_is_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / ("plans.jsonl.gz" if damage == "truncated" else "plans.jsonl")
    whole = gzip.compress((json.dumps(WORKFLOW) + "\n").encode() * 2000)
    path.write_bytes(whole[: len(whole) // 2] if damage == "truncated" else b"\xff\xfe{}")
    with pytest.raises(DataError, match="breaks off or is damaged"):
        read_plans(path, skip_bad=True)
