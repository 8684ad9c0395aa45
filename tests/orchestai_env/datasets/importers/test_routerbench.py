"""RouterBench tables, CSV and Parquet, become recorded outcomes."""

from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import yaml

from orchestai_env.cli import main
from orchestai_env.datasets.folder import load_dataset
from orchestai_env.env import OrchestAIEnv
from tests.orchestai_env.datasets.importers.foreign import (
    NUM_QUERIES,
    ROUTERBENCH_HEADER,
    WORKERS,
    convert,
    read_csv,
    routerbench_rows,
    write_csv,
)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "routerbench_0shot.csv", ROUTERBENCH_HEADER, routerbench_rows())


def parquet(path: Path) -> Path:
    columns = zip(*routerbench_rows(), strict=True)
    data: dict[str, Any] = dict(zip(ROUTERBENCH_HEADER, map(list, columns), strict=True))
    data[WORKERS[1]] = [None if score == "" else score for score in data[WORKERS[1]]]
    pyarrow.parquet.write_table(pyarrow.table(data), path)
    return path


def test_table_becomes_queries_and_outcomes(table: Path, tmp_path: Path) -> None:
    convert("routerbench", table, "--output_dir", tmp_path / "data")

    queries = read_csv(tmp_path / "data" / "routerbench" / "queries.csv.gz")
    outcomes = read_csv(tmp_path / "data" / "routerbench" / "outcomes.csv.gz")
    assert len(queries) == NUM_QUERIES
    assert queries[4] == {
        "query_id": "grade-school-math.dev.4",
        "task_type": "grade-school-math",
        "prompt": '["Question 4,\n with ""quotes"""]',
    }
    assert len(outcomes) == 2 * NUM_QUERIES - 1  # a score that is not there is no call
    assert outcomes[0] == {
        "query_id": "mbpp.dev.0",
        "task_type": "mbpp",
        "model": "gpt-4-1106-preview",
        "trial": "1",
        "score": "1",
        "input_tokens": "",
        "output_tokens": "",
        "cost_usd": "0.01",
        "latency_ms": "",
    }


def test_gzipped_csv_and_parquet_give_the_same_tables(table: Path, tmp_path: Path) -> None:
    packed = write_csv(tmp_path / "table.csv.gz", ROUTERBENCH_HEADER, routerbench_rows())
    inputs = [table, packed, parquet(tmp_path / "table.parquet")]

    files = []
    for index, path in enumerate(inputs):
        folder = tmp_path / str(index)
        convert("routerbench", path, "--output_dir", folder)
        names = ("queries.csv.gz", "outcomes.csv.gz")
        files.append([(folder / "routerbench" / name).read_bytes() for name in names])

    assert files[0] == files[1] == files[2]


def test_same_rows_again_are_further_trials(table: Path, tmp_path: Path) -> None:
    convert("routerbench", table, table, "--output_dir", tmp_path / "data", "--name", "twice")

    assert len(read_csv(tmp_path / "data" / "twice" / "queries.csv.gz")) == NUM_QUERIES
    trials = [r["trial"] for r in read_csv(tmp_path / "data" / "twice" / "outcomes.csv.gz")]
    assert sorted(trials) == ["1"] * (2 * NUM_QUERIES - 1) + ["2"] * (2 * NUM_QUERIES - 1)


def test_provenance_names_source_licence_hash_and_what_was_passed_over(
    table: Path, tmp_path: Path
) -> None:
    convert(
        *("routerbench", table, "--output_dir", tmp_path / "data"),
        *("--source", "withmartian/routerbench", "--license", "MIT"),
    )

    data = json.loads((tmp_path / "data" / "routerbench" / "provenance.json").read_text())
    assert data["source"] == "withmartian/routerbench" and data["license"] == "MIT"
    assert data["inputs"][0]["file"] == "routerbench_0shot.csv"
    assert len(data["inputs"][0]["sha256"]) == 64
    assert (data["queries"], data["calls"], data["left_out"]) == (30, 59, 0)
    assert "columns passed over: oracle_model_to_route_to" in data["notes"][0]
    assert "USD" in data["units"]["cost_usd"]


