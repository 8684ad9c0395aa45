"""The recorded data of the other suites, imported by their settings, where it is at hand."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.benchmark.suites import suite_path
from agents.config import load_experiment, profile_weights
from orchestai_env.datasets.folder import RecordedFolder
from orchestai_env.datasets.recorded_import import describe_import, import_recorded
from orchestai_env.datasets.recorded_settings import WorkflowCounts
from orchestai_env.env import OrchestAIEnv
from orchestai_env.errors import DataError

pytestmark = pytest.mark.real
FEWER = WorkflowCounts(train=500, validation=100, test=500)


def imported_suite(name: str, data_root: Path, folder: Path) -> RecordedFolder:
    config = load_experiment(suite_path(name))
    source, pool = config.source, config.worker_models
    assert source is not None and pool is not None
    fewer = source.model_copy(update={"num_workflows": FEWER})
    return import_recorded(data_root, fewer, pool, folder)


@pytest.fixture(scope="module")
def llmrouter(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> RecordedFolder:
    return imported_suite("llmrouter", data_root, tmp_path_factory.mktemp("llmrouter"))


def test_llmrouter_has_success_of_single_calls_alone(llmrouter: RecordedFolder) -> None:
    outcomes = llmrouter.all_splits.outcomes

    assert len(llmrouter.all_splits.task_types) == 13
    assert outcomes.num_trials.sum() == 35_235  # rows of the source
    assert not outcomes.cost_usd.any() and not outcomes.latency_us.any()
    assert llmrouter.all_splits.latency_label == "not recorded"
    assert "cost: not recorded, taken as 0" in describe_import(llmrouter)
    assert (llmrouter.dataset("test").workflows.num_subtasks == 1).all()


def test_llmrouter_pays_ten_and_a_tenth_for_a_right_answer(llmrouter: RecordedFolder) -> None:
    config = load_experiment(suite_path("llmrouter"))
    weights = profile_weights(config, suite_path("llmrouter"), "success")
    rules: dict[str, Any] = config.rules().model_dump(exclude_none=True)
    env = OrchestAIEnv(llmrouter.dataset("test"), reward_weights=weights, **rules)

    for seed in range(50):
        obs, _ = env.reset(seed=seed)
        assert all(np.isfinite(value).all() for value in obs.values())
        _, reward, terminated, _, info = env.step(seed % len(llmrouter.all_splits.pool))
        assert terminated
        assert float(reward) == pytest.approx(10.1 if info["is_success"] else 0.0)


def test_mmlu_pro_has_ten_workers_and_fourteen_types(data_root: Path, tmp_path: Path) -> None:
    imported = imported_suite("mmlu_pro", data_root, tmp_path)

    assert len(imported.all_splits.task_types) == 14
    assert len(imported.all_splits.pool) == 10
    assert len(imported.queries) == 8_437  # of the source, none left out
    assert imported.all_splits.latency_label == "derived"
    assert set(imported.dataset("test").workflows.num_subtasks) == {2, 3, 4, 5, 6}


def test_mixed_pool_did_every_task(data_root: Path, tmp_path: Path) -> None:
    imported = imported_suite("mixed", data_root, tmp_path)

    assert (imported.all_splits.outcomes.num_trials == 1).all()


def test_routerarena_is_refused_for_its_negative_score(data_root: Path, tmp_path: Path) -> None:
    with gzip.open(data_root / "routerarena" / "outcomes.csv.gz", "rt", newline="") as file:
        row = next(row for row in csv.DictReader(file) if float(row["score"]) < 0)
    config = load_experiment(suite_path("llmrouter"))
    assert config.source is not None and config.worker_models is not None
    source = config.source.model_copy(
        update={"source": "routerarena", "task_types": (row["task_type"],)}
    )

    with pytest.raises(DataError, match=rf"score: expected a number, 0..1, got '{row['score']}'"):
        import_recorded(data_root, source, config.worker_models, tmp_path)
