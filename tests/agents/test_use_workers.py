"""The setting `use_workers`: the workers of the data that may be called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agents import tune_tables
from agents.config import load_experiment
from agents.experiment import experiment_dataset
from orchestai_env.datasets.builtin import builtin_pool
from orchestai_env.errors import ConfigError, DataError, UnknownWorkerError
from tests.recorded_source import import_source
from tests.tiny_config import recorded_config, write_config

POOL = builtin_pool()[0].names


def test_all_workers_take_part_by_default(tmp_path: Path) -> None:
    config = load_experiment(write_config(tmp_path))

    assert config.use_workers is None
    assert experiment_dataset(config, None, "test").pool.names == POOL


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_named_workers_take_part_in_their_order(tmp_path: Path, split: str) -> None:
    names = [POOL[3], *POOL[:3], *POOL[4:]]
    config = load_experiment(write_config(tmp_path, use_workers=names))

    dataset = experiment_dataset(config, None, split)

    assert dataset.pool.names == tuple(names)
    assert dataset.statistics.success.shape[1] == len(POOL)


def test_recorded_data_is_cut_to_the_named_workers(tmp_path: Path) -> None:
    folder = import_source(tmp_path)
    config = load_experiment(recorded_config(tmp_path, use_workers=["bob"]))

    dataset = experiment_dataset(config, folder, "test")

    assert dataset.pool.names == ("bob",)
    assert dataset.outcomes.num_trials.shape[1] == 1


def test_unknown_worker_is_one_line(tmp_path: Path, refused: Callable[..., str]) -> None:
    config = write_config(tmp_path, use_workers=[POOL[0] + "x"])

    line = refused(tune_tables.main, "--config", config, "--output_dir", tmp_path / "run")

    assert line.startswith(f"error: use_workers: unknown worker '{POOL[0]}x'. Did you mean")


@pytest.mark.parametrize(
    ("names", "kind", "message"),
    [
        ([POOL[0], POOL[0]], ConfigError, "use_workers: .* none twice"),
        ([POOL[-1]], DataError, "use_workers: .* none of .* can serve"),
        (["nobody"], UnknownWorkerError, "use_workers: unknown worker 'nobody'"),
    ],
)
def test_workers_that_will_not_do_are_refused(
    tmp_path: Path, names: list[str], kind: type[Exception], message: str
) -> None:
    config = load_experiment(write_config(tmp_path, use_workers=names))

    with pytest.raises(kind, match=message):
        experiment_dataset(config, None, "train")


@pytest.mark.parametrize("value", [[], "bob", [3]])
def test_what_names_no_workers_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(ConfigError, match="use_workers"):
        load_experiment(write_config(tmp_path, use_workers=value))
