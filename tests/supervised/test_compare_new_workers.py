"""The command that leaves workers out and predicts them as if they were new."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from supervised import compare_new_workers as command
from supervised.compare_new_workers import OTHERS, price_features
from supervised.texts import embeddings
from tests.orchestai_env.datasets.toy_source import OUTCOME_HEADER, QUERY_HEADER, write_csv

PRICES = ["model", "input_usd_per_mtok", "output_usd_per_mtok", "price_source"]
NUM_WORKERS = 8


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A source where dear workers are better and high numbers are harder for all."""

    def embed(texts: Sequence[str], *, device: str) -> npt.NDArray[np.float32]:
        numbers = np.array([int(text) for text in texts]) / 60
        return np.stack([np.cos(numbers), np.sin(numbers)], axis=1).astype(np.float32)

    monkeypatch.setattr(embeddings, "embed_texts", embed)
    queries = [[f"q{i}", "math", f"{i}"] for i in range(60)]
    outcomes: list[list[Any]] = []
    for i, (query_id, kind, _) in enumerate(queries):
        for w in range(NUM_WORKERS):
            right = int(i < 6 + 7 * w)
            outcomes.append([query_id, kind, f"w{w}", 1, right, "", "", "", ""])
    write_csv(tmp_path / "toy" / "queries.csv.gz", QUERY_HEADER, queries)
    write_csv(tmp_path / "toy" / "outcomes.csv.gz", OUTCOME_HEADER, outcomes)
    prices = [[f"w{w}", 2.0**w, 3 * 2.0**w, "made up"] for w in range(NUM_WORKERS)]
    write_prices(tmp_path / "prices.csv", PRICES, prices)
    return [
        *("--data", str(tmp_path / "toy"), "--prices", str(tmp_path / "prices.csv")),
        *("--output_dir", str(tmp_path / "run"), "--num_seeds", "2"),
    ]


def write_prices(path: Path, header: list[str], rows: list[list[Any]]) -> Path:
    lines = [",".join(str(field) for field in row) for row in (header, *rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_price_and_text_beat_the_mean_of_the_others(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.main(arguments)

    summary = json.loads((tmp_path / "run" / "new_workers.json").read_text())
    assert list(summary) == [OTHERS, "0 calls per type", "5 calls per type", "20 calls per type"]
    assert summary[OTHERS]["log_loss_gain"]["mean"] == 0
    assert summary["0 calls per type"]["log_loss_gain"]["low"] > 0
    assert summary["0 calls per type"]["auc"]["mean"] > 0.9
    assert "20 calls per type" in capsys.readouterr().out


def test_first_price_list_counts_and_a_missing_price_is_the_mean(tmp_path: Path) -> None:
    rows = [["a", 0.99, 9.99, ""], ["a", 5, 5, ""], ["b", 99.99, 9.99, ""]]
    path = write_prices(tmp_path / "p.csv", PRICES, rows)

    found = price_features(path, ["a", "b", "c"])

    assert found == pytest.approx(np.log([[1.0, 10.0], [100.0, 10.0], [10.0, 10.0]]))


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        (["model", "price"], ["w0", 1], "column 'input_usd_per_mtok' is missing"),
        (PRICES, ["w0", -1, 1, ""], "p.csv:2: expected prices, 0 or more"),
        (PRICES, ["w0", "free", 1, ""], "p.csv:2: expected prices, 0 or more"),
        (PRICES, ["other", 1, 1, ""], "has no price of any worker of the source"),
    ],
)
def test_unusable_prices_are_refused(
    arguments: list[str],
    tmp_path: Path,
    refused: Callable[..., str],
    header: list[str],
    row: list[Any],
    message: str,
) -> None:
    path = write_prices(tmp_path / "p.csv", header, [row])

    assert message in refused(command.main, *arguments, "--prices", path)


def test_missing_prices_are_refused(
    arguments: list[str], tmp_path: Path, refused: Callable[..., str]
) -> None:
    assert "none.csv" in refused(command.main, *arguments, "--prices", tmp_path / "none.csv")
