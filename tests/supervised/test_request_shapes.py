"""The command that compares classifiers of the shape of a request's plan."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from supervised import request_shapes as command
from supervised.shapes.classifiers import (
    CANDIDATES,
    MAJORITY,
    NEIGHBOURS,
)
from supervised.shapes.requests import MIN_TRAINING, SHAPES, read_requests
from supervised.texts import embeddings
from tests.supervised.shapes.request_files import Lines, request_lines, write

WORDS = "embedding and words"
CALLS: list[int] = []


@pytest.fixture(autouse=True)
def encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Embeddings that tell a single subtask from several, and no more."""

    def embed(texts: Sequence[str], *, device: str) -> npt.NDArray[np.float32]:
        CALLS.append(len(texts))
        several = np.array([" and " in text for text in texts])
        angle = several + 0.1 * np.random.default_rng(0).normal(size=len(texts))
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)

    CALLS.clear()
    monkeypatch.setattr(embeddings, "embed_texts", embed)


@pytest.fixture
def few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    names = (MAJORITY, NEIGHBOURS, "logistic, embedding and words")
    monkeypatch.setattr(command, "CANDIDATES", {name: CANDIDATES[name] for name in names})


def run(data: Path, output: Path, seeds: int = 1) -> Any:
    command.main(["--data", str(data), "--output_dir", str(output), "--num_seeds", str(seeds)])
    return json.loads((output / "summary.json").read_text())


