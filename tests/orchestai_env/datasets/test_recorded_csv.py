"""The CSV tables: what is read, and one clear line for each thing that may be wrong."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestai_env.datasets.recorded_csv import (
    QueryRow,
    read_outcomes,
    read_queries,
    write_outcomes,
    write_queries,
)
from orchestai_env.errors import DataError, MissingFileError, SplitLeakError
from tests.orchestai_env.datasets.toy_source import OUTCOME_HEADER, QUERY_HEADER, write_csv

TYPES = {"q0": "math", "q1": "code"}
GOOD = ["q0", "math", "ace", "1", "1", "10", "20", "0.1", "5"]


def outcomes_with(tmp_path: Path, *rows: list[Any], header: list[str] = OUTCOME_HEADER) -> Path:
    path = tmp_path / "outcomes.csv.gz"
    write_csv(path, header, list(rows))
    return path


def good_but(**changes: str) -> list[str]:
    return [changes.get(name, value) for name, value in zip(OUTCOME_HEADER, GOOD, strict=True)]


def test_read_outcomes_keeps_the_asked_workers(tmp_path: Path) -> None:
    path = outcomes_with(
        tmp_path,
        good_but(model="eve"),
        good_but(query_id="q1", task_type="code", model="bob", trial="3"),
        good_but(input_tokens="", output_tokens="", cost_usd="", latency_ms=""),
    )

    rows, models = read_outcomes(path, TYPES, ["bob", "ace"])

    assert models == {"ace", "bob", "eve"}
    assert rows.query.tolist() == [1, 0]
    assert rows.worker.tolist() == [0, 1]
    assert rows.trial.tolist() == [3, 1]
    assert rows.score.tolist() == [1.0, 1.0]
    assert rows.cost_usd[0] == 0.1
    assert np.isnan([rows.cost_usd[1], rows.latency_ms[1], rows.output_tokens[1]]).all()


def test_read_outcomes_finds_columns_by_name(tmp_path: Path) -> None:
    path = outcomes_with(tmp_path, ["note", *GOOD[::-1]], header=["remark", *OUTCOME_HEADER[::-1]])

    assert read_outcomes(path, TYPES, ["ace"]).rows.latency_ms.tolist() == [5.0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": "good"}, "score: expected a number, 0..1, got 'good'"),
        ({"score": ""}, "score: expected a number, 0..1, got ''"),
        ({"score": "1.01"}, "score: expected a number, 0..1, got '1.01'"),
        ({"score": "-0.1"}, "score: expected a number, 0..1, got '-0.1'"),
        ({"score": "nan"}, "score: expected a number, 0..1, got 'nan'"),
        ({"cost_usd": "-1"}, "cost_usd: expected a number, 0 or more, got '-1'"),
        ({"cost_usd": "free"}, "cost_usd: expected a number, 0 or more, got 'free'"),
        ({"latency_ms": "inf"}, "latency_ms: expected a number, 0 or more, got 'inf'"),
        ({"output_tokens": "-3"}, "output_tokens: expected a number, 0 or more"),
        ({"trial": "one"}, "trial: expected a whole number, got 'one'"),
        ({"trial": "9" * 20}, "trial: expected a whole number, got '9999"),
        ({"query_id": "q9"}, "query_id 'q9' is not in the query table"),
        ({"task_type": "code"}, "task_type: query 'q0' has 'math', got 'code'"),
        ({"trial": "2"}, r"\(query_id, model, trial\) \('q0', 'ace', 2\) comes twice"),
    ],
)
def test_read_outcomes_refuses_a_malformed_line(
    tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    path = outcomes_with(tmp_path, good_but(trial="2"), good_but(**changes))

    with pytest.raises(DataError, match=rf"outcomes\.csv\.gz:3: {message}"):
        read_outcomes(path, TYPES, ["bob"])


def test_read_outcomes_refuses_other_columns(tmp_path: Path) -> None:
    path = outcomes_with(tmp_path, header=[*OUTCOME_HEADER[:4], "mark", *OUTCOME_HEADER[5:]])

    with pytest.raises(DataError, match=r":1: column 'score' is missing; got query_id, task_type"):
        read_outcomes(path, TYPES, ["ace"])


def test_read_outcomes_refuses_a_short_line(tmp_path: Path) -> None:
    path = outcomes_with(tmp_path, GOOD, GOOD[:-1])

    with pytest.raises(DataError, match=r":3: expected 9 fields, got 8; repair or remove"):
        read_outcomes(path, TYPES, ["ace"])


def test_read_outcomes_refuses_a_truncated_gzip(tmp_path: Path) -> None:
    path = outcomes_with(tmp_path, *(good_but(trial=str(i)) for i in range(2_000)))
    path.write_bytes(path.read_bytes()[:-3_000])

    with pytest.raises(DataError, match=r"outcomes\.csv\.gz:\d+: the file breaks off or is damag"):
        read_outcomes(path, TYPES, ["ace"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"query_id,task_type,prompt\n", "damaged"),
        (gzip.compress(b"query_id,task_type,prompt\nq0,math,\xff\n"), "damaged"),
        (gzip.compress(b'query_id,task_type,prompt\nq0,math,"cut'), "text that breaks"),
        (gzip.compress(b""), "column 'query_id' is missing"),
    ],
    ids=["not gzip", "not utf-8", "open quote", "empty"],
)
def test_read_queries_refuses_a_damaged_file(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "queries.csv.gz"
    path.write_bytes(content)

    with pytest.raises(DataError, match=rf"queries\.csv\.gz:\d+: .*{message}"):
        read_queries(path)


def test_read_queries_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"queries\.csv: no such file"):
        read_queries(tmp_path / "queries.csv")


def test_read_queries_refuses_empty_and_repeated_names(tmp_path: Path) -> None:
    path = tmp_path / "queries.csv.gz"

    write_csv(path, QUERY_HEADER, [["", "math", "text"]])
    with pytest.raises(DataError, match=":2: expected a query_id and a task_type, got an empty"):
        read_queries(path)
    write_csv(path, QUERY_HEADER, [["q0", "math", "a"], ["q0", "math", "b"]])
    with pytest.raises(DataError, match=":3: query_id 'q0' comes twice"):
        read_queries(path)


def test_read_queries_refuses_a_query_listed_in_two_splits(tmp_path: Path) -> None:
    path = tmp_path / "queries.csv.gz"
    rows = [["q0", "math", "a", "train"], ["q0", "math", "a", "test"]]
    write_csv(path, [*QUERY_HEADER, "split"], rows)

    with pytest.raises(SplitLeakError, match=":3: query 'q0' is in two splits, train and test"):
        read_queries(path, with_split=True)


def test_queries_round_trip_with_any_text(tmp_path: Path) -> None:
    queries = {
        "a": QueryRow("math", 'comma, "quote"\r\nand\rbreaks\n', "train"),
        "b": QueryRow("code", "Ünïcode  …", "test"),
    }

    write_queries(tmp_path / "queries.csv.gz", queries.items())

    assert read_queries(tmp_path / "queries.csv.gz", with_split=True) == queries


def test_outcomes_round_trip_and_reproduce(tmp_path: Path) -> None:
    path = outcomes_with(
        tmp_path, good_but(score="0.30000000000000004", cost_usd=""), good_but(trial="2")
    )
    rows, _ = read_outcomes(path, TYPES, ["ace"])

    for name in ("first.csv.gz", "second.csv.gz"):
        write_outcomes(
            tmp_path / name, rows, query_ids=["q0", "q1"], types=["math", "code"], workers=["ace"]
        )

    again, _ = read_outcomes(tmp_path / "first.csv.gz", TYPES, ["ace"])
    for field, values in vars(rows).items():
        np.testing.assert_array_equal(getattr(again, field), values)
    assert (tmp_path / "first.csv.gz").read_bytes() == (tmp_path / "second.csv.gz").read_bytes()
    text = gzip.decompress((tmp_path / "first.csv.gz").read_bytes()).decode()
    assert text.splitlines()[2] == "q0,math,ace,2,1,10,20,0.1,5"
