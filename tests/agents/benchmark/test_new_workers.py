"""Workers never seen in training: what is trained without them, and how it is compared."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import numpy.typing as npt
import pytest
import yaml

from agents.agent import Obs, Setting, State
from agents.baselines.tables import TableAgent
from agents.benchmark import new_workers
from agents.benchmark.contest import OnlyWorkers, Standing, load_policy
from agents.benchmark.new_workers import (
    ALL,
    CONTENDERS,
    FEWER,
    MASKED,
    TABLE_ALL,
    TABLE_FEWER,
    held_out_sets,
    summarise_workers,
    worker_contest,
    worker_variants,
)
from agents.benchmark.variants import Study
from agents.config import load_experiment
from agents.evaluate import evaluate
from agents.experiment import experiment_dataset
from orchestai_env.datasets.builtin import builtin_pool
from orchestai_env.errors import ConfigError, DataError, UnknownWorkerError
from tests.agents.benchmark.in_process import InProcess, in_process
from tests.agents.problems import WEIGHTS, builtin_setting
from tests.tiny_config import write_config

POOL = builtin_pool()[0].names


def study(folder: Path, **changes: Any) -> Study:
    return Study(
        config=load_experiment(write_config(folder, **changes)),
        profile="balanced",
        weights=WEIGHTS,
        data=None,
        output_dir=folder / "run",
    )


@pytest.fixture(scope="module")
def runner() -> Iterator[InProcess]:
    with in_process() as found:
        yield found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, runner: InProcess) -> Path:
    """The command on built-in data: two seeds, a drawn pair of workers each, 32 steps."""
    folder = tmp_path_factory.mktemp("workers")
    config = write_config(
        folder,
        training={
            "phase2_rl": {"total_timesteps": 32},
            "variation": {"min_workers": 4, "shuffle_workers": True},
        },
    )
    new_workers.main(
        [
            *("--config", str(config), "--output_dir", str(folder / "run")),
            *("--num_seeds", "2", "--start", "scratch"),
        ]
    )
    return folder / "run"


def summary_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return found


def test_command_trains_and_tunes_with_and_without(finished: Path, runner: InProcess) -> None:
    summary = summary_of(finished)

    assert sorted(runner.modules) == ["agents.train_phase2"] * 4 + ["agents.tune_tables"] * 4
    used = [
        yaml.safe_load(Path(arguments[1]).read_text())["use_workers"]
        for arguments in runner.arguments
    ]
    assert used.count(None) == 4
    for held_out in summary["held_out"]:
        left = [name for name in POOL if name not in held_out]
        assert len(held_out) == 2
        assert used.count(left) >= 2
    assert list(summary["contenders"]) == list(CONTENDERS)
    for found in summary["contenders"].values():
        for split in ("train", "test"):
            assert len(found[split]["return_per_seed"]) == 2
        assert found["test"]["ci95"][0] <= found["test"]["ci95"][1]


def test_new_workers_are_called_by_those_who_may_alone(finished: Path) -> None:
    contenders = summary_of(finished)["contenders"]

    for name in (MASKED, TABLE_FEWER):
        assert contenders[name]["test"]["share_of_new_workers"] == [0.0, 0.0]
    assert max(contenders[FEWER]["test"]["share_of_new_workers"]) > 0


def test_differences_and_ratio_follow_from_the_returns(finished: Path) -> None:
    summary = summary_of(finished)
    means = {name: of["test"]["return_mean"] for name, of in summary["contenders"].items()}

    assert set(summary["differences"]) == set(CONTENDERS) - {FEWER}
    for name, found in summary["differences"].items():
        assert found["difference_mean"] == pytest.approx(means[FEWER] - means[name])
        assert found["ci95"][0] <= found["ci95"][1]
    if summary["ratio_to_all"]["ratio"] is not None:
        assert summary["ratio_to_all"]["ratio"] == pytest.approx(means[FEWER] / means[ALL])


def test_policy_of_fewer_workers_plays_with_all(finished: Path) -> None:
    """Its figures are those of its file, loaded for the whole pool."""
    summary = summary_of(finished)
    config = load_experiment(finished / "config.yaml")
    dataset = experiment_dataset(config, None, "test")
    rows = np.arange(config.benchmark.workflows) % len(dataset.workflows)
    setting = Setting(
        dataset=dataset.with_workflows(dataset.workflows.take(rows)),
        rules=config.rules(),
        weights=WEIGHTS,
    )
    places = "_".join(str(POOL.index(name)) for name in summary["held_out"][1])
    path = finished / f"without_{places}" / "weights" / "seed1" / "policy" / "phase2_best.zip"

    found = evaluate(load_policy(path, setting), setting, seed=config.seed).summary()

    expected = summary["contenders"][FEWER]["test"]["return_per_seed"][1]
    assert found["return_mean"] == pytest.approx(expected)


def test_picture_shows_something(finished: Path) -> None:
    pixels = matplotlib.image.imread(finished / "new_workers.png")

    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 20


def test_drawn_workers_leave_every_subtask_served(tmp_path: Path) -> None:
    asked = study(tmp_path, benchmark={"num_seeds": 12})
    sets = held_out_sets(asked, ())

    assert sets == held_out_sets(asked, ())
    assert len(set(sets)) > 2
    dataset = experiment_dataset(asked.config, None, "test")
    for names in sets:
        assert len(names) == 2
        dataset.with_workers([name for name in POOL if name not in names])


def test_named_workers_go_to_the_seeds_in_turns(tmp_path: Path) -> None:
    asked = study(tmp_path, benchmark={"num_seeds": 3})
    able = held_out_sets(asked, ())[0]

    sets = held_out_sets(asked, [able[0], f"{able[1]}, {able[0]},{able[1]}"])

    assert sets == ((able[0],), (able[1], able[0]), (able[0],))


def test_workers_that_cannot_be_left_out_are_refused(tmp_path: Path) -> None:
    asked = study(tmp_path)
    outcomes = experiment_dataset(asked.config, None, "test").outcomes
    rare = int(np.argmin(outcomes.capable.sum(axis=1)))
    needed = [name for name, able in zip(POOL, outcomes.capable[rare], strict=True) if able]

    with pytest.raises(UnknownWorkerError, match=r"--held_out nobody: unknown worker 'nobody'"):
        held_out_sets(asked, ["nobody"])
    with pytest.raises(ConfigError, match="leaves none of the workers"):
        held_out_sets(asked, [",".join(POOL)])
    with pytest.raises(DataError, match="have a subtask that none of"):
        held_out_sets(asked, [",".join(needed)])


def test_pool_of_specialists_cannot_be_split(tmp_path: Path) -> None:
    skill = {"success": 0.8, "output_tokens": 50, "source": "assumed"}
    pool = [{"name": f"only-{kind}", "skills": {kind: skill}} for kind in ("math", "code", "text")]
    with pytest.raises(ConfigError, match=r"no 2 of the workers .* can be left out"):
        held_out_sets(study(tmp_path, worker_models=pool), ())


def test_command_line_error_is_one_line(tmp_path: Path, refused: Callable[..., str]) -> None:
    config = write_config(tmp_path)
    line = refused(
        new_workers.main,
        *("--config", config, "--output_dir", tmp_path / "run", "--held_out", "nobody"),
    )

    assert "--held_out nobody: unknown worker 'nobody'" in line


def test_contest_keeps_the_old_workers_to_those_without_the_new(tmp_path: Path) -> None:
    asked = study(tmp_path, benchmark={"num_seeds": 2})
    held_out = held_out_sets(asked, ())
    fewer, everyone = worker_variants(asked, POOL, held_out, "scratch")
    found = {of.name: of for of in worker_contest(asked, POOL, fewer, everyone).contenders}

    for name in (MASKED, TABLE_FEWER):
        only = found[name].only
        assert only is not None
        for kept, names in zip(only, held_out, strict=True):
            assert set(kept) | set(names) == set(POOL) and not set(kept) & set(names)
    assert all(found[name].only is None for name in (FEWER, ALL, TABLE_ALL))
    assert found[FEWER].files == found[MASKED].files != found[ALL].files
    assert [path.name for path in found[TABLE_ALL].files] == ["tables.json"] * 2


class FirstAllowed:
    """Picks the first allowed worker, and notes the masks."""

    def __init__(self) -> None:
        self.masks: list[npt.NDArray[Any]] = []

    def predict(
        self,
        observation: Obs,
        state: State = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[npt.NDArray[Any], State]:
        self.masks.append(observation["action_mask"])
        return observation["action_mask"].argmax(axis=1), state


def test_only_workers_hides_the_others_while_one_is_left() -> None:
    inner = FirstAllowed()
    agent = OnlyWorkers(inner, np.array([False, True, True]))
    mask = np.array([[1, 1, 1], [1, 0, 1], [1, 0, 0]], np.int8)
    observation = {"action_mask": mask}

    actions, _ = agent.predict(observation)

    assert actions.tolist() == [1, 2, 0]
    assert inner.masks[0].tolist() == [[0, 1, 1], [0, 0, 1], [1, 0, 0]]
    assert inner.masks[0].dtype == mask.dtype
    assert mask.tolist() == [[1, 1, 1], [1, 0, 1], [1, 0, 0]]


def test_table_kept_to_some_workers_is_that_of_the_smaller_pool() -> None:
    """With indexes that stay, simulated luck stays too: both play the very same episodes."""
    full = builtin_setting(40, split="test")
    names = POOL[:6]
    part = dataclasses.replace(full, dataset=full.dataset.with_workers(names))
    table = np.random.default_rng(0).integers(6, size=(len(full.dataset.task_types), 3))

    kept = evaluate(OnlyWorkers(TableAgent(full, table), np.arange(8) < 6), full, seed=2)
    small = evaluate(TableAgent(part, table), part, seed=2)

    np.testing.assert_array_equal(kept.episode_return, small.episode_return)


def test_ratio_is_that_of_the_mean_returns(tmp_path: Path) -> None:
    count = len(CONTENDERS)
    returns = np.array([1.8, 1.0, 2.0, 1.5, 1.9])
    points = np.zeros((count, 4, 2))
    points[:, 0] = returns[:, None] + [-0.1, 0.1]
    replicates = np.zeros((count, 4, 3))
    replicates[:, 0] = returns[:, None] * [0.5, 1.0, 2.0]
    standing = Standing(
        points={"train": points, "test": points},
        picks={"test": np.ones((count, 2, 8), np.int64)},
        replicates=replicates,
    )
    result = summarise_workers(study(tmp_path), POOL, [POOL[:2], POOL[2:4]], standing)

    assert result["ratio_to_all"]["ratio"] == pytest.approx(0.9)
    assert result["ratio_to_all"]["ci95"] == pytest.approx([0.9, 0.9])
    assert result["differences"][TABLE_FEWER]["difference_mean"] == pytest.approx(0.3)
    assert result["differences"][TABLE_FEWER]["ci95"] == pytest.approx([0.1575, 0.585])


def test_there_is_no_ratio_to_a_policy_that_earns_nothing(tmp_path: Path) -> None:
    count = len(CONTENDERS)
    standing = Standing(
        points={split: np.zeros((count, 4, 1)) for split in ("train", "test")},
        picks={"test": np.ones((count, 1, 8), np.int64)},
        replicates=np.zeros((count, 4, 3)),
    )
    result = summarise_workers(study(tmp_path), POOL, [POOL[:2]], standing)

    assert result["ratio_to_all"] == {"ratio": None, "ci95": None}
    assert result["contenders"][FEWER]["test"]["share_of_new_workers"] == [0.25]
