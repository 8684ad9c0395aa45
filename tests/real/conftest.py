"""The recorded outcomes of eight real LLMs, imported by the settings of `make real`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agents.config import ExperimentSettings, load_experiment
from orchestai_env.datasets.folder import RecordedFolder
from orchestai_env.datasets.recorded_import import import_recorded
from orchestai_env.datasets.recorded_settings import RecordedSourceSettings, WorkflowCounts
from orchestai_env.workers import WorkerPool

CHECKOUT = Path(__file__).resolve().parents[2]
CONFIG = CHECKOUT / "configs" / "suites" / "zeroeval.yaml"


@pytest.fixture(scope="session")
def data_root() -> Path:
    root = Path(os.environ.get("ORCHESTAI_DATA", CHECKOUT.parent / "shared" / "data"))
    if not (root / "zeroeval").is_dir():
        pytest.skip(f"no recorded data in {root}; set ORCHESTAI_DATA to the folder of zeroeval/")
    return root


@pytest.fixture(scope="session")
def config() -> ExperimentSettings:
    return load_experiment(CONFIG)


@pytest.fixture(scope="session")
def pool(config: ExperimentSettings) -> WorkerPool:
    assert config.worker_models is not None
    return config.worker_models


@pytest.fixture(scope="session")
def source(config: ExperimentSettings) -> RecordedSourceSettings:
    assert config.source is not None
    fewer = WorkflowCounts(train=2_000, validation=200, test=2_000)
    return config.source.model_copy(update={"num_workflows": fewer})


@pytest.fixture(scope="session")
def imported(
    data_root: Path,
    source: RecordedSourceSettings,
    pool: WorkerPool,
    tmp_path_factory: pytest.TempPathFactory,
) -> RecordedFolder:
    return import_recorded(data_root, source, pool, tmp_path_factory.mktemp("zeroeval"))
