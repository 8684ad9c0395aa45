"""Logged executions become a Minari data set whose observations are those of the environment."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import minari
import numpy as np
import pytest

from orchestai_env.arguments import resolve_dataset
from orchestai_env.dataset import Dataset
from orchestai_env.datasets.importers.export_minari_command import add_export_minari_command
from orchestai_env.datasets.importers.logged_workers import LoggedWorkers, survey
from orchestai_env.datasets.importers.replay import replay
from orchestai_env.env import OrchestAIEnv
from orchestai_env.errors import DataError, UnknownWorkerError
from orchestai_env.execution.log.execution_log import ExecutionLogger
from orchestai_env.reward import RewardWeights, compute_reward
from orchestai_env.rules import EpisodeRules
from orchestai_env.workers import WorkerPool, WorkerSpec
from tests.orchestai_env.datasets.importers.recorder import Played

KEYS = ["subtasks", "adjacency", "workers", "context", "action_mask"]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """The built-in data; its workers take any number of calls, so that none waits."""
    data = resolve_dataset(None, None)
    free = tuple(worker.model_copy(update={"concurrency": 100}) for worker in data.pool.workers)
    return dataclasses.replace(data, pool=WorkerPool(free))


@pytest.fixture(scope="module")
def played(dataset: Dataset) -> list[Played]:
    env = OrchestAIEnv(dataset, observation=KEYS, max_parallel_tasks=100)
    return [Played(env, seed) for seed in range(30)]


@pytest.fixture
def logs(played: list[Played], tmp_path: Path) -> Path:
    with ExecutionLogger(tmp_path / "logs", fsync="never") as logger:
        for episode in played:
            logger.append(episode.record)
    return tmp_path / "logs"


@pytest.fixture(autouse=True)
def minari_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text("max_parallel_tasks: 100\n")
    return path


RULES = EpisodeRules(max_parallel_tasks=100)


def export(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    add_export_minari_command(parser.add_subparsers(required=True))
    args = parser.parse_args(["export-minari", *arguments])
    args.run(args)


def run(*arguments: object) -> None:
    export([str(argument) for argument in arguments])


def test_replay_shows_what_the_environment_showed(dataset: Dataset, played: list[Played]) -> None:
    workers = LoggedWorkers(
        pool=dataset.pool,
        task_types=dataset.task_types,
        max_subtasks=dataset.workflows.max_subtasks,
        capable=dataset.outcomes.capable > 0,
        statistics=dataset.statistics,
        num_executions=len(played),
    )

    for episode in played:
        again = replay(episode.record, workers, rules=RULES, weights=RewardWeights())

        assert again.actions.tolist() == episode.actions
        for key in KEYS:
            seen = np.stack([obs[key] for obs in episode.observations])
            np.testing.assert_array_equal(again.observations[key], seen, err_msg=key)
        np.testing.assert_allclose(again.rewards, episode.rewards, rtol=1e-9, atol=1e-9)
    assert {episode.result.success for episode in played} == {True, False}


def test_data_set_is_read_back_by_minari(
    logs: Path, rules: Path, played: list[Played], capsys: pytest.CaptureFixture[str]
) -> None:
    run("--logs", logs, "--dataset_id", "mine/workflows-v0", "--rules", rules, "--author", "me")

    data = minari.load_dataset("mine/workflows-v0")
    assert data.total_episodes == len(played)
    assert data.total_steps == sum(len(episode.actions) for episode in played)
    assert data.env_spec is not None and data.env_spec.id == "OrchestAI-v0"
    for number, (episode, original) in enumerate(zip(data.iterate_episodes(), played, strict=True)):
        assert episode.id == number
        assert len(episode.actions) == len(original.actions)
        assert all(data.action_space.contains(action) for action in episode.actions)
        assert episode.rewards.sum() == pytest.approx(
            compute_reward(original.result, RewardWeights()), rel=1e-6
        )
        assert episode.terminations.tolist() == [False] * (len(episode) - 1) + [True]
        assert not episode.truncations.any()
        steps = len(episode) + 1
        assert episode.observations["adjacency"].shape[0] == steps
        for step in range(steps):
            obs = {key: value[step] for key, value in episode.observations.items()}
            assert data.observation_space.contains(obs)
        chances = episode.infos["propensities"]
        assert chances.shape == (steps, data.action_space.n) and np.isnan(chances[-1]).all()
        np.testing.assert_allclose(chances[:-1].sum(axis=1), 1.0)
        chosen = chances[np.arange(len(episode)), episode.actions]
        assert (chosen > 0).all()
        mask = episode.observations["action_mask"][:-1]
        np.testing.assert_array_equal(mask, (chances[:-1] > 0).astype(np.int8))
        subtasks = [decision.subtask for decision in original.record.decisions]
        assert episode.infos["subtask"].tolist() == [*subtasks, -1]
    assert "minari.load_dataset('mine/workflows-v0')" in capsys.readouterr().out


def test_workers_and_statistics_come_from_the_log(played: list[Played], dataset: Dataset) -> None:
    workers = survey(episode.record for episode in played)

    assert set(workers.pool.names) <= set(dataset.pool.names)
    ended = [
        decision
        for episode in played
        for decision in episode.record.decisions
        if decision.end_ms is not None
    ]
    name, t = ended[0].worker, episode_type(played, ended[0])
    same = [
        bool(decision.success)
        for episode in played
        for decision in episode.record.decisions
        if decision.end_ms is not None
        and decision.worker == name
        and episode.record.planner_outputs.task_types[decision.subtask] == t
    ]
    row, column = workers.task_types.index(t), workers.pool.index(name)
    assert workers.statistics.success[row, column] == pytest.approx(np.mean(same))
    assert np.isfinite(workers.statistics.cost_usd).all()


def episode_type(played: list[Played], decision: Any) -> str:
    for episode in played:
        if any(decision is other for other in episode.record.decisions):
            return episode.record.planner_outputs.task_types[decision.subtask]
    raise AssertionError


def test_unknown_propensities_are_nan(played: list[Played]) -> None:
    record = played[0].record
    blind = tuple(d.model_copy(update={"probabilities": None}) for d in record.decisions)
    record = record.model_copy(update={"decisions": blind})

    episode = replay(record, survey([record]), rules=RULES, weights=RewardWeights())

    assert np.isnan(episode.propensities).all()


def test_execution_under_other_rules_is_refused_or_left_out(
    refused: Any, logs: Path, tmp_path: Path, minari_root: Path, played: list[Played]
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("max_attempts: 1\nmax_parallel_tasks: 100\n")
    arguments = ("--logs", logs, "--dataset_id", "workflows-v0", "--rules", other)

    line = refused(export, *arguments)
    assert "execution played-" in line and "give the rules of the log" in line
    assert not any(minari_root.iterdir())  # nothing half written

    run(*arguments, "--skip-bad")
    retried = [e for e in played if any(d.attempt for d in e.record.decisions)]
    data = minari.load_dataset("workflows-v0")
    assert 0 < len(retried) <= len(played) - data.total_episodes
    listed = (minari_root / "workflows-v0" / "left_out.txt").read_text().splitlines()
    assert len(listed) == len(played) - data.total_episodes


def test_torn_line_is_left_out_with_skip_bad(
    refused: Any, logs: Path, rules: Path, minari_root: Path
) -> None:
    file = next(logs.glob("*.jsonl"))
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([lines[0], lines[1][:50] + "\n", *lines[2:]]))
    arguments = ("--logs", logs, "--dataset_id", "workflows-v0", "--rules", rules)

    assert f"{file}:2: " in refused(export, *arguments)

    run(*arguments, "--skip-bad")
    listed = (minari_root / "workflows-v0" / "left_out.txt").read_text()
    assert f"{file}:2: " in listed and listed.count("\n") == 1


def test_torn_last_line_is_listed_too(logs: Path, rules: Path, minari_root: Path) -> None:
    file = next(logs.glob("*.jsonl"))
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines, lines[0][:50]]))

    arguments = ("--logs", logs, "--dataset_id", "workflows-v0", "--rules", rules)
    run(*arguments, "--skip-bad")

    listed = (minari_root / "workflows-v0" / "left_out.txt").read_text()
    assert f"{file}:{len(lines) + 1}: " in listed and listed.count("\n") == 1


def test_executions_without_steps_are_left_out_and_counted(
    played: list[Played], rules: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = next(episode.record for episode in played if not episode.record.success)
    with ExecutionLogger(tmp_path / "logs", fsync="never") as logger:
        logger.append(failed)
        for name in ("first", "second"):
            logger.append(failed.model_copy(update={"execution_id": name, "interrupted": True}))
        nothing = {"success": False, "total_cost": 0.0, "total_latency_ms": 0.0, "outputs": {}}
        empty = failed.execution_result.model_copy(update=nothing)
        bare = {"execution_id": "bare", "decisions": (), "cost": 0.0, "execution_result": empty}
        logger.append(failed.model_copy(update=bare))

    run("--logs", tmp_path / "logs", "--dataset_id", "workflows-v0", "--rules", rules)

    assert minari.load_dataset("workflows-v0").total_episodes == 1
    shown = capsys.readouterr().out
    assert "2 interrupted executions were left out" in shown
    assert "1 executions without a decision were left out" in shown


def test_log_of_interrupted_executions_is_refused(
    refused: Any, played: list[Played], tmp_path: Path
) -> None:
    failed = next(episode.record for episode in played if not episode.record.success)
    with ExecutionLogger(tmp_path / "logs", fsync="never") as logger:
        logger.append(failed.model_copy(update={"interrupted": True}))

    line = refused(export, "--logs", tmp_path / "logs", "--dataset_id", "workflows-v0")
    assert "expected at least one execution to export, got none (1 interrupted, 0 without" in line


def test_taken_and_malformed_names_are_refused(refused: Any, logs: Path, rules: Path) -> None:
    run("--logs", logs, "--dataset_id", "workflows-v0", "--rules", rules)

    for name, expected in (
        ("workflows-v0", "is there already; name another version"),
        ("workflows", "expected (namespace/)name-v0 of letters"),
        ("a b-v0", "of letters, digits, '-' and '_'"),
        ("a/workflows-v0", "two at least in a namespace, got 'a/workflows-v0'"),
    ):
        line = refused(export, "--logs", logs, "--dataset_id", name, "--rules", rules)
        assert expected in line


def test_log_that_is_not_there_or_empty_is_refused(refused: Any, tmp_path: Path) -> None:
    line = refused(export, "--logs", tmp_path / "none", "--dataset_id", "workflows-v0")
    assert str(tmp_path / "none") in line

    with pytest.raises(DataError, match="expected a log with calls that have ended"):
        survey([])


def test_worker_that_the_pool_lacks_is_named(played: list[Played]) -> None:
    pool = WorkerPool((WorkerSpec(name="somebody"),))

    with pytest.raises(UnknownWorkerError, match="the log: unknown worker"):
        survey((episode.record for episode in played), pool)
