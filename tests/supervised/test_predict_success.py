"""The command that predicts success and stores it beside an imported data set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from orchestai_env.datasets.annexes import FINGERPRINT_PARTS
from orchestai_env.datasets.folder import load_dataset, load_folder, load_queries
from orchestai_env.errors import ConfigError, DataError, MissingFileError
from supervised import predict_success as command
from supervised.predict_success import recorded_labels
from supervised.success.predictors import CANDIDATES
from supervised.success.scores import choose
from supervised.texts import embeddings
from tests.recorded_source import edit, import_source


class Encoder:
    """Embeds a text by whether its number is a multiple of 3, on which worker bob depends."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, texts: Sequence[str], *, device: str) -> npt.NDArray[np.float32]:
        self.calls += 1
        numbers = np.array([int(text.split('"')[1]) for text in texts])
        angle = np.where(numbers % 3 == 0, 0.3, 1.3) + 0.01 * numbers / 60
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> Encoder:
    encoder = Encoder()
    monkeypatch.setattr(embeddings, "embed_texts", encoder)
    return encoder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return import_source(tmp_path)


def test_predictions_are_read_by_the_data_set(folder: Path, encoder: Encoder) -> None:
    command.main(["--data", str(folder)])

    data = load_dataset(folder, "test")
    predicted = data.statistics.predicted_success
    assert predicted is not None and predicted.shape == (60, 2)
    assert ((predicted > 0) & (predicted < 1)).all()
    assert data.query_embeddings is not None and data.query_embeddings.shape == (60, 2)
    assert (predicted[:, 0] > 0.9).all()  # worker ace is always right
    test = load_queries(folder).rows("test")  # worker bob is right on every third query
    assert predicted[test[test % 3 == 0], 1].min() > predicted[test[test % 3 != 0], 1].max()


def test_second_run_reuses_the_embeddings_and_gives_the_same(
    folder: Path, encoder: Encoder
) -> None:
    command.main(["--data", str(folder)])
    first = (folder / "predictions.npz").read_bytes()

    command.main(["--data", str(folder)])

    assert encoder.calls == 1
    assert (folder / "predictions.npz").read_bytes() == first


def test_scores_are_printed_and_stored(
    folder: Path, encoder: Encoder, capsys: pytest.CaptureFixture[str]
) -> None:
    command.main(["--data", str(folder), "--seed", "3"])

    about = json.loads((folder / "predictor.json").read_text())
    scores = about["scores"]
    assert list(scores) == list(CANDIDATES)
    assert set(scores["type mean"]) == {"train", "validation", "test"}
    assert scores[about["predictor"]]["test"]["log_loss"] < scores["type mean"]["test"]["log_loss"]
    assert about["seed"] == 3 and len(about["shares"]) == len(about["predictors"])
    assert set(about["dataset_sha256"]) == set(FINGERPRINT_PARTS)
    printed = capsys.readouterr().out
    assert "type mean" in printed and f"stored: {about['predictor']}" in printed


def test_test_queries_have_no_say_in_the_choice(
    folder: Path,
) -> None:
    data = load_folder(folder)
    rows = np.isin(np.array(data.queries.split), ["train", "validation"])
    labels = recorded_labels(data)
    success = labels.success
    predicted = {
        "good on test alone": np.where(rows[:, None], 0.5, success * 0.98 + 0.01),
        "good where it counts": np.where(rows[:, None], success * 0.8 + 0.1, 0.5),
    }

    assert choose(labels, predicted, rows) == "good where it counts"


@pytest.mark.parametrize("stale", [b"no npz", b""])
def test_predictions_that_cannot_be_read_are_replaced(
    folder: Path, encoder: Encoder, stale: bytes
) -> None:
    (folder / "predictions.npz").write_bytes(stale)

    command.main(["--data", str(folder)])

    assert load_dataset(folder, "test").statistics.predicted_success is not None


def test_predictions_of_older_outcomes_are_refused(folder: Path, encoder: Encoder) -> None:
    command.main(["--data", str(folder)])
    edit(folder / "outcomes.csv.gz", lambda text: text.replace(",ace,1,1,", ",ace,1,0,", 1))

    with pytest.raises(DataError, match=r"its outcomes have the hash .*; predict again"):
        load_dataset(folder, "test")
    command.main(["--data", str(folder)])
    assert load_dataset(folder, "test").statistics.predicted_success is not None


def test_nothing_half_written_is_left(
    folder: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = np.savez_compressed

    def fail(path: Any, **arrays: Any) -> None:
        if "predicted_success" in arrays:
            Path(path).write_bytes(b"half")
            raise KeyboardInterrupt
        save(path, **arrays)

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(KeyboardInterrupt):
        command.main(["--data", str(folder)])

    assert not (folder / "predictions.npz").exists()
    assert load_dataset(folder, "test").statistics.predicted_success is None


def test_labels_are_averaged_over_trials(tmp_path: Path) -> None:
    queries = [[f"toy/{i}", "math" if i % 2 else "code", f'"{i}"'] for i in range(60)]
    outcomes = []
    for query_id, task_type, _ in queries:
        for trial, value in enumerate((1, 0, 0, 1)):
            outcomes.append([query_id, task_type, "ace", trial, value, 10, 100, 0.02, 5])
        outcomes.append([query_id, task_type, "bob", 1, 1, 10, 100, 0.02, 5])
    del outcomes[4]  # query 0 was never given to bob
    folder = import_source(tmp_path, queries=queries, outcomes=outcomes)

    labels = recorded_labels(load_folder(folder))

    assert (labels.success[:, 0] == 0.5).all()
    assert labels.known.tolist() == [[True, False]] + [[True, True]] * 59


def test_folder_without_a_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no imported data set"):
        command.main(["--data", str(tmp_path)])


def test_embeddings_of_other_queries_are_refused(folder: Path, encoder: Encoder) -> None:
    np.savez(folder / "embeddings.npz", query_ids=np.array(["x"]), embeddings=np.ones((1, 2)))

    with pytest.raises(DataError, match=r"embeddings\.npz: belongs to other queries"):
        command.main(["--data", str(folder)])


def test_missing_gpu_is_refused_before_the_data_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    with pytest.raises(ConfigError, match="torch finds no GPU"):
        command.main(["--data", str(tmp_path), "--device", "cuda"])
