"""Contest: files as contenders, on recorded workflows composed anew."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from agents.benchmark.contest import Contender, Contest, hold_contest
from agents.config import load_experiment
from agents.experiment import experiment_dataset
from agents.preference import scaled_weights
from orchestai_env.errors import CheckpointError, MissingFileError
from tests.agents.benchmark.in_process import in_process
from tests.agents.problems import WEIGHTS
from tests.recorded_source import import_source
from tests.tiny_config import recorded_config


@pytest.fixture(autouse=True, scope="module")
def _in_process() -> Iterator[None]:
    with in_process():
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return import_source(tmp_path_factory.mktemp("source"))


def tables(path: Path, worker: str) -> Path:
    """Writes tables that name one worker only."""
    content = {
        "task_types": ["math", "code"],
        "best_single": worker,
        "lookup": [worker] * 2,
        "escalation": [[worker] * 3] * 2,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def contest(folder: Path, data: Path, *contenders: Contender, **changes: object) -> Contest:
    config = load_experiment(recorded_config(folder, **changes))
    return Contest(config=config, data=data, contenders=contenders, splits=("train", "test"))


def test_contenders_meet_the_same_workflows(tmp_path: Path, data: Path) -> None:
    """Two of the same file agree to the bit, under twice the weights but for the return."""
    files = (tables(tmp_path / "bob.json", "bob"), tables(tmp_path / "ace.json", "ace"))
    dear = scaled_weights(WEIGHTS, 2.0, 2.0)
    found = hold_contest(
        contest(
            tmp_path,
            data,
            Contender(name="one", weights=WEIGHTS, files=files),
            Contender(name="same", weights=WEIGHTS, files=files),
            Contender(name="dear", weights=dear, files=files),
        )
    )

    for split in ("train", "test"):
        assert found.points[split].shape == (3, 4, 2)
        np.testing.assert_array_equal(found.points[split][0], found.points[split][1])
        np.testing.assert_array_equal(found.points[split][0, 1:], found.points[split][2, 1:])
        assert (found.points[split][2, 0] < found.points[split][0, 0]).all()
        assert found.picks[split].shape == (3, 2, 2)
        assert (found.picks[split][:, 0, 1] > 0).all()
    np.testing.assert_array_equal(found.replicates[0], found.replicates[1])
    np.testing.assert_array_equal(found.replicates[0, 1:], found.replicates[2, 1:])
    assert len(np.unique(found.resampled("return")[0])) > 1


def test_contender_keeps_to_its_own_workers(tmp_path: Path, data: Path) -> None:
    """A table that names bob calls ace where bob may not be called."""
    bob = tables(tmp_path / "bob.json", "bob")
    found = hold_contest(
        contest(
            tmp_path,
            data,
            Contender(name="free", weights=WEIGHTS, files=(bob,)),
            Contender(name="kept", weights=WEIGHTS, files=(bob,), only=(("ace",),)),
        )
    )
    ace = experiment_dataset(load_experiment(recorded_config(tmp_path)), data, "test").pool.index(
        "ace"
    )

    shares = found.picks["test"][:, 0] / found.picks["test"][:, 0].sum(axis=1, keepdims=True)
    assert shares[1, ace] > shares[0, ace]


def test_workers_that_are_not_used_are_left_out(tmp_path: Path, data: Path) -> None:
    bob = tables(tmp_path / "bob.json", "bob")
    found = hold_contest(
        contest(
            tmp_path,
            data,
            Contender(name="bob", weights=WEIGHTS, files=(bob,)),
            use_workers=["bob"],
        )
    )

    assert found.picks["test"].shape == (1, 1, 1)


def test_missing_and_broken_files_are_named_before_processes_start(
    tmp_path: Path, data: Path
) -> None:
    missing = Contender(name="a", weights=WEIGHTS, files=(tmp_path / "none.zip",))
    with pytest.raises(MissingFileError, match=r"none\.zip: no such checkpoint"):
        hold_contest(contest(tmp_path, data, missing))
    broken = tmp_path / "broken.zip"
    broken.write_text("text")
    with pytest.raises(CheckpointError, match=r"broken\.zip: cannot be read"):
        hold_contest(contest(tmp_path, data, Contender(name="a", weights=WEIGHTS, files=(broken,))))
