"""Tuning the table baselines: the compiled player, the ascent, and the file of tables."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import tune_tables as command
from agents.agent import Setting
from agents.baselines.tables import FixedTableAgent, TableAgent
from agents.evaluate import evaluate
from agents.tune_tables import (
    TablePlayer,
    best_single_worker,
    coordinate_ascent,
    read_tables,
    tune_escalation_table,
    tune_lookup_table,
)
from orchestai_env.errors import CheckpointError, MissingFileError, UnknownWorkerError
from orchestai_env.rules import EpisodeRules
from tests.agents.problems import builtin_setting, toy_setting
from tests.orchestai_env.strategies import Case, cases
from tests.orchestai_env.toy import SECONDS, Instance, Trial
from tests.tiny_config import write_config


def assert_player_equals_evaluate(setting: Setting, seed: int, table_seed: int) -> None:
    rng = np.random.default_rng(table_seed)
    shape = len(setting.dataset.task_types), setting.rules.max_attempts
    table = rng.integers(len(setting.dataset.pool), size=shape)

    escalated = TablePlayer(setting, seed=seed, escalate=True).mean_return(table)
    fixed = TablePlayer(setting, seed=seed, escalate=False).mean_return(table[:, :1])

    found = evaluate(TableAgent(setting, table), setting, seed=seed)
    assert escalated == found.episode_return.mean()
    found = evaluate(FixedTableAgent(setting, table[:, 0]), setting, seed=seed)
    assert fixed == found.episode_return.mean()


@settings(max_examples=60)
@given(case=cases(), table_seed=st.integers(0, 999))
def test_player_equals_evaluate_on_any_rules(case: Case, table_seed: int) -> None:
    """Random DAGs with unrecorded pairs, budgets, deadlines, truncation and both failure modes."""
    setting = Setting(dataset=case.dataset(), rules=EpisodeRules(**case.rules), weights=SECONDS)
    assert_player_equals_evaluate(setting, 0, table_seed)


@settings(max_examples=20)
@given(seed=st.integers(0, 99), table_seed=st.integers(0, 999))
def test_player_equals_evaluate_on_simulated_outcomes(seed: int, table_seed: int) -> None:
    setting = builtin_setting(25, cost_budget_usd=0.05)
    assert_player_equals_evaluate(setting, seed, table_seed)


def test_player_gives_the_same_twice() -> None:
    setting = builtin_setting(10)
    player = TablePlayer(setting, seed=0, escalate=True)
    table = np.zeros((10, 3), np.int64)

    first = player.mean_return(table)
    player.mean_return(table + 1)

    assert player.mean_return(table) == first


def random_problem(seed: int) -> Setting:
    """Returns workflows of two task types, three workers and two attempts."""
    rng = np.random.default_rng(seed)
    instances = []
    for _ in range(20):
        calls = tuple(
            tuple(
                tuple(
                    Trial(float(rng.random() < 0.5), 1000.0 * rng.random(), 2.0 * rng.random())
                    for _ in range(2)
                )
                for _ in range(3)
            )
            for _ in range(2)
        )
        instances.append(Instance(calls=calls, links=((0, 1),), types=(0, 1)))
    return toy_setting(instances, max_attempts=2)


@pytest.mark.parametrize("seed", range(3))
def test_escalation_table_is_the_optimum_of_a_tiny_problem(seed: int) -> None:
    """All 3^4 tables are tried; from 5 starts the ascent finds the best of them."""
    setting = random_problem(seed)
    player = TablePlayer(setting, seed=0, escalate=True)
    best = max(
        player.mean_return(np.array(cells).reshape(2, 2))
        for cells in itertools.product(range(3), repeat=4)
    )

    tuned = tune_escalation_table(setting, seed=0)

    assert player.mean_return(tuned) == best


def test_lookup_and_single_worker_are_the_optimum_of_a_tiny_problem() -> None:
    setting = random_problem(3)
    player = TablePlayer(setting, seed=0, escalate=False)

    def value(*cells: int) -> float:
        return player.mean_return(np.array(cells)[:, None])

    assert value(*tune_lookup_table(setting, seed=0)) == max(
        value(*cells) for cells in itertools.product(range(3), repeat=2)
    )
    single = best_single_worker(setting, seed=0)
    assert value(single, single) == max(value(w, w) for w in range(3))


def test_coordinate_ascent_never_gets_worse() -> None:
    setting = builtin_setting(30)
    player = TablePlayer(setting, seed=0, escalate=True)
    start = np.zeros((10, 3), np.int64)

    once = coordinate_ascent(player, start, 8, max_sweeps=1)
    more = coordinate_ascent(player, start, 8)

    assert player.mean_return(start) < once[1] <= more[1]
    assert more[1] == player.mean_return(more[0])
    assert not start.any()


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs the command and returns the file that it wrote."""
    folder = tmp_path_factory.mktemp("tables")
    config = write_config(folder)
    output = folder / "run"
    command.main(
        ["--config", str(config), "--output_dir", str(output), "--profile", "balanced", "--quiet"]
    )
    return output / "tables.json"


