"""Workflow: the DAG, its order, and its file format with every way a file can be wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestai_env.errors import (
    CyclicWorkflowError,
    DataError,
    MissingFileError,
    WorkflowError,
)
from orchestai_env.workflow import (
    Subtask,
    Workflow,
    is_valid_dag,
    read_json_lines,
    read_workflows,
    topological_order,
    write_workflows,
)

Links = tuple[tuple[int, int], ...]


def workflow(size: int, *links: tuple[int, int], name: str = "w") -> Workflow:
    subtasks = tuple(Subtask(name=f"do {i}", type="math") for i in range(size))
    return Workflow(id=name, instruction="Do it all.", subtasks=subtasks, links=links)


@st.composite
def shuffled_dags(draw: st.DrawFn) -> tuple[int, Links]:
    size = draw(st.integers(1, 8))
    order = draw(st.permutations(range(size)))
    pairs = st.tuples(st.integers(0, size - 1), st.integers(0, size - 1))
    chosen = draw(st.lists(pairs, max_size=20))
    return size, tuple((order[min(i, j)], order[max(i, j)]) for i, j in chosen if i != j)


@given(dag=shuffled_dags())
def test_topological_order_points_every_link_forward(dag: tuple[int, Links]) -> None:
    size, links = dag
    order = topological_order(size, links)

    assert sorted(order) == list(range(size))
    assert all(order.index(i) < order.index(j) for i, j in links)


@given(dag=shuffled_dags())
def test_topologically_sorted_is_the_same_workflow_renumbered(dag: tuple[int, Links]) -> None:
    given_workflow = workflow(dag[0], *dag[1])
    result = given_workflow.topologically_sorted()

    def named(flow: Workflow) -> set[tuple[str, str]]:
        return {(flow.subtasks[i].name, flow.subtasks[j].name) for i, j in flow.links}

    assert is_valid_dag(result)
    assert all(i < j for i, j in result.links)
    assert named(result) == named(given_workflow)
    assert result.topologically_sorted() == result


@given(dag=shuffled_dags(), data=st.data())
def test_a_backward_link_makes_a_cycle(dag: tuple[int, Links], data: st.DataObject) -> None:
    size, links = dag
    if not links:
        return
    i, j = data.draw(st.sampled_from(links))
    cyclic = workflow(size, *links, (j, i))

    assert not is_valid_dag(cyclic)
    with pytest.raises(CyclicWorkflowError):
        cyclic.validate()


def test_order_is_stable_lowest_first() -> None:
    assert topological_order(4, [(3, 0)]) == [1, 2, 3, 0]


def test_cycle_message_names_workflow_subtasks_and_remedy() -> None:
    message = (
        r"^workflow 'plan': the links form a cycle through or before subtasks \[1, 2, 3\]; "
        r"remove a link so that every subtask can start$"
    )
    with pytest.raises(CyclicWorkflowError, match=message):
        workflow(4, (0, 1), (1, 2), (2, 1), (2, 3), name="plan").validate()


@pytest.mark.parametrize(
    ("flow", "valid"),
    [
        (workflow(1), True),
        (workflow(3, (0, 1), (0, 1), (2, 1)), True),
        (workflow(0), False),
        (workflow(1, (0, 0)), False),
        (workflow(2, (0, 2)), False),
        (workflow(2, (-1, 1)), False),
        (workflow(3, (0, 1), (1, 2), (2, 0)), False),
    ],
)
def test_is_valid_dag(flow: Workflow, valid: bool) -> None:
    assert is_valid_dag(flow) is valid


def test_validate_names_what_is_wrong() -> None:
    with pytest.raises(WorkflowError, match="'w': expected at least one subtask, got none"):
        workflow(0).validate()
    with pytest.raises(WorkflowError, match=r"'w': link \[0, 5\] leaves the subtasks 0\.\.1"):
        workflow(2, (0, 5)).validate()


def document(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "id": "w",
        "instruction": "Do it.",
        "subtasks": [{"name": "a", "type": "math"}, {"name": "b", "type": "code", "query_id": "q"}],
        "links": [[0, 1]],
    }
    return base | changes


def test_dict_form_round_trips_and_leaves_unknown_keys_out() -> None:
    flow = Workflow.from_dict(document(note="ignored"))

    assert flow.to_dict() == document()
    assert flow.subtasks[1] == Subtask(name="b", type="code", query_id="q")


WRONG_DOCUMENTS: list[tuple[Any, str]] = [
    ([], r"expected \{id, instruction, subtasks \[\{name, type\}\], links"),
    (None, "got something else"),
    ("text", "got something else"),
    (document(subtasks=3), "got something else"),
    (document(subtasks=["a"]), "got something else"),
    (document(subtasks=[]), "expected at least one subtask"),
    (document(subtasks=[{"name": "a"}], links=[]), "key 'type' is missing"),
    (document(subtasks=[{"name": 1, "type": "math"}]), "key 'name': expected text, got 1"),
    (document(id=7), "key 'id': expected text, got 7"),
    (document(links=[[0, 1.0]]), r"links: expected subtask indexes, got 1\.0"),
    (document(links=[[0, True]]), "links: expected subtask indexes, got True"),
    (document(links=[[0, 1, 1]]), "got something else"),
    (document(links=[[0]]), "got something else"),
    (document(links=7), "got something else"),
    (document(links=[[0, 2]]), r"link \[0, 2\] leaves the subtasks"),
    (document(links=[[0, 1], [1, 0]]), "form a cycle"),
    ({k: v for k, v in document().items() if k != "instruction"}, "'instruction' is missing"),
]


@pytest.mark.parametrize(("data", "message"), WRONG_DOCUMENTS)
def test_wrong_document_is_named(data: Any, message: str) -> None:
    with pytest.raises(WorkflowError, match=message):
        Workflow.from_dict(data)


@pytest.mark.parametrize(("data", "message"), WRONG_DOCUMENTS)
def test_wrong_line_of_a_file_is_named_by_file_and_line(
    data: Any, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "flows.jsonl"
    path.write_text(json.dumps(document()) + "\n" + json.dumps(data) + "\n")

    with pytest.raises(DataError, match=rf"flows\.jsonl:2: .*{message}") as caught:
        read_workflows(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["flows.jsonl", "deep/down/flows.jsonl.gz"])
def test_file_round_trips(name: str, tmp_path: Path) -> None:
    flows = [workflow(3, (0, 2), name="ünï 1"), Workflow.from_dict(document())]
    path = tmp_path / name
    write_workflows(path, [workflow(1)])
    write_workflows(str(path), flows)

    assert read_workflows(str(path)) == flows
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == name.endswith(".gz")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"none\.jsonl: no such file; check the path"):
        read_workflows(tmp_path / "none.jsonl")


@pytest.mark.parametrize("line", ['{"id": ', "", "nonsense", '{"a": 1} {"b": 2}'])
def test_line_that_is_no_json_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "flows.jsonl"
    path.write_text(json.dumps(document()) + "\n" + line + "\n")

    with pytest.raises(DataError, match=r"flows\.jsonl:2: expected one JSON object a line"):
        read_workflows(path)


@pytest.mark.parametrize("line", ["9" * 5000, "[" * 100_000], ids=["digits", "brackets"])
def test_line_that_json_cannot_hold_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "flows.jsonl"
    path.write_text(json.dumps(document()) + "\n" + line + "\n")

    with pytest.raises(DataError, match=r"flows\.jsonl:2: expected one JSON object a line, but "):
        read_workflows(path)


def test_file_that_is_no_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "flows.jsonl"
    path.write_bytes(b'{"id": "\xff"}\n')

    with pytest.raises(DataError, match=r"flows\.jsonl:1: the file breaks off or is damaged"):
        read_workflows(path)


def damaged(whole: bytes, how: str) -> bytes:
    if how == "truncated":
        return whole[: len(whole) // 2]
    if how == "flipped":
        return whole[:20] + bytes([whole[20] ^ 0xFF]) + whole[21:]
    return b"no gzip at all"


@pytest.mark.parametrize("how", ["truncated", "flipped", "no gzip"])
def test_damaged_archive_is_named(how: str, tmp_path: Path) -> None:
    lines = "".join(json.dumps(document(id=f"w{i}")) + "\n" for i in range(500))
    path = tmp_path / "flows.jsonl.gz"
    path.write_bytes(damaged(gzip.compress(lines.encode()), how))

    with pytest.raises(DataError, match=r"flows\.jsonl\.gz:\d+: ") as caught:
        list(read_json_lines(path))
    assert "\n" not in str(caught.value)
