"""Files as people save, pack and cut them: read where their meaning is plain, refused by name."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import yaml

from orchestai_env.workflow import read_workflows
from tests.orchestai_env.datasets.importers.foreign import (
    AGBENCH_TASKS,
    NUM_QUERIES,
    ROUTERBENCH_HEADER,
    WORKERS,
    convert,
    llmrouter_rows,
    read_csv,
    routerbench_rows,
    taskbench_row,
    write_agbench,
    write_csv,
    write_lines,
)


def run(arguments: list[str]) -> None:
    convert(*arguments)


def table_text() -> str:
    """Returns the table of foreign.py as text."""
    file = io.StringIO()
    csv.writer(file).writerows([ROUTERBENCH_HEADER, *routerbench_rows()])
    return file.getvalue()


def saved(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "expected records, got an empty file"),
        (gzip.compress(b""), "expected the names of columns, got nothing"),
        (b"PK\x03\x04 and so on", "expected plain or gzipped data, got zip; unpack it first"),
        (bz2.compress(b"x"), "expected plain or gzipped data, got bzip2; unpack it first"),
        (b"\xfd7zXZ\x00", "got xz; unpack it first"),
        (b"\x28\xb5\x2f\xfd", "got zstd; unpack it first"),
        (b"\x1f\x8b", "the file breaks off or is damaged"),
        (table_text().encode("utf-16"), ":1: expected text in UTF-8, got bytes that are none"),
        (table_text().replace("quotes", "qu\xf6tes").encode("latin-1"), "save the table in UTF-8"),
        (table_text().replace(",", ";").encode(), "column 'sample_id' is missing; got sample_id;"),
        (table_text().splitlines()[0].encode(), "expected at least one record of format router"),
    ],
)
def test_table_that_cannot_be_read_is_refused(
    refused: Any, tmp_path: Path, data: bytes, expected: str
) -> None:
    path = saved(tmp_path / "table.csv", data)

    for more in ((), ("--skip-bad",)):
        line = refused(run, "routerbench", path, "--output_dir", tmp_path / "data", *more)
        assert str(path) in line and expected in line


@pytest.mark.parametrize("place", ["pages", "footer"])
def test_parquet_file_with_other_bytes_in_it_is_refused_by_name(
    refused: Any, tmp_path: Path, place: str
) -> None:
    columns = zip(ROUTERBENCH_HEADER, zip(*routerbench_rows(), strict=True), strict=True)
    table = pyarrow.table({name: list(map(str, values)) for name, values in columns})
    path = tmp_path / "table.parquet"
    pyarrow.parquet.write_table(table, path)
    data = bytearray(path.read_bytes())
    begin = 4 if place == "pages" else len(data) - 200
    data[begin : begin + 40] = b"\xff" * 40
    path.write_bytes(data)

    line = refused(run, "routerbench", path, "--output_dir", tmp_path / "data")
    assert f"{path}: the file is damaged" in line


def test_folder_in_place_of_a_file_is_refused(refused: Any, tmp_path: Path) -> None:
    line = refused(run, "llmrouter", tmp_path, "--output_dir", tmp_path / "data")

    assert f"{tmp_path}: expected a file, got a folder" in line


@pytest.mark.parametrize(
    "spell",
    [
        lambda text: ("\ufeff" + text).encode(),
        lambda text: text.replace("\r\n", "\n").encode(),
        lambda text: gzip.compress(text.encode()),
    ],
)
def test_spellings_of_a_table_mean_the_same(tmp_path: Path, spell: Callable[[str], bytes]) -> None:
    path = saved(tmp_path / "table.csv", spell(table_text()))

    convert("routerbench", path, "--output_dir", tmp_path / "data")

    assert len(read_csv(tmp_path / "data" / "routerbench" / "queries.csv.gz")) == NUM_QUERIES


def test_row_numbers_of_pandas_are_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [[i, *row] for i, row in enumerate(routerbench_rows())]
    path = write_csv(tmp_path / "table.csv", ["", *ROUTERBENCH_HEADER], rows)

    convert("routerbench", path, "--output_dir", tmp_path / "data")

    shown = capsys.readouterr().out
    assert "columns passed over: the one without a name, oracle_model_to_route_to" in shown


@pytest.mark.parametrize("has_responses", [True, False])
def test_costs_may_be_named_shortly(tmp_path: Path, has_responses: bool) -> None:
    header = [name.replace("|total_cost", "|cost") for name in ROUTERBENCH_HEADER]
    kept = [i for i, name in enumerate(header) if has_responses or "|model_response" not in name]
    rows = [[row[i] for i in kept] for row in routerbench_rows()]
    path = write_csv(tmp_path / "table.csv", [header[i] for i in kept], rows)

    convert("routerbench", path, "--output_dir", tmp_path / "data")

    outcomes = read_csv(tmp_path / "data" / "routerbench" / "outcomes.csv.gz")
    assert {row["model"] for row in outcomes} == set(WORKERS)
    assert [row["cost_usd"] for row in outcomes[:2]] == ["0.01", "0.0003"]


def test_repeated_row_is_a_further_trial(tmp_path: Path) -> None:
    rows = routerbench_rows()
    path = write_csv(tmp_path / "table.csv", ROUTERBENCH_HEADER, [*rows, rows[0]])

    convert("routerbench", path, "--output_dir", tmp_path / "data")

    outcomes = read_csv(tmp_path / "data" / "routerbench" / "outcomes.csv.gz")
    again = [row["trial"] for row in outcomes if row["query_id"] == rows[0][0]]
    assert again == ["1", "1", "2", "2"]


HALF = "an emoji cut in half: \ud83d"
WHOLE = "an emoji cut in half: \ufffd"


def test_half_characters_of_json_become_replacement_characters(tmp_path: Path) -> None:
    row = llmrouter_rows()[0] | {"query": HALF, "model_name": HALF, "task_name": HALF}
    path = write_lines(
        tmp_path / "routing.jsonl", [row, llmrouter_rows()[0] | {"query": "\U0001f600"}]
    )

    convert("llmrouter", path, "--output_dir", tmp_path / "data")

    queries = read_csv(tmp_path / "data" / "llmrouter" / "queries.csv.gz")
    outcomes = read_csv(tmp_path / "data" / "llmrouter" / "outcomes.csv.gz")
    assert [row["prompt"] for row in queries] == [WHOLE, "\U0001f600"]
    assert queries[0]["task_type"] == outcomes[0]["model"] == WHOLE
    settings = yaml.safe_load((tmp_path / "data" / "llmrouter" / "import.yaml").read_text())
    assert settings["source"]["task_types"] == [WHOLE, "gsm8k"]


def test_half_characters_of_plans_become_replacement_characters(tmp_path: Path) -> None:
    row = taskbench_row()
    other = {"id": HALF, "instruction": HALF}
    for key in ("steps", "nodes", "links"):  # JSON within JSON, as on Hugging Face
        other[f"tool_{key}"] = json.dumps(row[f"task_{key}"]).replace("Image", "\\ud83d")
    path = write_lines(tmp_path / "data.json", [other])

    convert("taskbench", path, "--output_dir", tmp_path / "data")

    (workflow,) = read_workflows(tmp_path / "data" / "planning" / "taskbench.jsonl.gz")
    assert workflow.instruction == WHOLE
    assert [s.type for s in workflow.subtasks] == ["\ufffd-to-Text", "Text-to-Speech"]


def test_half_characters_of_runs_become_replacement_characters(tmp_path: Path) -> None:
    tasks = [AGBENCH_TASKS[0] | {"task": HALF}, *AGBENCH_TASKS[1:]]

    convert(
        "agbench", write_agbench(tmp_path / "runs", tasks=tasks), "--output_dir", tmp_path / "d"
    )

    prompts = [row["prompt"] for row in read_csv(tmp_path / "d" / "agbench" / "queries.csv.gz")]
    assert WHOLE in prompts


def test_array_in_place_of_lines_is_refused_with_its_remedy(refused: Any, tmp_path: Path) -> None:
    for indent in (None, 2):
        path = tmp_path / "data.json"
        path.write_text(json.dumps([taskbench_row()], indent=indent))
        line = refused(run, "taskbench", path, "--output_dir", tmp_path / "data")
        assert f"{path}:1: expected one JSON object a line, got the beginning of an array" in line
        assert "jq -c '.[]' FILE" in line


def test_request_without_a_gold_graph_has_the_sampled_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = taskbench_row()
    sampled = {
        "sampled_nodes": [
            {"task": node["task"], "input-type": ["image"], "output-type": ["text"]}
            for node in row.pop("task_nodes")
        ],
        "sampled_links": row.pop("task_links"),
    }
    both = taskbench_row(id="2") | sampled | {"sampled_links": []}
    path = write_lines(tmp_path / "data.json", [row | sampled, both])

    convert("taskbench", path, "--output_dir", tmp_path / "data")

    found = read_workflows(tmp_path / "data" / "planning" / "taskbench.jsonl.gz")
    assert [workflow.links for workflow in found] == [((0, 1),)] * 2  # the gold one comes first
    assert "1 workflows have no gold graph: theirs is the sampled one" in capsys.readouterr().out


def test_request_without_any_graph_is_refused(refused: Any, tmp_path: Path) -> None:
    row = {"id": "1", "user_request": "do it", "n_tools": 2, "type": "chain"}
    path = write_lines(tmp_path / "user_requests.json", [row])

    line = refused(run, "taskbench", path, "--output_dir", tmp_path / "data")
    assert f"{path}:1: expected task_nodes (or tool_nodes), the gold graph of data.json" in line


def test_arguments_by_name_tell_repeated_tools_apart(tmp_path: Path) -> None:
    """The tools of everyday life name their arguments; those of models list them."""
    nodes = [
        {"task": "look up", "arguments": [{"name": "what", "value": "x"}]},
        {"task": "look up", "arguments": [{"name": "what", "value": "<node-0>"}]},
        {"task": "book", "arguments": [{"name": "it", "value": "<node-1>"}]},
    ]
    links = [
        {"source": "look up", "target": "look up"},
        {"source": "look up", "target": "book"},
    ]
    row = taskbench_row(type="dag", task_nodes=nodes, task_links=links, task_steps=["1", "2", "3"])

    convert("taskbench", write_lines(tmp_path / "d.json", [row]), "--output_dir", tmp_path / "data")

    (workflow,) = read_workflows(tmp_path / "data" / "planning" / "taskbench.jsonl.gz")
    assert workflow.links == ((0, 1), (1, 2))
