"""The command that compares success predictors on one source."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from supervised import compare_predictors as command
from supervised.success.predictors import CANDIDATES, LOGISTIC
from supervised.success.source_labels import read_source_labels
from supervised.texts import embeddings
from tests.orchestai_env.datasets.toy_source import OUTCOME_HEADER, QUERY_HEADER, write_csv

Rows = list[list[Any]]
CALLS: list[int] = []


def tables() -> tuple[Rows, Rows]:
    """Scores alone: worker strong is always right, weak where the number is a multiple of 3."""
    queries = [[f"q{i}", "math_a" if i % 2 else "math_b", f'"{i}"'] for i in range(60)]
    outcomes: Rows = []
    for i, (query_id, kind, _) in enumerate(queries):
        for worker, value in (("strong", 1), ("weak", int(i % 3 == 0))):
            outcomes.append([query_id, kind, worker, 1, value, "", "", "", ""])
    return queries, outcomes


def write_source(folder: Path, queries: Rows, outcomes: Rows) -> Path:
    write_csv(folder / "queries.csv.gz", QUERY_HEADER, queries)
    write_csv(folder / "outcomes.csv.gz", OUTCOME_HEADER, outcomes)
    return folder


@pytest.fixture(autouse=True)
def encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    def embed(texts: Sequence[str], *, device: str) -> npt.NDArray[np.float32]:
        CALLS.append(len(texts))
        numbers = np.array([int(text.strip('"')) for text in texts])
        angle = np.where(numbers % 3 == 0, 0.3, 1.3)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)

    CALLS.clear()
    monkeypatch.setattr(embeddings, "embed_texts", embed)


def test_summary_table_and_picture_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = write_source(tmp_path / "toy", *tables()), tmp_path / "run"

    command.main(["--data", str(source), "--output_dir", str(output), "--num_seeds", "2"])

    summary = json.loads((output / "summary.json").read_text())
    assert list(summary["scores"]) == list(summary["test"]) == list(CANDIDATES)
    assert summary["num_seeds"] == 2 and sum(summary["num_queries"].values()) == 60
    assert set(summary["workers"]) == {"strong", "weak"}
    chosen = summary["test"][summary["chosen"]]
    assert summary["chosen"] != "type mean" and chosen["log_loss_gain"]["low"] > 0
    apgr = summary["gap_recovered"]["math"]
    assert apgr[summary["chosen"]]["mean"] > 0.6
    assert (output / "reliability.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "(chosen)" in printed and "APGR on math, type mean" in printed


def test_second_run_reuses_the_embeddings_and_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "CANDIDATES", {"type mean": (), "logistic": (LOGISTIC,)})
    source, output = write_source(tmp_path / "toy", *tables()), tmp_path / "run"
    arguments = ["--data", str(source), "--output_dir", str(output), "--num_seeds", "1"]

    command.main(arguments)
    first = (output / "summary.json").read_bytes()
    command.main(arguments)

    assert CALLS == [60]
    assert (output / "summary.json").read_bytes() == first


def test_scores_below_the_threshold_and_trials_are_averaged(tmp_path: Path) -> None:
    queries, outcomes = tables()
    outcomes[0][4], outcomes[2][4] = 0.49, 0.5
    outcomes.append(["q2", "math_b", "weak", 2, 1, "", "", "", ""])

    found = read_source_labels(write_source(tmp_path, queries, outcomes))

    assert found.workers == ("strong", "weak")
    assert found.labels.success[:3].tolist() == [[0.0, 1.0], [1.0, 0.0], [1.0, 0.5]]
    assert found.labels.known.all()
    assert found.queries.task_types == ("math_a", "math_b")
    assert (found.rows("train", "validation", "test")).all()
    assert found.rows("test").sum() == found.queries.split.count("test")


def test_folder_without_tables_is_refused(tmp_path: Path, refused: Callable[..., str]) -> None:
    line = refused(command.main, "--data", tmp_path, "--output_dir", tmp_path / "run")

    assert "queries.csv.gz: no such file; name the folder of one source" in line


@pytest.mark.parametrize("empty", ["queries", "outcomes"])
def test_empty_tables_are_refused(tmp_path: Path, refused: Callable[..., str], empty: str) -> None:
    queries, _ = tables()
    source = write_source(tmp_path, [] if empty == "queries" else queries, [])

    line = refused(command.main, "--data", source, "--output_dir", tmp_path / "run")

    assert f"{empty}.csv.gz: expected at least one line, got none" in line


def test_embeddings_of_another_source_are_refused(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    np.savez(tmp_path / "embeddings.npz", query_ids=np.array(["x"]), embeddings=np.ones((1, 2)))
    source = write_source(tmp_path / "toy", *tables())

    line = refused(command.main, "--data", source, "--output_dir", tmp_path)

    assert "embeddings.npz: belongs to other queries" in line


@pytest.mark.parametrize("seeds", ["0", "-1", "x"])
def test_number_of_seeds_below_one_is_refused(
    tmp_path: Path, seeds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(["--data", "x", "--output_dir", str(tmp_path), "--num_seeds", seeds])

    assert caught.value.code == 2
    assert "--num_seeds: expected a whole number, at least 1" in capsys.readouterr().err
