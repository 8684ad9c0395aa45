"""Reading an imported data set back: round trip, and every way it can be broken."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestai_env.datasets.annexes import fingerprint
from orchestai_env.datasets.compose import compose_workflows
from orchestai_env.datasets.folder import load_dataset, load_folder, load_queries
from orchestai_env.datasets.splits import SPLITS
from orchestai_env.errors import ConfigError, DataError, MissingFileError, SplitLeakError


def edit(path: Path, change: Callable[[str], str]) -> None:
    """Rewrites a file, gzipped or not, through a function of its text."""
    if path.suffix == ".gz":
        text = gzip.decompress(path.read_bytes()).decode()
        path.write_bytes(gzip.compress(change(text).encode()))
    else:
        path.write_text(change(path.read_text()))


def edit_first_workflow(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Rewrites the first line of a workflow file."""

    def changed(text: str) -> str:
        first, rest = text.split("\n", 1)
        workflow = json.loads(first)
        change(workflow)
        return f"{json.dumps(workflow)}\n{rest}"

    edit(path, changed)


def test_dataset_has_the_recorded_calls(folder: Path) -> None:
    data = load_dataset(folder, "test")

    assert data.name == "toy"
    assert data.pool.names == ("ace", "bob")
    assert data.outcomes.num_trials.tolist() == [[1, 1]] * 60
    assert data.outcomes.success[:, 1, 0].tolist() == [int(i % 3 == 0) for i in range(60)]
    assert data.query_embeddings is None
    assert data.statistics.predicted_success is None


@pytest.mark.parametrize("split", SPLITS)
def test_composed_workflows_survive_the_round_trip(folder: Path, split: str) -> None:
    imported = load_folder(folder)
    index = SPLITS.index(split)

    composed = compose_workflows(
        np.random.default_rng([7, index]),
        num_workflows=imported.description.splits[SPLITS[index]].workflows,
        shapes=imported.shapes,
        query_rows=imported.queries.rows(SPLITS[index]),
        task_type_of_query=imported.queries.task_type,
        task_types=imported.queries.task_types,
        max_subtasks=3,
    )

    loaded = imported.dataset(split).workflows
    for name in vars(composed):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(composed, name), err_msg=name)


def test_workflows_use_queries_of_their_split_only(folder: Path) -> None:
    imported = load_folder(folder)

    for split in SPLITS:
        query = imported.dataset(split).workflows.query
        assert set(query[query >= 0]) <= set(imported.queries.rows(split))


def test_statistics_come_from_training_queries_in_every_split(folder: Path) -> None:
    queries = load_queries(folder)
    train = queries.rows("train")

    for split in SPLITS:
        statistics = load_dataset(folder, split).statistics
        for kind in range(2):
            of_kind = train[queries.task_type[train] == kind]
            assert statistics.success[kind, 1] == pytest.approx((of_kind % 3 == 0).mean())
            assert statistics.cost_usd[kind, 1] == pytest.approx(0.001 * of_kind.mean())
    assert statistics.latency_ms[:, 0] == pytest.approx([1750, 1750])


def test_max_subtasks_pads_or_refuses(folder: Path) -> None:
    assert load_dataset(folder, "train").workflows.max_subtasks == 3
    assert load_dataset(folder, "train", max_subtasks=8).workflows.max_subtasks == 8
    with pytest.raises(DataError, match="3 subtasks, but max_subtasks is 2"):
        load_dataset(folder, "train", max_subtasks=2)


def test_unknown_split_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown split 'tests'. Did you mean 'test'"):
        load_dataset(folder, "tests")


def test_predictions_that_are_to_be_replaced_are_not_read(folder: Path) -> None:
    (folder / "predictions.npz").write_bytes(b"no npz")

    assert load_folder(folder, predictions=False).all_splits.statistics.predicted_success is None
    with pytest.raises(DataError, match="expected an npz"):
        load_folder(folder)


