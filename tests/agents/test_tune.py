"""The search for hyperparameters: its files, its resumption, and what it refuses."""

from __future__ import annotations

import csv
import dataclasses
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import optuna
import pytest
from optuna.trial import TrialState

from agents import tune as command
from agents.config import Algorithm, load_experiment, profile_weights
from agents.experiment import Experiment
from agents.tune_space import LEARNING_RATE, choices, draw, own_values, with_values
from agents.tune_study import asked_for, open_study
from orchestai_env.run_folder import claim
from tests.tiny_config import write_config

ROOT = Path(__file__).resolve().parents[2]


def options(folder: Path, trials: int, *more: object, **changes: object) -> list[str]:
    """Returns the options of a search on the tiny configuration, with changed sections."""
    config = write_config(folder / "config", **changes)
    shared = ["--config", config, "--profile", "balanced", "--output_dir", folder / "run"]
    return [str(option) for option in [*shared, "--trials", trials, "--quiet", *more]]


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'run' / 'study.db'}"


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


@pytest.mark.parametrize(
    ("more", "changes"),
    [(["--timesteps", 32], {}), ([], {"system": {"max_attempts": 2}})],
    ids=["fewer steps", "other rules"],
)
def test_other_settings_are_not_mixed_in(
    finished: Path, tmp_path: Path, refused: Callable[..., str], more: list[object], changes: Any
) -> None:
    storage = ["--storage", url(finished)]

    line = refused(command.main, *options(tmp_path, 6, *storage, *more, **changes))

    assert "holds trials of other settings; name another --study" in line


def test_another_checkpoint_is_another_search(tmp_path: Path) -> None:
    first, second = tmp_path / "a.pth", tmp_path / "b.pth"
    first.write_bytes(b"a")
    second.write_bytes(b"b")

    path = write_config(tmp_path)
    config = load_experiment(path)
    experiment = Experiment(
        config=config,
        config_path=path,
        data=None,
        output_dir=tmp_path,
        profile=None,
        seed=0,
        device="cpu",
        weights=config.default_weights(),
    )
    search = command.Search(
        experiment=experiment,
        checkpoint=first,
        storage="",
        study="",
        num_trials=1,
        num_seeds=1,
        timesteps=None,
        deadline=0.0,
    )

    assert search.made_of != dataclasses.replace(search, checkpoint=second).made_of


def test_two_folders_share_a_study(tmp_path: Path) -> None:
    storage = ["--storage", f"sqlite:///{tmp_path / 'shared.db'}"]

    command.main(options(tmp_path / "a", 2, *storage))
    command.main(options(tmp_path / "b", 3, *storage))

    assert [row["number"] for row in trials_of(tmp_path / "b")] == ["0", "1", "2"]
    assert [path.name for path in (tmp_path / "b/run/trials").iterdir()] == ["phase2-2"]
    assert (tmp_path / "b/run/best.yaml").is_file()


def test_settings_whose_trial_was_interrupted_are_tried_again(tmp_path: Path) -> None:
    arguments = options(tmp_path, 1)
    config = load_experiment(tmp_path / "config" / "config.yaml")
    (tmp_path / "run").mkdir()
    study = optuna.create_study(storage=url(tmp_path), study_name="phase2", direction="maximize")
    study.enqueue_trial(own_values(config, [LEARNING_RATE, *choices(config, has_checkpoint=False)]))
    study.tell(study.ask(), state=TrialState.FAIL)  # as Optuna does at Ctrl-C

    command.main(arguments)

    rows = trials_of(tmp_path)
    assert [row["state"] for row in rows] == ["fail", "complete"]
    assert float(rows[1][LEARNING_RATE]) == 0.001


def test_trial_of_a_dead_machine_is_repeated(tmp_path: Path) -> None:
    database = tmp_path / "study.db"
    storage = optuna.storages.RDBStorage(f"sqlite:///{database}")
    study = optuna.create_study(storage=storage, study_name="phase2", direction="maximize")
    rate = study.ask().suggest_float(LEARNING_RATE, 1.0e-5, 1.0e-3, log=True)
    storage.record_heartbeat(1)
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE trial_heartbeats SET heartbeat = '2000-01-01 00:00:00'")

    with open_study(f"sqlite:///{database}", "phase2", seed=0) as study:
        dead, again = study.get_trials()

    assert (dead.state, again.state) == (TrialState.FAIL, TrialState.WAITING)
    assert asked_for(again) == {LEARNING_RATE: rate}


def test_machines_that_ask_at_once_draw_different_values(tmp_path: Path) -> None:
    with (
        open_study(f"sqlite:///{tmp_path / 'study.db'}", "phase2", seed=0) as first,
        open_study(f"sqlite:///{tmp_path / 'study.db'}", "phase2", seed=0) as second,
    ):
        with pytest.warns(UserWarning, match="Heartbeat"):  # which Optuna sends in `optimize`
            trials = [first.ask(), second.ask()]
        rates = {trial.suggest_float(LEARNING_RATE, 1.0e-5, 1.0e-3) for trial in trials}

    assert len(rates) == 2


def test_argument_that_the_settings_leave_out_has_the_default_of_its_class(tmp_path: Path) -> None:
    path = write_config(tmp_path, training={"phase2_rl": {"algorithm": "DQN"}})
    name = "phase2_rl.algorithm_arguments.target_update_interval"

    assert own_values(load_experiment(path), [name]) == {name: 10000}


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


def test_database_that_cannot_be_written_is_one_line(
    finished: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    read_only = f"sqlite:///file:{finished / 'run' / 'study.db'}?mode=ro&uri=true"

    line = refused(command.main, *options(tmp_path, 6, "--storage", read_only))

    assert re.search("readonly database.*make it writable and reachable", line), line


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