def test_converted_tables_are_imported_and_played(table: Path, tmp_path: Path) -> None:
    convert("routerbench", table, "--output_dir", tmp_path / "data")
    config = tmp_path / "data" / "routerbench" / "import.yaml"
    settings = yaml.safe_load(config.read_text())
    assert settings["source"]["latency"] == "none" and settings["source"]["cost"] == "recorded"
    settings["source"]["num_workflows"] = {"train": 5, "validation": 5, "test": 5}
    config.write_text(yaml.safe_dump(settings))
    arguments = ["--config", config, "--data", tmp_path / "data", "--output_dir", tmp_path / "set"]

    main(["import-recorded", *map(str, arguments)])

    env = OrchestAIEnv(load_dataset(tmp_path / "set", "train"))
    env.reset(seed=0)
    info: dict[str, Any] = {}
    ended = False
    while not ended:
        *_, terminated, truncated, info = env.step(0)
        ended = terminated or truncated
    assert info["is_success"] and info["episode_result"].total_cost > 0


def test_summary_counts_what_was_recorded(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    convert("routerbench", table, "--output_dir", tmp_path / "data")

    out = capsys.readouterr().out
    assert "routerbench: 30 queries, 59 calls, 2 workers, 2 task types" in out
    assert "tokens and latency are not part of this format" in out
    assert "next: orchestai import-recorded --config" in out


def test_pickles_are_refused_by_name_and_by_content(refused: Any, tmp_path: Path) -> None:
    names = ("routerbench_0shot.pkl", "table.PICKLE", "table.pkl.gz")
    for protocol in (2, 5):
        hidden = tmp_path / f"table{protocol}.csv"
        hidden.write_bytes(pickle.dumps({"sample_id": ["a"]}, protocol=protocol))
        line = refused(run, "routerbench", hidden, "--output_dir", tmp_path / "data")
        assert "got a pickle, which can run any code" in line

    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(gzip.compress(pickle.dumps([1])))
    line = refused(run, "routerbench", packed, "--output_dir", tmp_path / "data")
    assert "got a pickle" in line
    for name in names:
        (tmp_path / name).write_text("sample_id,prompt")
        line = refused(run, "routerbench", tmp_path / name, "--output_dir", tmp_path / "data")
    assert "pandas.read_pickle(FILE).to_parquet(TABLE)" in line and "convert that" in line


def run(arguments: list[str]) -> None:
    convert(*arguments)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (["sample_id", "prompt", *ROUTERBENCH_HEADER[3:]], "column 'eval_name' is missing"),
        ([*ROUTERBENCH_HEADER, "ghost|total_cost"], "column 'ghost' is missing"),
        (["sample_id", "prompt", "eval_name", "gpt"], r"WORKER|total_cost"),
        (["sample_id", *ROUTERBENCH_HEADER], "column 'sample_id' comes twice"),
        ([], "expected the names of columns, got nothing"),
    ],
)
def test_wrong_header_is_named(
    refused: Any, tmp_path: Path, header: list[str], expected: str
) -> None:
    path = write_csv(tmp_path / "table.csv", header, [])

    assert expected in refused(run, "routerbench", path, "--output_dir", tmp_path / "data")


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        (3, "1.5", r"gpt-4-1106-preview: expected a number, 0..1, got '1.5'"),
        (3, "yes", "expected a number, 0..1, got 'yes'"),
        (7, "-1", "gpt-4-1106-preview|total_cost: expected a number, 0 or more, got '-1'"),
        (0, "", "sample_id: expected text, got None"),
        (0, "grade-school-math.dev.1", "came before with another text or type"),
        (None, None, "expected 10 fields, got 9"),
        ((3, 4), "", "expected a score of at least one of"),
    ],
)
def test_bad_line_is_refused_by_file_and_line_or_left_out(
    refused: Any, tmp_path: Path, column: Any, value: Any, expected: str
) -> None:
    rows = routerbench_rows()
    if column is None:
        rows[4] = rows[4][:-1]
    else:
        for index in column if isinstance(column, tuple) else (column,):
            rows[4][index] = value
    path = write_csv(tmp_path / "table.csv", ROUTERBENCH_HEADER, rows)
    output = tmp_path / "data"

    line = refused(run, "routerbench", path, "--output_dir", output)
    assert f"{path}:11: " in line and expected in line and "--skip-bad" in line
    assert not list(output.iterdir())  # nothing half written

    convert("routerbench", path, "--output_dir", output, "--skip-bad")
    listed = (output / "routerbench" / "left_out.txt").read_text().splitlines()
    assert len(listed) == 1 and expected in listed[0]
    assert len(read_csv(output / "routerbench" / "queries.csv.gz")) == NUM_QUERIES - 1


