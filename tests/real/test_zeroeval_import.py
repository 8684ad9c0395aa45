"""The import of the recorded outcomes of eight real LLMs, where the data is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from orchestai_env.datasets.folder import RecordedFolder, load_folder
from orchestai_env.datasets.recorded_import import import_recorded
from orchestai_env.datasets.recorded_settings import RecordedSourceSettings, WorkflowCounts
from orchestai_env.datasets.splits import SPLITS, normalised
from orchestai_env.workers import WorkerPool, WorkerSpec

pytestmark = pytest.mark.real

CHECKOUT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("ORCHESTAI_DATA", CHECKOUT.parent / "shared" / "data"))

# first_token_ms and tokens_per_s; assumed, as the source records no latency.
SPEEDS = {
    "gemma-2-9b-it": (300, 150),
    "Meta-Llama-3.1-8B-Instruct": (250, 220),
    "gemini-1.5-flash": (350, 160),
    "gpt-4o-mini-2024-07-18": (450, 90),
    "deepseek-v2.5-0908": (1200, 18),
    "claude-3-haiku-20240307": (400, 120),
    "claude-3-5-sonnet-20240620": (900, 60),
    "gpt-4o-2024-08-06": (500, 80),
}
POOL = WorkerPool(
    tuple(
        WorkerSpec(name=name, first_token_ms=first_token_ms, tokens_per_s=tokens_per_s)
        for name, (first_token_ms, tokens_per_s) in SPEEDS.items()
    )
)
SETTINGS = RecordedSourceSettings(
    source="zeroeval",
    task_types=("code_reasoning", "competition_math", "grade_school_math"),
    latency="derived",
    num_workflows=WorkflowCounts(train=2_000, validation=200, test=200),
)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> RecordedFolder:
    if not (DATA / "zeroeval").is_dir():
        pytest.skip(f"no recorded data in {DATA}; set ORCHESTAI_DATA to the folder of zeroeval/")
    return import_recorded(DATA, SETTINGS, POOL, tmp_path_factory.mktemp("zeroeval"))


def test_every_worker_answered_every_query(imported: RecordedFolder) -> None:
    assert len(imported.queries) == 1_972
    assert np.bincount(imported.queries.task_type).tolist() == [547, 515, 910]
    assert (imported.all_splits.outcomes.num_trials == 1).all()
    assert imported.description.num_derived_latencies == 1_972 * 8
    assert imported.all_splits.latency_label == "derived"


def test_splits_have_their_share_of_the_queries(imported: RecordedFolder) -> None:
    shares = [len(imported.queries.rows(split)) / 1_972 for split in SPLITS]

    assert shares == pytest.approx([0.6, 0.1, 0.3], abs=0.03)


def test_no_query_is_on_two_sides(imported: RecordedFolder) -> None:
    texts: list[set[str]] = []
    for split in SPLITS:
        query = imported.dataset(split).workflows.query
        rows = np.unique(query[query >= 0])
        texts.append({normalised(imported.queries.prompts[row]) for row in rows})

    assert not texts[0] & texts[1] and not texts[0] & texts[2] and not texts[1] & texts[2]


def test_shapes_are_those_of_the_recorded_plans(imported: RecordedFolder) -> None:
    assert imported.shapes.count.sum() == 3_349
    assert set(imported.shapes.num_subtasks) == {2, 3, 4, 5, 6}


def test_latency_of_one_call_by_hand(imported: RecordedFolder) -> None:
    row = imported.queries.ids.index("zeroeval/crux/0")
    outcomes = imported.all_splits.outcomes

    # claude-3-5-sonnet wrote 417 tokens: 900 ms + 417 / (60 tokens/s) = 7.85 s.
    assert outcomes.latency_us[row, POOL.index("claude-3-5-sonnet-20240620"), 0] == 7_850_000
    # Llama wrote 122: 250 ms + 122 / (220 tokens/s) = 804.5454... ms.
    assert outcomes.latency_us[row, POOL.index("Meta-Llama-3.1-8B-Instruct"), 0] == 804_545


def test_import_reproduces_byte_for_byte(imported: RecordedFolder, tmp_path: Path) -> None:
    import_recorded(DATA, SETTINGS, POOL, tmp_path)

    for path in sorted(imported.path.iterdir()):
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name
    assert load_folder(tmp_path).description == imported.description