def test_predictions_and_embeddings_are_read(folder: Path) -> None:
    ids = np.array(load_queries(folder).ids)
    imported = load_folder(folder)
    predicted = np.linspace(0, 1, 120).reshape(60, 2)
    np.savez(
        folder / "predictions.npz",
        query_ids=ids,
        worker_names=np.array(["ace", "bob"]),
        predicted_success=predicted,
        dataset_sha256=np.array(fingerprint(imported.queries, imported.all_splits.outcomes)),
    )
    np.savez(folder / "embeddings.npz", query_ids=ids, embeddings=np.ones((60, 4)))

    data = load_dataset(folder, "test")

    assert data.statistics.predicted_success is not None
    np.testing.assert_array_equal(data.statistics.predicted_success, predicted.astype(np.float32))
    assert data.query_embeddings is not None and data.query_embeddings.shape == (60, 4)
    np.savez(folder / "embeddings.npz", query_ids=ids[:5], embeddings=np.ones((5, 4)))
    with pytest.raises(DataError, match=r"embeddings\.npz: belongs to other queries"):
        load_dataset(folder, "test")


@pytest.mark.parametrize("loaded", SPLITS)
@pytest.mark.parametrize("leaky", SPLITS)
def test_workflow_with_a_query_of_another_split_is_refused(
    folder: Path, loaded: str, leaky: str
) -> None:
    queries = load_queries(folder)
    row = queries.split.index("test" if leaky == "train" else "train")

    def leak(workflow: dict[str, Any]) -> None:
        workflow["subtasks"][0]["query_id"] = queries.ids[row]

    edit_first_workflow(folder / f"workflows_{leaky}.jsonl.gz", leak)

    expected = f"workflows_{leaky}.*query '{queries.ids[row]}' is in two splits, .* and {leaky}"
    with pytest.raises(SplitLeakError, match=expected):
        load_dataset(folder, loaded)


def test_one_text_in_two_splits_is_refused(folder: Path) -> None:
    queries = load_queries(folder)
    row = queries.rows("test")[0]
    prompt = queries.prompts[row].replace('"', '""')
    line = f'"twin","math","train","{prompt} "\n'
    edit(folder / "queries.csv.gz", lambda text: text + line)

    expected = rf"'twin' is in two splits, test \(there as '{queries.ids[row]}'.* and train"
    with pytest.raises(SplitLeakError, match=expected):
        load_queries(folder)
    with pytest.raises(SplitLeakError, match=expected):
        load_dataset(folder, "train")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"train"', '"trian"', "unknown split 'trian'. Did you mean 'train'"),
        ('"math"', '"maths"', "unknown task type 'maths'. Did you mean 'math'"),
        ('"split"', '"side"', "column 'split' is missing"),
    ],
)
def test_malformed_query_table_is_refused(folder: Path, old: str, new: str, message: str) -> None:
    edit(folder / "queries.csv.gz", lambda text: text.replace(old, new, 1))

    with pytest.raises(DataError, match=rf"queries\.csv\.gz:.*{message}"):
        load_queries(folder)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("links", [[0, 1], [1, 0]], "1: .*cycle"),
        ("subtasks", [{"name": "x", "type": "maths"}], "unknown task type 'maths'"),
        ("subtasks", [{"name": "x", "type": "math", "query_id": "q"}], "no recorded outcome for"),
    ],
)
def test_malformed_workflow_is_refused(folder: Path, key: str, value: object, message: str) -> None:
    def change(workflow: dict[str, Any]) -> None:
        workflow.update({"links": []} | {key: value})

    edit_first_workflow(folder / "workflows_test.jsonl.gz", change)

    with pytest.raises(DataError, match=rf"workflows_test\.jsonl\.gz:.*{message}"):
        load_dataset(folder, "train")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:50], r"dataset\.json: expected the description"),
        (lambda text: "[]", r"dataset\.json: expected the description"),
        (lambda text: "{}", r"dataset\.json: expected the description .*format_version"),
        (lambda text: text.replace('"format_version": 1', '"format_version": 9'), "got 9; import"),
        (lambda text: text.replace('"latency_label"', '"label"'), "import the data set again"),
    ],
)
def test_malformed_description_is_refused(
    folder: Path, change: Callable[[str], str], message: str
) -> None:
    edit(folder / "dataset.json", change)

    with pytest.raises(DataError, match=message):
        load_dataset(folder, "train")


@pytest.mark.parametrize(
    "name", ["queries.csv.gz", "outcomes.csv.gz", "shapes.jsonl", "workflows_test.jsonl.gz"]
)
def test_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()

    with pytest.raises(MissingFileError, match=f"{name}: no such file"):
        load_dataset(folder, "train")


def test_folder_without_a_data_set_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"no imported data set .*orchestai import-recorded"):
        load_dataset(tmp_path, "train")