def test_list_of_bad_lines_goes_when_they_are_repaired(table: Path, tmp_path: Path) -> None:
    rows = routerbench_rows()
    rows[0][3] = 7
    bad = write_csv(tmp_path / "bad.csv", ROUTERBENCH_HEADER, rows)

    convert("routerbench", bad, "--output_dir", tmp_path / "data", "--skip-bad")
    convert("routerbench", table, "--output_dir", tmp_path / "data", "--skip-bad")

    assert not (tmp_path / "data" / "routerbench" / "left_out.txt").exists()


def test_long_answers_do_not_matter(tmp_path: Path) -> None:
    rows = routerbench_rows()
    rows[2][5] = "long " * 100_000  # more than the 131,072 characters that csv allows by itself
    path = write_csv(tmp_path / "table.csv", ROUTERBENCH_HEADER, rows)

    convert("routerbench", path, "--output_dir", tmp_path / "data")

    assert len(read_csv(tmp_path / "data" / "routerbench" / "queries.csv.gz")) == NUM_QUERIES


def test_file_that_breaks_off_is_refused_even_with_skip_bad(refused: Any, tmp_path: Path) -> None:
    whole = write_csv(tmp_path / "table.csv.gz", ROUTERBENCH_HEADER, routerbench_rows())
    broken = tmp_path / "broken.csv.gz"
    broken.write_bytes(whole.read_bytes()[:-40])
    torn = tmp_path / "torn.parquet"
    torn.write_bytes(parquet(tmp_path / "t.parquet").read_bytes()[:-40])

    for path in (broken, torn):
        line = refused(run, "routerbench", path, "--output_dir", tmp_path / "d", "--skip-bad")
        assert str(path) in line and "fetch it again" in line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nonsense", "x"], "unknown format 'nonsense'"),
        (["routerbench", "missing.csv"], "missing.csv: no such file"),
        (["routerbench", "x", "--name", "a/b"], "--name: expected a folder name"),
        (["routerbench", "x", "--name", "planning"], "other than 'planning'"),
    ],
)
def test_wrong_arguments_are_named(
    refused: Any, tmp_path: Path, arguments: list[str], expected: str
) -> None:
    assert expected in refused(run, *arguments, "--output_dir", tmp_path / "data")


def test_file_in_place_of_the_output_folder_is_refused(
    refused: Any, table: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").write_text("")

    line = refused(run, "routerbench", table, "--output_dir", tmp_path / "data")
    assert "expected a folder to write to, got a file" in line


def test_nothing_left_is_refused(refused: Any, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "table.csv", ROUTERBENCH_HEADER, [["only one"]])

    line = refused(run, "routerbench", path, "--output_dir", tmp_path / "data", "--skip-bad")
    assert "got none (1 bad lines; the first:" in line
