"""What goes in comes out: random tables and plans survive the conversion."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestai_env.datasets.importers.conversion import ConvertSettings, convert
from orchestai_env.datasets.importers.formats import FORMATS
from orchestai_env.datasets.recorded_csv import read_outcomes, read_queries
from orchestai_env.errors import MissingPackageError
from orchestai_env.workflow import read_workflows
from tests.orchestai_env.datasets.importers import foreign

# No surrogates, which no file in UTF-8 can hold, and no NUL, which csv refuses.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).filter(str.strip)
NUMBERS = st.none() | st.floats(0, 1e9)


@st.composite
def calls(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Lines of LLMRouter, several of one query and model among them."""
    queries = draw(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4, unique=True))
    return draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    "query": st.sampled_from(queries),
                    "model_name": st.sampled_from(["a", "b", 'c "quoted", d']),
                    "performance": st.floats(0, 1),
                    "input_tokens": NUMBERS,
                    "output_tokens": NUMBERS,
                    "response_time": NUMBERS,
                }
            ),
            min_size=1,
            max_size=12,
        )
    )


def run(name: str, path: Path, folder: Path) -> Path:
    """Converts a file and returns the folder of sources."""
    convert(name, FORMATS[name], ConvertSettings(inputs=(path,), output_dir=folder, name=name))
    return folder


@given(calls())
@settings(max_examples=30)
def test_calls_are_read_back_by_the_import(lines: list[dict[str, Any]]) -> None:
    rows = [{**line, "task_name": line["query"][0], "query": line["query"][1]} for line in lines]
    with tempfile.TemporaryDirectory() as folder:
        path = foreign.write_lines(Path(folder) / "routing.jsonl", rows)
        source = run("llmrouter", path, Path(folder) / "data") / "llmrouter"
        queries = read_queries(source / "queries.csv.gz")
        models = sorted({row["model_name"] for row in rows})
        types = {query_id: query.task_type for query_id, query in queries.items()}
        outcomes = read_outcomes(source / "outcomes.csv.gz", types, models).rows

    texts = [(query.task_type, query.prompt) for query in queries.values()]
    assert texts == list(dict.fromkeys(line["query"] for line in lines))
    assert len(outcomes.score) == len(lines)
    trials: dict[Any, int] = {}
    for i, line in enumerate(lines):
        key = (line["query"], line["model_name"])
        trials[key] = trials.get(key, 0) + 1
        assert texts[outcomes.query[i]] == line["query"]
        assert models[outcomes.worker[i]] == line["model_name"]
        assert outcomes.trial[i] == trials[key]
        assert outcomes.score[i] == line["performance"]
        seconds = line["response_time"]
        expected = float("nan") if seconds is None else seconds * 1000.0
        assert outcomes.latency_ms[i] == pytest.approx(expected, rel=0, abs=0, nan_ok=True)
        tokens = line["input_tokens"]
        recorded = float("nan") if tokens is None else tokens
        assert outcomes.input_tokens[i] == pytest.approx(recorded, rel=0, abs=0, nan_ok=True)


@st.composite
def plans(draw: st.DrawFn) -> tuple[list[str], list[tuple[int, int]]]:
    """Different tools in a topological order, and links that point forward."""
    types = draw(st.lists(TEXTS, min_size=1, max_size=6, unique=True))
    pairs = [(i, j) for j in range(len(types)) for i in range(j)]
    links = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    return types, links


@given(plans(), TEXTS)
@settings(max_examples=30)
def test_plans_are_read_back_as_workflows(
    plan: tuple[list[str], list[tuple[int, int]]], instruction: str
) -> None:
    types, links = plan
    row = {
        "id": "1",
        "user_request": instruction,
        "task_steps": [f"step {i}" for i in range(len(types))],
        "task_nodes": [{"task": kind, "arguments": []} for kind in types],
        "task_links": [{"source": types[i], "target": types[j]} for i, j in links],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = foreign.write_lines(Path(folder) / "data.json", [row])
        source = run("taskbench", path, Path(folder) / "data")
        (workflow,) = read_workflows(source / "planning" / "taskbench.jsonl.gz")

    assert workflow.instruction == instruction
    assert sorted(s.type for s in workflow.subtasks) == sorted(types)
    assert all(s.name == f"step {types.index(s.type)}" for s in workflow.subtasks)
    found = {(workflow.subtasks[i].type, workflow.subtasks[j].type) for i, j in workflow.links}
    assert found == {(types[i], types[j]) for i, j in links}


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_equal_inputs_give_equal_files(name: str, tmp_path: Path) -> None:
    inputs = {
        "agbench": foreign.write_agbench(tmp_path / "agbench"),
        "llmrouter": foreign.write_lines(tmp_path / "routing.jsonl", foreign.llmrouter_rows()),
        "routerbench": foreign.write_csv(
            tmp_path / "table.csv", foreign.ROUTERBENCH_HEADER, foreign.routerbench_rows()
        ),
        "taskbench": foreign.write_lines(tmp_path / "data.json", [foreign.taskbench_row()]),
    }

    first, second = (run(name, inputs[name], tmp_path / side) for side in ("one", "two"))

    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(files) >= 2
    for file in files:
        assert (first / file).read_bytes() == (second / file).read_bytes(), file


@pytest.mark.parametrize(
    ("module", "what"), [("pyarrow", "Parquet files"), ("rich.console", "progress bars and tables")]
)
def test_missing_package_is_named(
    module: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(MissingPackageError, match=rf"{what} need .*orchestai-env\[data\]"):
        foreign.convert("routerbench", path, "--output_dir", tmp_path / "data")
