"""Importing the toy source: what is written, that it reproduces, and what is refused."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestai_env.datasets.annexes import fingerprint
from orchestai_env.datasets.folder import load_folder
from orchestai_env.datasets.recorded_import import describe_import, import_recorded
from orchestai_env.datasets.recorded_settings import RecordedSourceSettings
from orchestai_env.datasets.splits import SPLITS, split_of
from orchestai_env.env import OrchestAIEnv
from orchestai_env.errors import (
    ConfigError,
    DataError,
    MissingFileError,
    UnknownWorkerError,
)
from orchestai_env.reward import RewardWeights
from orchestai_env.settings import parse_settings
from orchestai_env.workers import WorkerPool, WorkerSpec
from tests.orchestai_env.datasets.toy_source import (
    NUM_QUERIES,
    OUTCOME_HEADER,
    outcome_rows,
    query_rows,
)

MakeSource = Callable[..., Path]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_import_writes_the_documented_files(folder: Path) -> None:
    assert sorted(contents(folder)) == [
        "dataset.json",
        "outcomes.csv.gz",
        "queries.csv.gz",
        "shapes.jsonl",
        "workflows_test.jsonl.gz",
        "workflows_train.jsonl.gz",
        "workflows_validation.jsonl.gz",
    ]
    outcomes = gzip.decompress((folder / "outcomes.csv.gz").read_bytes()).decode()
    assert outcomes.splitlines()[1] == "toy/0,code,ace,1,1,10,100,0.02,1750"
    assert "eve" not in outcomes


def test_import_reproduces_byte_for_byte(
    tmp_path: Path, make_source: MakeSource, settings: RecordedSourceSettings, pool: WorkerPool
) -> None:
    root = make_source()
    for name in ("first", "second"):
        import_recorded(root, settings, pool, tmp_path / name)
    import_recorded(root, settings.model_copy(update={"seed": 8}), pool, tmp_path / "third")

    first = contents(tmp_path / "first")
    assert first == contents(tmp_path / "second")
    third = contents(tmp_path / "third")
    assert {name for name in first if first[name] != third[name]} == {
        "dataset.json",
        *(f"workflows_{split}.jsonl.gz" for split in SPLITS),
    }


def test_import_splits_by_text_and_counts(folder: Path) -> None:
    imported = load_folder(folder)

    assert len(imported.queries) == NUM_QUERIES
    assert list(imported.queries.split) == [split_of(text) for text in imported.queries.prompts]
    for split, num_workflows in (("train", 40), ("validation", 10), ("test", 20)):
        assert len(imported.dataset(split).workflows) == num_workflows
    assert sum(counts.queries for counts in imported.description.splits.values()) == NUM_QUERIES


def test_import_labels_and_counts_derived_latencies(folder: Path) -> None:
    imported = load_folder(folder)

    assert imported.all_splits.latency_label == "derived"
    assert imported.description.num_derived_latencies == NUM_QUERIES
    assert imported.all_splits.outcomes.latency_us[0, :, 0].tolist() == [1_750_000, 400_000]


def test_import_of_recorded_latency_is_labelled_so(
    tmp_path: Path, make_source: MakeSource, settings: RecordedSourceSettings, pool: WorkerPool
) -> None:
    recorded = settings.model_copy(update={"latency": "recorded"})
    root, only_bob = make_source(), WorkerPool(tuple(pool.workers[1:]))

    imported = import_recorded(root, recorded, only_bob, tmp_path / "out")

    assert imported.all_splits.latency_label == "recorded"
    assert "latency: recorded\n" in describe_import(imported)
    with pytest.raises(
        DataError, match=r"worker 'ace' has no call .*; leave it out, or set `laten"
    ):
        import_recorded(root, recorded, pool, tmp_path / "out")


def without(column: str) -> list[list[Any]]:
    """The toy calls with nothing in the last columns, from the named one on."""
    first = OUTCOME_HEADER.index(column)
    return [row[:first] + [""] * (len(OUTCOME_HEADER) - first) for row in outcome_rows()]


def test_import_of_scores_alone_says_so(
    tmp_path: Path, make_source: MakeSource, settings: RecordedSourceSettings, pool: WorkerPool
) -> None:
    root = make_source(outcomes=without("input_tokens"))
    scores = settings.model_copy(update={"cost": "none", "latency": "none"})

    imported = import_recorded(root, scores, pool, tmp_path / "out")

    assert imported.all_splits.latency_label == "not recorded"
    outcomes = imported.all_splits.outcomes
    assert (outcomes.num_trials == 1).all()
    assert not outcomes.cost_usd.any() and not outcomes.latency_us.any()
    table = describe_import(imported)
    assert "latency: not recorded, taken as 0\ncost: not recorded, taken as 0\n" in table
    assert table.splitlines()[-2].split() == ["ace", "1.000", "-", "-"]
    assert load_folder(tmp_path / "out").description == imported.description


def test_scores_alone_reward_success_alone(
    tmp_path: Path, make_source: MakeSource, settings: RecordedSourceSettings, pool: WorkerPool
) -> None:
    """Ace is always right: 10 and 0.1 per subtask, whatever cost and time would weigh."""
    root = make_source(outcomes=without("input_tokens"))
    scores = settings.model_copy(update={"cost": "none", "latency": "none"})
    dataset = import_recorded(root, scores, pool, tmp_path / "out").dataset("test")
    weights = RewardWeights(
        success_weight=10.0, cost_weight=200.0, latency_weight=0.1, shaping_weight=0.1
    )
    env = OrchestAIEnv(dataset, reward_weights=weights)

    for seed in range(5):
        obs, _ = env.reset(seed=seed)
        total, done = 0.0, False
        while not done:
            assert all(np.isfinite(value).all() for value in obs.values())
            obs, reward, terminated, truncated, info = env.step(pool.index("ace"))
            total, done = total + float(reward), terminated or truncated
        size = round((total - 10.0) / 0.1)
        assert total == pytest.approx(10.0 + 0.1 * size) and 1 <= size <= 3
        assert info["is_success"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cost": "none"}, r"column 'cost_usd' has .*set `cost: recorded`"),
        ({"latency": "none"}, r"column 'latency_ms' has .*set `latency: recorded`"),
    ],
)
def test_import_keeps_no_silence_about_recorded_figures(
    tmp_path: Path,
    make_source: MakeSource,
    settings: RecordedSourceSettings,
    pool: WorkerPool,
    given: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(DataError, match=rf"outcomes\.csv\.gz: {message}"):
        import_recorded(make_source(), settings.model_copy(update=given), pool, tmp_path / "out")


def test_import_of_scores_alone_has_to_be_asked_for(
    tmp_path: Path, make_source: MakeSource, settings: RecordedSourceSettings, pool: WorkerPool
) -> None:
    root = make_source(outcomes=without("input_tokens"))

    with pytest.raises(DataError, match="where the source records scores alone, set `cost: none`"):
        import_recorded(root, settings, pool, tmp_path / "out")


def test_import_leaves_out_queries_that_nobody_answered(
    tmp_path: Path, make_source: MakeSource, settings: RecordedSourceSettings, pool: WorkerPool
) -> None:
    root = make_source(outcomes=[row for row in outcome_rows() if row[0] != "toy/5"])

    imported = import_recorded(root, settings, pool, tmp_path / "out")

    assert "toy/5" not in imported.queries.ids
    assert imported.description.num_unanswered_queries == 1
    assert imported.queries.ids[5] == "toy/6"
    assert imported.all_splits.outcomes.cost_usd[5, 1, 0] == pytest.approx(0.006)
    assert "left out: 1 queries without an answer" in describe_import(imported)


def test_import_takes_the_chosen_types_in_their_order(
    tmp_path: Path, make_source: MakeSource, settings: RecordedSourceSettings, pool: WorkerPool
) -> None:
    root = make_source()

    both = import_recorded(root, settings, pool, tmp_path / "both")
    one = import_recorded(
        root, settings.model_copy(update={"task_types": ("code",)}), pool, tmp_path / "one"
    )

    assert both.all_splits.task_types == ("math", "code")
    assert both.queries.task_type.tolist() == [1, 0] * (NUM_QUERIES // 2)
    assert len(one.queries) == NUM_QUERIES // 2
    assert not one.queries.task_type.any()


def test_import_with_random_shapes_needs_no_plans(
    tmp_path: Path, make_source: MakeSource, settings: RecordedSourceSettings, pool: WorkerPool
) -> None:
    root = make_source()
    (root / "planning" / "plans.jsonl.gz").unlink()

    with pytest.raises(MissingFileError, match=r"planning: no plans .* set `shapes: random`"):
        import_recorded(root, settings, pool, tmp_path / "out")
    random = settings.model_copy(update={"shapes": "random"})
    imported = import_recorded(root, random, pool, tmp_path / "out")
    assert imported.shapes.max_subtasks == 3


def test_import_again_removes_predictions_only_if_the_data_changed(
    tmp_path: Path, make_source: MakeSource, settings: RecordedSourceSettings, pool: WorkerPool
) -> None:
    root, output = make_source(), tmp_path / "out"
    imported = import_recorded(root, settings, pool, output)
    predictions = output / "predictions.npz"
    np.savez(
        predictions,
        query_ids=np.array(imported.queries.ids),
        worker_names=np.array(pool.names),
        predicted_success=np.full((NUM_QUERIES, 2), 0.5),
        dataset_sha256=np.array(fingerprint(imported.queries, imported.all_splits.outcomes)),
    )

    import_recorded(root, settings, pool, output)
    assert predictions.exists()
    import_recorded(root, settings.model_copy(update={"success_threshold": 0.9}), pool, output)
    assert not predictions.exists()


def test_failed_import_leaves_the_old_data_set(
    folder: Path, make_source: MakeSource, settings: RecordedSourceSettings, pool: WorkerPool
) -> None:
    before = contents(folder)

    with pytest.raises(DataError, match="score"):
        import_recorded(
            make_source(outcomes=[["toy/0", "code", "ace", 1, 2, "", "", "", ""]]),
            settings,
            pool,
            folder,
        )

    assert contents(folder) == before


def test_describe_import_shows_splits_and_workers(folder: Path) -> None:
    text = describe_import(load_folder(folder))

    lines = text.splitlines()
    assert lines[0] == "toy: 60 queries of 2 task types, 2 workers"
    assert lines[1].startswith("latency: derived for 60 calls from tokens and")
    assert lines[4].split()[0] == "train" and lines[4].split()[2] == "40"
    assert lines[-2].split() == ["ace", "1.000", "0.020000", "1.75"]
    assert max(map(len, lines)) <= 100


def test_worker_without_a_training_call_is_shown_without_figures(
    tmp_path: Path, make_source: MakeSource, settings: RecordedSourceSettings, pool: WorkerPool
) -> None:
    test = {name for name, _, prompt in query_rows() if split_of(prompt) == "test"}
    rows = [row for row in outcome_rows() if row[2] != "bob" or row[0] in test]
    text = describe_import(
        import_recorded(make_source(outcomes=rows), settings, pool, tmp_path / "out")
    )

    *_, bob, note = text.splitlines()
    assert bob.split() == ["bob", "-", "-", "-"]
    assert note == "-: no call on a training query, agents see the means of all workers"


def test_import_refuses_missing_folders(
    tmp_path: Path, make_source: MakeSource, settings: RecordedSourceSettings, pool: WorkerPool
) -> None:
    with pytest.raises(MissingFileError, match=r"nowhere: no such data folder; .*toy/queries"):
        import_recorded(tmp_path / "nowhere", settings, pool, tmp_path / "out")
    root = make_source()
    with pytest.raises(MissingFileError, match=r"toi: no such source folder; .*Did you mean 'toy'"):
        import_recorded(root, settings.model_copy(update={"source": "toi"}), pool, tmp_path / "out")
    (root / "toy" / "outcomes.csv.gz").unlink()
    with pytest.raises(MissingFileError, match=r"outcomes\.csv\.gz: no such file; a source holds"):
        import_recorded(root, settings, pool, tmp_path / "out")


def test_import_refuses_an_output_folder_that_is_a_file(
    tmp_path: Path, make_source: MakeSource, settings: RecordedSourceSettings, pool: WorkerPool
) -> None:
    (tmp_path / "out").write_text("mine")

    with pytest.raises(ConfigError, match="out: expected a folder to write to, got a file"):
        import_recorded(make_source(), settings, pool, tmp_path / "out")


def test_import_refuses_unknown_workers_and_task_types(
    tmp_path: Path, make_source: MakeSource, settings: RecordedSourceSettings, pool: WorkerPool
) -> None:
    root = make_source()
    stranger = WorkerPool((*pool.workers, WorkerSpec(name="evee")))

    with pytest.raises(UnknownWorkerError, match=r"unknown worker 'evee'. Did you mean 'eve'"):
        import_recorded(root, settings, stranger, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"task_types: .*unknown task type 'maths'.*'math'"):
        import_recorded(
            root, settings.model_copy(update={"task_types": ("maths",)}), pool, tmp_path / "out"
        )


def test_import_refuses_a_source_too_small_for_three_splits(
    tmp_path: Path, make_source: MakeSource, settings: RecordedSourceSettings, pool: WorkerPool
) -> None:
    root = make_source(queries=query_rows()[:2], outcomes=outcome_rows()[:6])

    with pytest.raises(DataError, match="none of its 2 queries falls into the"):
        import_recorded(root, settings, pool, tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task_typs": []}, "task_typs: unknown key 'task_typs'. Did you mean 'task_types'"),
        ({"task_types": ["a", "a"]}, "task_types: task types must be unique, got twice: a"),
        ({"task_types": []}, "task_types: "),
        ({"source": "../elsewhere"}, "source: "),
        ({"source": ".."}, "source: "),
        ({"success_threshold": 1.5}, "success_threshold: "),
        ({"latency": "guessed"}, "latency: "),
        ({"num_workflows": {"train": 0}}, r"num_workflows\.train: "),
        ({"min_subtasks": 7}, "min_subtasks must not exceed max_subtasks, got 7 and 6"),
    ],
)
def test_settings_refuse_wrong_values(changes: dict[str, Any], message: str) -> None:
    data = {"source": "toy", "task_types": ["math"]} | changes

    with pytest.raises(ConfigError, match=message):
        parse_settings(data, RecordedSourceSettings, where="config.yaml")