def test_wording_is_learned_where_embeddings_cannot_tell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Majority scores 0.5, embeddings at most 0.75; words, marks and counts tell all apart."""
    summary = run(write(tmp_path, request_lines()), tmp_path / "run", seeds=2)

    assert list(summary["scores"]) == list(summary["test"]) == list(CANDIDATES)
    assert summary["chosen"].endswith(WORDS) and summary["num_seeds"] == 2
    chosen = summary["test"][summary["chosen"]]
    assert chosen["accuracy"]["mean"] > 0.95
    assert chosen["gain_over_majority"]["low"] > 0.2
    assert chosen["gain_over_neighbours"]["low"] > 0
    assert summary["test"]["logistic, embedding"]["gain_over_majority"]["low"] > 0
    assert (tmp_path / "run" / "confusion.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "(chosen)" in printed and "written: " in printed


@pytest.mark.usefixtures("few_candidates")
def test_figures_of_the_summary_agree(tmp_path: Path) -> None:
    summary = run(write(tmp_path, request_lines()), tmp_path / "run")

    sizes = summary["num_requests"]
    assert sum(sum(split.values()) for split in sizes.values()) == 160
    majority = summary["test"][MAJORITY]
    expected = sizes["test"]["chain"] / sum(sizes["test"].values())
    assert majority["accuracy"]["mean"] == pytest.approx(expected)
    assert majority["gain_over_majority"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
    for name, test in summary["test"].items():
        value, counts = test["accuracy"], np.array(summary["confusion"][name])
        assert value["low"] <= value["mean"] <= value["high"]
        assert counts.trace() / counts.sum() == pytest.approx(value["mean"])
        assert counts.sum(axis=1).tolist() == [sizes["test"][shape] for shape in SHAPES]
        gain = value["mean"] - majority["accuracy"]["mean"]
        assert test["gain_over_majority"]["mean"] == pytest.approx(gain)
        assert summary["scores"][name]["test"]["accuracy"] == pytest.approx(value["mean"])


@pytest.mark.usefixtures("few_candidates")
def test_second_run_reuses_the_embeddings_and_gives_the_same(tmp_path: Path) -> None:
    data, output = write(tmp_path, request_lines()), tmp_path / "run"

    run(data, output)
    first = (output / "summary.json").read_bytes()
    run(data, output)

    assert CALLS == [160]
    assert (output / "summary.json").read_bytes() == first


@pytest.mark.usefixtures("few_candidates")
def test_shapes_of_test_requests_are_only_measured_on(tmp_path: Path) -> None:
    """With other shapes on the test side, nothing is learned or chosen differently."""
    lines = request_lines()
    test = read_requests(write(tmp_path, lines)).rows("test")
    summary = run(tmp_path / "requests.jsonl", tmp_path / "run")
    for row in np.flatnonzero(test):
        lines[row]["shape"] = "dag"

    other = run(write(tmp_path, lines), tmp_path / "run")

    for key in ("chosen", "settings"):
        assert other[key] == summary[key]
    for name, scores in summary["scores"].items():
        for split in ("train", "validation"):
            assert other["scores"][name][split] == scores[split]
    assert other["test"] != summary["test"]


GOOD = {"instruction": "Sing.", "shape": "single", "domain": "music"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param(["x"], r"expected {instruction, shape, domain}, got ['x']", id="no_object"),
        pytest.param(GOOD | {"shape": "chian"}, "unknown shape 'chian'. Did you mean", id="shape"),
        pytest.param(GOOD | {"shape": 1}, "shape: expected a text, got 1", id="number"),
        pytest.param(GOOD | {"instruction": " "}, "instruction: expected a text, got", id="blank"),
        *(
            pytest.param(
                {k: v for k, v in GOOD.items() if k != key},
                f"{key}: expected a text, got no such key",
                id=f"no_{key}",
            )
            for key in GOOD
        ),
    ],
)
def test_malformed_line_is_refused(
    tmp_path: Path, refused: Callable[..., str], line: object, message: str
) -> None:
    data = write(tmp_path, [GOOD, line])

    found = refused(command.main, "--data", data, "--output_dir", tmp_path / "run")

    assert f"{data}:2: " in found and message in found
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        pytest.param([], "expected at least one request, got none", id="empty"),
        pytest.param(request_lines(20), f"expected {MIN_TRAINING} training requests", id="few"),
        pytest.param(
            request_lines(shapes=("dag",)),
            "expected training requests of two shapes or more, got 'dag' alone",
            id="one_shape",
        ),
    ],
)
def test_too_little_to_learn_from_is_refused(
    tmp_path: Path, refused: Callable[..., str], lines: Lines, message: str
) -> None:
    data = write(tmp_path, lines)

    found = refused(command.main, "--data", data, "--output_dir", tmp_path / "run")

    assert f"{data}: {message}" in found and CALLS == []


def test_training_requests_of_two_shapes_are_enough(tmp_path: Path) -> None:
    summary = run(write(tmp_path, request_lines(shapes=("single", "dag"))), tmp_path / "run")

    assert summary["test"][summary["chosen"]]["accuracy"]["mean"] > 0.95
    assert np.array(summary["confusion"][MAJORITY])[:, SHAPES.index("chain")].sum() == 0


def test_missing_file_and_folder_in_place_of_a_run_are_refused(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    data = write(tmp_path, request_lines())

    line = refused(command.main, "--data", tmp_path / "no.jsonl", "--output_dir", tmp_path)
    assert "no.jsonl: no such file; check the path" in line
    line = refused(command.main, "--data", data, "--output_dir", data)
    assert "expected a folder, got a file; name another" in line


def test_embeddings_of_other_requests_are_refused(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    np.savez(tmp_path / "embeddings.npz", query_ids=np.array(["x"]), embeddings=np.ones((1, 2)))
    data = write(tmp_path, request_lines())

    line = refused(command.main, "--data", data, "--output_dir", tmp_path)

    assert "embeddings.npz: belongs to other queries" in line


@pytest.mark.parametrize("seeds", ["0", "x"])
def test_number_of_seeds_below_one_is_refused(
    tmp_path: Path, seeds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(["--data", "x", "--output_dir", str(tmp_path), "--num_seeds", seeds])

    assert caught.value.code == 2
    assert "--num_seeds: expected a whole number, at least 1" in capsys.readouterr().err