def tiny_setting() -> Setting:
    return builtin_setting(5)


def test_tables_file_names_workers_and_is_read_back(tuned: Path) -> None:
    setting = tiny_setting()
    data = json.loads(tuned.read_text())

    agents = read_tables(tuned, setting)

    names = np.array(setting.dataset.pool.names)
    assert data["task_types"] == list(setting.dataset.task_types)
    escalation, lookup = agents["escalation"], agents["lookup"]
    assert isinstance(escalation, TableAgent) and isinstance(lookup, FixedTableAgent)
    assert names[escalation.table].tolist() == data["escalation"]
    assert names[lookup.worker_of_type].tolist() == data["lookup"]
    single = agents["best-single"]
    assert isinstance(single, FixedTableAgent)
    assert set(names[single.worker_of_type]) == {data["best_single"]}


def test_command_says_what_it_was_made_with(tuned: Path) -> None:
    about = json.loads((tuned.parent / "run.json").read_text())

    assert about["profile"] == "balanced" and about["reward_weights"]["cost_weight"] == 200.0
    assert (tuned.parent / "config.yaml").is_file()


def rename_worker(data: dict[str, Any]) -> None:
    data["lookup"][0] = "gpt-4o-2024-08-07"


def drop_column(data: dict[str, Any]) -> None:
    data["escalation"] = [row[:2] for row in data["escalation"]]


def swap_types(data: dict[str, Any]) -> None:
    data["task_types"].reverse()


def drop_key(data: dict[str, Any]) -> None:
    del data["best_single"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (rename_worker, UnknownWorkerError, "gpt-4o-2024-08-07.*Did you mean 'gpt-4o-2024-08-06'"),
        (drop_column, CheckpointError, "tables of 3 attempts"),
        (swap_types, CheckpointError, "tune them again"),
        (drop_key, CheckpointError, "best_single"),
    ],
)
def test_tables_that_do_not_fit_are_refused(
    tuned: Path,
    tmp_path: Path,
    change: Callable[[dict[str, Any]], None],
    error: type[Exception],
    message: str,
) -> None:
    data = json.loads(tuned.read_text())
    change(data)
    path = tmp_path / "tables.json"
    path.write_text(json.dumps(data))

    with pytest.raises(error, match=message):
        read_tables(path, tiny_setting())


def test_missing_or_truncated_tables_are_refused(tuned: Path, tmp_path: Path) -> None:
    path = tmp_path / "tables.json"
    with pytest.raises(MissingFileError, match="no such tables"):
        read_tables(path, tiny_setting())
    path.write_text(tuned.read_text()[:80])
    with pytest.raises(CheckpointError, match="tune them again"):
        read_tables(path, tiny_setting())
