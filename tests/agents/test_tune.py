"""The search for hyperparameters: its files, its resumption, and what it refuses."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import optuna
import pytest

from agents import tune as command
from agents.config import Algorithm, load_experiment, profile_weights
from agents.tune_space import LEARNING_RATE, choices, draw, own_values, with_values
from orchestai_env.run_folder import claim
from tests.tiny_config import write_config

ROOT = Path(__file__).resolve().parents[2]


def options(folder: Path, trials: int, *more: object) -> list[str]:
    """Returns the options of a search on the tiny configuration."""
    config = write_config(folder / "config")
    shared = ["--config", config, "--profile", "balanced", "--output_dir", folder / "run"]
    return [str(option) for option in [*shared, "--trials", trials, "--quiet", *more]]


def trials_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "run" / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs three trials, then tops up to five."""
    folder = tmp_path_factory.mktemp("tune")
    command.main(options(folder, 3))
    command.main(options(folder, 5))
    return folder


def test_search_goes_on_to_the_wanted_number(finished: Path) -> None:
    rows = trials_of(finished)

    assert [row["number"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert {row["state"] for row in rows} <= {"complete", "pruned"}
    assert len({row[LEARNING_RATE] for row in rows}) == 5
    assert (finished / "run" / "tune.png").stat().st_size > 10_000


def test_first_trial_is_the_settings_as_they_are(finished: Path) -> None:
    config = load_experiment(finished / "config" / "config.yaml")
    names = [LEARNING_RATE, *choices(config, has_checkpoint=False)]

    first = trials_of(finished)[0]

    assert {name: first[name] for name in names} == {
        name: str(value) for name, value in own_values(config, names).items()
    }


def test_best_file_holds_the_best_values_and_finds_its_profiles(finished: Path) -> None:
    path = finished / "run" / "best.yaml"
    best = load_experiment(path)
    complete = [row for row in trials_of(finished) if row["state"] == "complete"]
    row = max(complete, key=lambda row: float(row["validation_return"]))

    names = [name for name in row if name.startswith(("phase2_rl.", "policy."))]
    assert {name: row[name] for name in names} == {
        name: str(value) for name, value in own_values(best, names).items()
    }
    assert profile_weights(best, path, "balanced").cost_weight == 200.0


def test_validation_queries_judge(finished: Path) -> None:
    rows = [row for row in trials_of(finished) if row["state"] == "complete"]
    folder = finished / "run" / "trials" / f"phase2-{rows[0]['number']}" / "seed0"

    with (folder / "curve.csv").open(newline="") as file:
        curve = [float(row["validation_return"]) for row in csv.DictReader(file)]

    assert float(rows[0]["validation_return"]) == max(curve)


def test_other_settings_are_not_mixed_in(finished: Path, refused: Callable[..., str]) -> None:
    line = refused(command.main, *options(finished, 6, "--timesteps", 32))

    assert "holds trials of other settings; name another --study" in line


@pytest.mark.slow
def test_killed_trial_is_repeated(tmp_path: Path) -> None:
    """The first trial, long enough to be caught, is killed with its whole process group."""
    arguments = options(tmp_path, 1, "--timesteps", 5000)
    process = subprocess.Popen(
        [sys.executable, "-m", "agents.tune", *arguments], cwd=ROOT, start_new_session=True
    )
    curve = tmp_path / "run" / "trials" / "phase2-0" / "seed0" / "curve.csv"
    while not curve.is_file() and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()

    command.main(arguments)

    rows = trials_of(tmp_path)
    assert [row["state"] for row in rows] == ["fail", "complete"]
    assert rows[0][LEARNING_RATE] == rows[1][LEARNING_RATE]


@pytest.mark.parametrize("algorithm", get_args(Algorithm))
@pytest.mark.parametrize("has_checkpoint", [False, True])
def test_drawn_values_are_valid_settings(
    tmp_path: Path, algorithm: Algorithm, has_checkpoint: bool
) -> None:
    path = write_config(tmp_path, training={"phase2_rl": {"algorithm": algorithm}})
    config = load_experiment(path)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))

    for _ in range(20):
        values = draw(study.ask(), config, has_checkpoint=has_checkpoint)
        assert own_values(with_values(config, values), values) == values


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--storage", "nonsense"], "--storage nonsense: .*expected a database URL"),
        (["--storage", "sqlite:////no/such/folder/x.db"], "unable to open database file"),
        (["--storage", "dbx://me:secret@host/x"], "--storage dbx://host/x: "),
        (["--timesteps", 0], "--timesteps: expected a whole number >= 1, got 0"),
        (["--jobs", -1], "--jobs: expected a whole number >= 1, got -1"),
        (["--profile", "greedy"], "unknown profile 'greedy'"),
        (["--checkpoint", "no.pth"], "no.pth"),
        (["--timeout", 0], "no trial was finished"),
    ],
    ids=lambda value: "_".join(map(str, value)) if isinstance(value, list) else "",
)
def test_wrong_options_are_one_line(
    tmp_path: Path, refused: Callable[..., str], more: list[object], message: str
) -> None:
    line = refused(command.main, *options(tmp_path, 1, *more))

    assert re.search(message, line), line
    assert "secret" not in line


def test_second_search_in_one_folder_is_refused(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    with claim(tmp_path / "run"):
        line = refused(command.main, *options(tmp_path, 1))

    assert "another run" in line


def test_trial_below_the_median_is_pruned() -> None:
    study = optuna.create_study(
        direction="maximize", pruner=optuna.pruners.MedianPruner(1, n_warmup_steps=1)
    )
    first = command.EvaluationReporter(good := study.ask())
    for value in (1.0, 2.0, 3.0):
        first({"validation_return": value})
    study.tell(good, 3.0)

    second = command.EvaluationReporter(study.ask())
    second({"validation_return": 0.5})
    with pytest.raises(optuna.TrialPruned):
        second({"validation_return": 1.0})
