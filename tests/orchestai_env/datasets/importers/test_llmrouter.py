"""LLMRouter routing data becomes recorded outcomes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.orchestai_env.datasets.importers.foreign import (
    convert,
    llmrouter_rows,
    read_csv,
    write_lines,
)


def run(arguments: list[str]) -> None:
    convert(*arguments)


@pytest.mark.parametrize("name", ["routing.jsonl", "routing.jsonl.gz"])
def test_lines_become_queries_outcomes_and_trials(tmp_path: Path, name: str) -> None:
    path = write_lines(tmp_path / name, llmrouter_rows())

    convert("llmrouter", path, "--output_dir", tmp_path / "data")

    queries = read_csv(tmp_path / "data" / "llmrouter" / "queries.csv.gz")
    outcomes = read_csv(tmp_path / "data" / "llmrouter" / "outcomes.csv.gz")
    assert [row["prompt"] for row in queries] == [f"What is {i} + {i}?" for i in range(10)]
    assert {row["task_type"] for row in queries} == {"gsm8k"}
    assert len(outcomes) == 25
    assert sorted(row["trial"] for row in outcomes) == ["1"] * 20 + ["2"] * 5
    assert outcomes[0] | {"query_id": ""} == {
        "query_id": "",
        "task_type": "gsm8k",
        "model": "qwen2.5-7b-instruct",
        "trial": "1",
        "score": "0",
        "input_tokens": "449",
        "output_tokens": "4",
        "cost_usd": "",
        "latency_ms": "1500",  # the source has seconds
    }
    settings = yaml.safe_load((tmp_path / "data" / "llmrouter" / "import.yaml").read_text())
    assert settings["source"]["cost"] == "none" and settings["source"]["latency"] == "recorded"


def test_questions_of_equal_text_and_other_options_stay_apart(tmp_path: Path) -> None:
    row = llmrouter_rows()[0]
    path = write_lines(tmp_path / "routing.jsonl", [row, row | {"choices": '{"text": ["A"]}'}])

    convert("llmrouter", path, "--output_dir", tmp_path / "data")

    queries = read_csv(tmp_path / "data" / "llmrouter" / "queries.csv.gz")
    assert len({row["query_id"] for row in queries}) == 2


def test_failed_call_has_no_invented_zeros(tmp_path: Path) -> None:
    row = llmrouter_rows()[0] | {
        "response": "ERROR: timeout",
        "input_tokens": 0,
        "output_tokens": 0,
        "response_time": 0,
        "performance": 0.0,
    }
    path = write_lines(tmp_path / "routing.jsonl", [row])

    convert("llmrouter", path, "--output_dir", tmp_path / "data")

    (outcome,) = read_csv(tmp_path / "data" / "llmrouter" / "outcomes.csv.gz")
    assert outcome["score"] == "0"
    assert not outcome["latency_ms"] and not outcome["output_tokens"]
    notes = json.loads((tmp_path / "data" / "llmrouter" / "provenance.json").read_text())["notes"]
    assert any("1 calls gave no answer" in note for note in notes)
    assert any(note.startswith("fields passed over: embedding_id,") for note in notes)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"performance": None}, "performance: expected a number, 0..1, got none"),
        ({"performance": 2}, "performance: expected a number, 0..1, got 2"),
        ({"performance": True}, "performance: expected a number, 0..1, got True"),
        ({"performance": float("inf")}, "performance: expected a number, 0..1, got inf"),
        ({"response_time": "-1"}, "response_time: expected a number, 0 or more"),
        ({"input_tokens": [1]}, "input_tokens: expected a number, 0 or more, got [1]"),
        ({"model_name": ""}, "model_name: expected text, got ''"),
        ({"query": 3}, "query: expected text, got 3"),
    ],
)
def test_bad_field_is_named_with_file_and_line(
    refused: Any, tmp_path: Path, change: dict[str, Any], expected: str
) -> None:
    rows = llmrouter_rows()
    path = write_lines(tmp_path / "routing.jsonl", [rows[0], "", rows[1] | change, rows[2]])

    line = refused(run, "llmrouter", path, "--output_dir", tmp_path / "data")
    assert f"{path}:3: " in line and expected in line

    convert("llmrouter", path, "--output_dir", tmp_path / "data", "--skip-bad")
    assert len(read_csv(tmp_path / "data" / "llmrouter" / "outcomes.csv.gz")) == 2


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"query": "torn', "expected one JSON object a line, got no JSON"),
        ("[1, 2]", "got the beginning of an array; write its objects a line each"),
        ("12", "expected a JSON object, got 12"),
        ('{"query": "no task"}', "task_name: expected text, got no such key among query"),
        ('{"query": ' + "[" * 100_000, "got no JSON (it is nested too deeply)"),
    ],
)
def test_line_that_is_no_object_is_refused(
    refused: Any, tmp_path: Path, line: str, expected: str
) -> None:
    path = write_lines(tmp_path / "routing.jsonl", [line, llmrouter_rows()[0]])

    message = refused(run, "llmrouter", path, "--output_dir", tmp_path / "data")
    assert f"{path}:1: " in message and expected in message

    convert("llmrouter", path, "--output_dir", tmp_path / "data", "--skip-bad")


def test_line_that_is_no_text_is_refused(refused: Any, tmp_path: Path) -> None:
    path = tmp_path / "routing.jsonl"
    path.write_bytes(b'{"query": "\xff\xfe"}\n')

    assert f"{path}:1: " in refused(run, "llmrouter", path, "--output_dir", tmp_path / "data")


def test_gzip_that_breaks_off_is_refused(refused: Any, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "routing.jsonl.gz", llmrouter_rows())
    path.write_bytes(path.read_bytes()[:-30])

    line = refused(run, "llmrouter", path, "--output_dir", tmp_path / "data", "--skip-bad")
    assert "the file breaks off or is damaged" in line
