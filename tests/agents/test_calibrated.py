"""Settings that name the file of a calibrated simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.config import load_experiment, save_resolved
from agents.experiment import experiment_dataset
from orchestai_env.errors import ConfigError, MissingFileError
from orchestai_env.execution.live_setup import known_workers
from orchestai_env.outcomes.simulated import SimulationSettings
from tests.orchestai_env.execution.known import calibrated, worker
from tests.tiny_config import recorded_config, write_config


@pytest.fixture
def simulated(tmp_path: Path) -> Path:
    """Returns the file of a simulator, one of whose workers cannot do everything."""
    partly = {"summary": (0.4, 50.0), "math": (0.9, 400.0)}
    workers = worker("ace", skills=partly), worker("bob", concurrency=3)
    return calibrated(tmp_path, *workers, difficulty_spread=0.3, load_slowdown=0.1)


def test_training_plays_on_the_calibrated_simulator(simulated: Path, tmp_path: Path) -> None:
    config = load_experiment(write_config(tmp_path, worker_models="simulated.yaml"))
    dataset = experiment_dataset(config, None, "train")

    assert config.simulation == SimulationSettings(difficulty_spread=0.3, load_slowdown=0.1)
    assert dataset.pool.names == ("ace", "bob")
    outcomes = dataset.outcomes
    assert np.unique(outcomes.difficulty[0][outcomes.capable > 0]).tolist() == [0.3]
    assert outcomes.simulation[4] == 0.1


def test_training_knows_what_the_live_commands_know(simulated: Path, tmp_path: Path) -> None:
    config = load_experiment(write_config(tmp_path, worker_models="simulated.yaml"))
    trained, served = experiment_dataset(config, None, "train"), known_workers(simulated)

    assert trained.task_types == served.task_types
    assert trained.pool == served.pool
    for name in ("success", "cost_usd", "latency_ms", "cost_upper_usd"):
        found = getattr(trained.statistics, name)
        np.testing.assert_array_equal(found, getattr(served.statistics, name))


def test_run_folder_holds_the_workers_themselves(simulated: Path, tmp_path: Path) -> None:
    config = load_experiment(write_config(tmp_path, worker_models="simulated.yaml"))
    (tmp_path / "run").mkdir()
    save_resolved(config, tmp_path / "run" / "config.yaml")
    simulated.unlink()

    assert load_experiment(tmp_path / "run" / "config.yaml") == config


def test_file_that_is_missing_is_named(tmp_path: Path) -> None:
    path = write_config(tmp_path, worker_models="none.yaml")

    with pytest.raises(MissingFileError, match=r"config\.yaml: worker_models: .*none\.yaml"):
        load_experiment(path)


def test_file_of_live_workers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "workers.yaml").write_text("workers: [{name: w, model: m}]\n")
    path = write_config(tmp_path, worker_models="workers.yaml")

    with pytest.raises(ConfigError, match="or the file that `orchestai calibrate` writes"):
        load_experiment(path)


@pytest.mark.parametrize("simulation", [{}, {"token_spread": 0.1}])
def test_simulation_beside_the_file_is_refused(
    simulation: dict[str, Any], simulated: Path, tmp_path: Path
) -> None:
    path = write_config(tmp_path, worker_models="simulated.yaml", simulation=simulation)

    with pytest.raises(ConfigError, match=r"simulation: .*simulated\.yaml sets it already"):
        load_experiment(path)


def test_simulation_beside_recorded_outcomes_is_refused(tmp_path: Path) -> None:
    path = recorded_config(tmp_path, simulation={"token_spread": 0.1})

    with pytest.raises(ConfigError, match="simulation: expected none beside `source`"):
        load_experiment(path)
