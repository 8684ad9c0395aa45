"""Wrong input to `orchestai import-recorded` and to the benchmark: one line, exit code 2."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from agents.benchmark import __main__ as benchmark
from orchestai_env import cli
from tests.recorded_source import edit, write_source
from tests.tiny_config import recorded_config, write_config


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({}, ["--data", "x"], "has no `source`, so --data x has no use"),
        ({}, ["--agent", "mine"], "--agent: expected name=path.zip"),
        ({}, ["--agent", "mine=none.zip"], "--agent mine: none.zip: no such checkpoint"),
        ({}, ["--agent", "mine=os:nothing_here"], "unknown factory 'nothing_here'"),
        ({"benchmark": {"profiles": {}}}, [], "benchmark.profiles names no reward profile"),
        ({"benchmark": {"profiles": {"a": "a.yaml"}}}, [], "a.yaml: no such settings file"),
    ],
)
def test_benchmark_that_cannot_start(
    changes: dict[str, Any],
    options: list[str],
    words: str,
    tmp_path: Path,
    refused: Callable[..., str],
) -> None:
    config = write_config(tmp_path)
    data = yaml.safe_load(config.read_text())
    data["benchmark"] |= changes.get("benchmark", {})
    config.write_text(yaml.safe_dump(data))

    line = refused(benchmark.main, "--config", config, "--output_dir", tmp_path / "run", *options)

    assert words in line


@pytest.mark.parametrize(
    ("data", "words"),
    [(None, "say where they are with --data FOLDER"), ("none", "its data is missing")],
)
def test_benchmark_without_its_recorded_data(
    data: str | None, words: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    arguments = ["--config", recorded_config(tmp_path), "--output_dir", tmp_path / "run"]
    if data:
        arguments += ["--data", tmp_path / data]

    assert words in refused(benchmark.main, *arguments)


def import_arguments(tmp_path: Path) -> list[object]:
    """Writes the toy source and a configuration of it, and returns the import's arguments."""
    write_source(tmp_path / "source")
    config = recorded_config(tmp_path)
    folders = ["--data", tmp_path / "source", "--output_dir", tmp_path / "imported"]
    return ["import-recorded", "--config", config, *folders]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"worker_models": [{"name": "aces"}]}, "unknown worker 'aces'. Did you mean 'ace'"),
        ({"worker_models": [{"name": "ace", "speed": 1}]}, "worker_models.0.speed: unknown key"),
        ({"worker_models": []}, "at least one worker"),
        ({"source": None}, "source: this key is required"),
        (
            {"source": {"source": "toys", "task_types": ["math"]}},
            "unknown source 'toys'. Did you mean 'toy'",
        ),
        (
            {"source": {"source": "toy", "task_types": ["maths"]}},
            "unknown task type 'maths'. Did you mean 'math'",
        ),
        ({"source": {"source": "toy"}}, "source.task_types: this key is required"),
    ],
)
def test_import_of_something_unknown(
    changes: dict[str, Any], words: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    arguments = import_arguments(tmp_path)
    config = tmp_path / "config.yaml"
    data = yaml.safe_load(config.read_text()) | changes
    config.write_text(yaml.safe_dump({k: v for k, v in data.items() if v is not None}))

    line = refused(cli.main, *arguments)

    assert words in line
    assert not (tmp_path / "imported" / "dataset.json").exists()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("0.02,", "free,", "outcomes.csv.gz:2: "),
        ("ace,1,1,", "ace,1,7,", "outcomes.csv.gz:2: "),
        (",cost_usd", "", "cost_usd"),
    ],
)
def test_import_of_a_malformed_line(
    old: str, new: str, words: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    arguments = import_arguments(tmp_path)
    path = tmp_path / "source" / "toy" / "outcomes.csv.gz"
    edit(path, lambda text: text.replace(old, new, 1))

    line = refused(cli.main, *arguments)

    assert str(path) in line and words in line


@pytest.mark.parametrize("name", ["toy/queries.csv.gz", "toy/outcomes.csv.gz"])
@pytest.mark.parametrize("is_missing", [False, True])
def test_import_of_a_missing_or_truncated_file(
    name: str, is_missing: bool, tmp_path: Path, refused: Callable[..., str]
) -> None:
    arguments = import_arguments(tmp_path)
    path = tmp_path / "source" / name
    if is_missing:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-30])

    assert str(path) in refused(cli.main, *arguments)


def test_import_of_a_cyclic_plan(tmp_path: Path, refused: Callable[..., str]) -> None:
    arguments = import_arguments(tmp_path)
    plan = {"subtasks": [{}, {}], "links": [[0, 1], [1, 0]]}
    path = tmp_path / "source" / "planning" / "plans.jsonl.gz"
    edit(path, lambda text: text + json.dumps(plan) + "\n")

    line = refused(cli.main, *arguments)

    assert f"{path}:5" in line and "cycle" in line


def test_import_of_good_input_prints_what_it_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main([str(argument) for argument in import_arguments(tmp_path)])

    assert "60 queries of 2 task types, 2 workers" in capsys.readouterr().out
    assert (tmp_path / "imported" / "dataset.json").is_file()
