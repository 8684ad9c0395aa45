"""The command that compares classifiers of the shape of a request's plan."""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervised import request_shapes as command
from supervised.plans.dataset import WorkflowDataset
from supervised.plans.splits import split_rows
from supervised.request_shapes import MIN_TRAINING, SHAPES, read_requests
from supervised.shapes.classifiers import (
    CANDIDATES,
    MAJORITY,
    NEIGHBOURS,
    mask_contents,
    request_features,
)

WORDING = {
    "single": "Translate {} {} {} {}.",
    "chain": "Translate {} {} {}, then summarise it as {} and finally print that.",
    "dag": "Translate {} {} {}; also sing {} and show both.",
}
WORDS = "embedding and words"
CALLS: list[int] = []

Lines = list[dict[str, Any]]


def request_lines(count: int = 160, shapes: Sequence[str] = ("single", "chain", "dag")) -> Lines:
    """Requests that only their wording tells apart; chains are twice as frequent as others."""
    rng = np.random.default_rng(0)
    letters = list(string.ascii_lowercase)
    result = []
    for i in range(count):
        shape = (*shapes, shapes[len(shapes) // 2])[i % (len(shapes) + 1)]
        words = ["".join(rng.choice(letters, size=6)) for _ in range(4)]
        text = WORDING[shape].format(*words)
        result.append({"instruction": text, "shape": shape, "domain": f"d{i % 2}", "id": str(i)})
    return result


def write(folder: Path, lines: Sequence[object]) -> Path:
    path = folder / "requests.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(autouse=True)
def encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Embeddings that tell a single subtask from several, and no more."""

    def embed(texts: Sequence[str], *, device: str) -> npt.NDArray[np.float32]:
        CALLS.append(len(texts))
        several = np.array([" and " in text for text in texts])
        angle = several + 0.1 * np.random.default_rng(0).normal(size=len(texts))
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)

    CALLS.clear()
    monkeypatch.setattr(command, "embed_texts", embed)


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


def test_sides_are_those_of_plans_and_keep_near_duplicates_together(tmp_path: Path) -> None:
    lines = request_lines()
    lines += [line | {"instruction": f" {line['instruction']}  "} for line in lines[:20]]
    lines += [line | {"instruction": f"Please: {line['instruction']}"} for line in lines[:40]]
    texts = [line["instruction"] for line in lines]
    one = [["x"]] * len(texts)
    expected = split_rows(WorkflowDataset(texts, one, one, [[] for _ in texts]))

    found = read_requests(write(tmp_path, lines))

    for split, rows in expected.items():
        assert np.flatnonzero(found.rows(split)).tolist() == rows.tolist()
    assert found.group[160:180].tolist() == found.group[:20].tolist() == list(range(20))
    assert len(set(found.group.tolist())) < 180


def test_requests_are_read_as_they_stand(tmp_path: Path) -> None:
    lines = request_lines()
    found = read_requests(write(tmp_path, lines))

    assert found.texts == tuple(line["instruction"] for line in lines)
    assert [SHAPES[shape] for shape in found.shape] == [line["shape"] for line in lines]
    assert found.domain.tolist() == [i % 2 for i in range(160)]


@given(st.text(alphabet=st.sampled_from("ab ',.?!"), max_size=20), st.integers(0, 10**9))
def test_contents_make_no_difference_once_masked(quote: str, number: int) -> None:
    quote = quote.replace("'", "")

    def request(name: str, quoted: str, count: int) -> str:
        return f"Crop '{name}.jpg' and logo.png, say '{quoted}' {count} times at https://a.b/{name}"

    assert mask_contents(request("me", quote, number)) == mask_contents(request("x9", "so", 7))
    assert mask_contents(request("me", quote, number)).split() == (
        "Crop FILE jpg and FILE png , say QUOTE NUMBER times at LINK".split()
    )
    assert mask_contents("It's Ann's: don't") == "It's Ann's: don't"


def test_features_are_learned_from_the_requests_to_fit_alone() -> None:
    texts = [line["instruction"] for line in request_lines(120)]
    fit = np.arange(120) < 100
    embeddings = np.random.default_rng(0).normal(size=(120, 5)).astype(np.float32)
    domain = np.zeros(120, np.int64)
    other = texts[:100] + ["Sing, dance and cook!"] * 20

    here = request_features(texts, domain, embeddings, fit)
    there = request_features(other, domain, embeddings, fit)

    for key in ("domain", "embedding", "directions"):
        np.testing.assert_array_equal(here[key][fit], there[key][fit])
    assert abs(here["words"][fit] - there["words"][fit]).max() == 0
    assert all(len(matrix[fit]) == 100 for matrix in (here["embedding"], here["directions"]))


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
