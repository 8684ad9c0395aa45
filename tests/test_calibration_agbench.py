"""Replays and logs of benchmark runs keep what was recorded; on made-up runs of a known chain."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from benchmarks import calibration_agbench
from benchmarks.agbench_log import execution_log
from benchmarks.agbench_runs import (
    ATTEMPTS,
    FORMAT,
    Runs,
    Split,
    read_graph,
    read_runs,
    replayed,
    split_runs,
)
from benchmarks.calibration_agbench import PROFILES, QUANTITIES, Row, Study, order_kept
from tests.test_benchmarks import rows_of

NEEDS: Mapping[str, list[str]] = {
    "write": [],
    "read": ["write"],
    "search": ["write"],
    "sum": ["read"],
}
CHANCE = {"able": 0.8, "cheap": 0.5, "late": 0.7}
COST = {"able": 0.2, "cheap": 0.01, "late": 0.05}
NUM_RUNS = 60


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes runs of three agents; a run goes on where all that a task needs has succeeded."""
    folder = tmp_path_factory.mktemp("data") / FORMAT
    folder.mkdir()
    with gzip.open(folder / "tasks.jsonl.gz", "wt", encoding="utf-8") as file:
        for name, needs in NEEDS.items():
            texts = {"name": name, "task": f"Do {name}."}
            file.write(json.dumps(texts | {"category": ["code"], "depends_on": needs}) + "\n")
    rng = np.random.default_rng(0)
    header = ["run_id", "agent", "date", "task", "success", "run_time_ms", "cost_usd"]
    with gzip.open(folder / "runs.csv.gz", "wt", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow([*header, "reached_cutoff"])
        for agent, chance in CHANCE.items():
            for number in range(NUM_RUNS):
                won: set[str] = set()
                for task, needs in NEEDS.items():
                    if not set(needs) <= won:
                        continue
                    success = rng.random() < chance
                    won |= {task} if success else set()
                    cost = "" if number % 10 == 0 else f"{COST[agent] * rng.uniform(0.5, 1.5):.4f}"
                    row = [f"{agent}-{number}", agent, "2023-08-02", task, int(success)]
                    table.writerow([*row, f"{rng.uniform(5e3, 9e3):.3f}", cost, 0])
    return folder.parent


@pytest.fixture(scope="module")
def runs(data: Path) -> Runs:
    return read_runs(data / FORMAT)


@pytest.fixture(scope="module")
def split(data: Path, runs: Runs) -> Split:
    return split_runs(runs, read_graph(data / FORMAT), runs.lowest(1 / 3))


def test_calls_without_a_cost_are_left_out(runs: Runs) -> None:
    assert len(runs.run_ids) == 3 * NUM_RUNS * 9 // 10
    assert (runs.cost_usd > 0).all()


def test_whole_runs_are_held_back_and_equally_of_each_agent(runs: Runs) -> None:
    held = runs.lowest(1 / 3)
    assert not set(runs.run[held]) & set(runs.run[~held])
    for agent in range(len(runs.agents)):
        own = runs.agent == agent
        assert len(set(runs.run[own & held])) == NUM_RUNS * 9 // 10 // 3
    assert (runs.lowest(1 / 3, salt="other") != held).any()


def test_pairs_too_rare_on_a_side_are_left_out(data: Path, runs: Runs) -> None:
    held = runs.lowest(1 / 3)
    late, read = runs.agents.index("late"), runs.tasks.index("read")
    rare = np.flatnonzero(held & (runs.agent == late) & (runs.task == read))[ATTEMPTS - 1 :]
    kept = np.delete(np.arange(len(runs)), rare)
    found = split_runs(runs.taken(kept), read_graph(data / FORMAT), held[kept])
    assert not found.allowed[read, late]
    assert found.allowed.sum() == found.allowed.size - 1
    assert (read, late) not in found.train.trials()


def test_log_holds_every_attempt_at_most_once_and_keeps_the_order_of_tasks(split: Split) -> None:
    records = list(execution_log(split, seed=0))
    calls = [call for record in records for call in record.decisions]
    logged = Counter((call.worker, round(call.cost, 9), call.success) for call in calls)
    train = split.train
    rows = zip(train.agent, train.cost_usd.round(9), train.success == 1, strict=True)
    recorded = Counter((train.agents[a], float(c), bool(s)) for a, c, s in rows)
    assert logged <= recorded
    first = sum(call.subtask == 0 for call in calls)
    assert first == (train.task == next(iter(split.parents))).sum()
    for record in records:
        ended = {call.subtask: call.end_ms for call in record.decisions if call.success}
        adjacency = record.planner_outputs.workflow_graph.adjacency
        for call in record.decisions:
            parents = [i for i in range(len(adjacency)) if adjacency[i][call.subtask]]
            assert all(call.decided_ms >= (ended[parent] or 0.0) for parent in parents)
            assert call.probabilities is not None
            assert sum(call.probabilities.values()) == pytest.approx(1.0)


def test_replays_draw_different_attempts_evenly(split: Split) -> None:
    copies = 3000
    tables = replayed([split.train], split.allowed, copies, seed=0)
    time_us = tables.latency_us.reshape(len(split.train.tasks), copies, -1, ATTEMPTS)
    success = tables.success.reshape(time_us.shape)
    for pair, rows in split.train.trials().items():
        drawn = time_us[pair[0], :, pair[1]]
        recorded = np.round(split.train.latency_ms[rows] * 1e3)
        assert set(drawn.ravel()) <= set(recorded)
        assert all(len(set(trials)) == ATTEMPTS for trials in drawn[:20])
        spread = recorded.std() / np.sqrt(copies)
        assert drawn.mean() == pytest.approx(recorded.mean(), abs=5 * spread)
        chance = split.train.success[rows].mean()
        assert success[pair[0], :, pair[1], 0].mean() == pytest.approx(chance, abs=0.05)


def test_resampled_runs_keep_their_number_and_come_whole(runs: Runs) -> None:
    drawn = runs.resampled(np.random.default_rng(0))
    for run in set(drawn.run.tolist()):
        times = (drawn.run == run).sum() / (runs.run == run).sum()
        assert times == int(times)
    starts = [(side.task == side.tasks.index("write")).sum() for side in (runs, drawn)]
    assert starts[0] == starts[1]


def test_replayed_chain_succeeds_as_often_as_its_attempts_say(split: Split) -> None:
    """An agent's chance of a chain is the product over its tasks; a task may be tried 3 times."""
    study = Study(split, seed=0)
    played = study.recorded([split.train], copies=1500)
    row = study.means(played, study.policies["always the best"])[0]
    best = split.train.agents.index("able")
    found = []
    for workflow in split.workflows:
        chance = 1.0
        for subtask in workflow.subtasks:
            rows = split.train.trials()[split.train.tasks.index(subtask.type), best]
            n, lost = len(rows), int((1 - split.train.success[rows]).sum())
            chance *= 1.0 - lost * (lost - 1) * (lost - 2) / (n * (n - 1) * (n - 2))
        found.append(chance)
    assert row[0] == pytest.approx(np.mean(found), abs=0.01)


def test_order_counts_pairs_that_the_replays_tell_apart() -> None:
    """Replayed 3, 1 and 0.9, simulated 3, 1 and 2; only the first and third share their noise."""
    noise = np.array([[0.9], [-0.9]])
    replays, simulated = (3.0, 1.0, 0.9), (3.0, 1.0, 2.0)
    rows = [
        Row(
            policy=str(p),
            train=np.zeros((1, 2)),
            test=np.array([[mean, 0.0]]),
            resampled=mean + noise * (-1) ** p,
            simulated=np.array([played]),
        )
        for p, (mean, played) in enumerate(zip(replays, simulated, strict=True))
    ]
    kept, pairs = order_kept(rows, 0)
    assert (kept.tolist(), pairs.tolist()) == ([2, 1], [3, 1])


def test_main_prints_a_table_for_each_quantity(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--data", str(data), "--copies", "50", "--replicates", "4"]
    for options in ([], ["--halves", "2"]):
        calibration_agbench.main([*few, *options])
        rows = rows_of(capsys.readouterr().out)
        assert len(rows) == 6 * len(QUANTITIES)
        assert [rows[6 * q][0] for q in range(len(QUANTITIES))] == list(QUANTITIES)
        assert rows[-6][0] == f"return, {PROFILES[-1]}"
