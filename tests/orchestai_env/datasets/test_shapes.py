"""DAG shapes: read from plans, drawn at random, written and read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from orchestai_env.datasets.shapes import (
    ShapeTable,
    load_shapes,
    random_shapes,
    read_shapes,
    write_shapes,
)
from orchestai_env.errors import ConfigError, DataError, MissingFileError
from tests.orchestai_env.datasets.toy_source import write_json_lines


def plan(size: int, *links: list[int]) -> dict[str, Any]:
    """A recorded plan of `size` subtasks."""
    return {"subtasks": [{"name": str(i)} for i in range(size)], "links": list(links)}


def test_read_shapes_sorts_links_and_keeps_counts(tmp_path: Path) -> None:
    write_json_lines(tmp_path / "a.jsonl.gz", [plan(2, [0, 1]), plan(2, [1, 0]), plan(3)])
    write_json_lines(tmp_path / "b.jsonl.gz", [plan(2, [0, 1], [0, 1]), plan(9), plan(1)])

    shapes = read_shapes(tmp_path, 2, 6)

    assert shapes.shapes() == {(2, ((0, 1),)): 3, (3, ()): 1}
    assert shapes.max_subtasks == 3


def test_read_shapes_passes_over_lines_that_are_no_plans(tmp_path: Path) -> None:
    others: list[dict[str, Any]] = [
        {"instruction": "x", "shape": "dag"},
        {"nodes": [], "links": [{"source": "a"}]},
    ]
    write_json_lines(tmp_path / "a.jsonl.gz", [*others, plan(2)])

    assert len(read_shapes(tmp_path, 2, 6)) == 1


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (plan(2, [0, 1], [1, 0]), r"a\.jsonl\.gz:2: .*cycle"),
        (plan(2, [0, 2]), r"a\.jsonl\.gz:2: link \[0, 2\] leaves the subtasks 0\.\.1"),
        (plan(2, [0]), r"a\.jsonl\.gz:2: expected subtasks as a list"),
        ({"subtasks": 3, "links": []}, r"a\.jsonl\.gz:2: expected subtasks as a list"),
    ],
)
def test_read_shapes_refuses_a_malformed_plan(
    tmp_path: Path, bad: dict[str, Any], message: str
) -> None:
    write_json_lines(tmp_path / "a.jsonl.gz", [plan(2), bad])

    with pytest.raises(DataError, match=message):
        read_shapes(tmp_path, 2, 6)


def test_read_shapes_refuses_a_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    write_json_lines(path, [plan(2)] * 50)
    path.write_bytes(path.read_bytes()[:-10])

    with pytest.raises(DataError, match=r"a\.jsonl\.gz:\d+: the file breaks off"):
        read_shapes(tmp_path, 2, 6)


def test_read_shapes_refuses_a_folder_without_plans(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"no plans .* or set `shapes: random`"):
        read_shapes(tmp_path, 2, 6)
    write_json_lines(tmp_path / "a.jsonl.gz", [plan(1)])
    with pytest.raises(DataError, match="no plan has 2 to 6 subtasks"):
        read_shapes(tmp_path, 2, 6)


@hypothesis.given(seed=st.integers(0, 2**32), low=st.integers(1, 5), extra=st.integers(0, 5))
@hypothesis.settings(max_examples=30, deadline=None)
def test_random_shapes_are_dags_within_the_range(seed: int, low: int, extra: int) -> None:
    shapes = random_shapes(np.random.default_rng(seed), 40, low, low + extra)

    assert shapes.count.sum() == 40
    for size, links in shapes.shapes():
        assert low <= size <= low + extra
        assert all(0 <= i < j < size for i, j in links)


def test_random_shapes_mix_every_kind_and_follow_the_seed() -> None:
    shapes = random_shapes(np.random.default_rng(3), 300, 4, 4).shapes()

    chain, fork = ((0, 1), (1, 2), (2, 3)), ((0, 1), (0, 2), (0, 3))
    join, diamond = ((0, 3), (1, 3), (2, 3)), ((0, 1), (0, 2), (1, 3), (2, 3))
    assert {(4, links) for links in (chain, fork, join, diamond, ())} < set(shapes)
    assert shapes == random_shapes(np.random.default_rng(3), 300, 4, 4).shapes()
    assert shapes != random_shapes(np.random.default_rng(4), 300, 4, 4).shapes()


def test_random_shapes_refuse_empty_ranges() -> None:
    rng = np.random.default_rng(0)

    with pytest.raises(ConfigError, match="1 <= min_subtasks <= max_subtasks, got 3 and 2"):
        random_shapes(rng, 5, 3, 2)
    with pytest.raises(ConfigError, match="at least 1 shape to draw, got 0"):
        random_shapes(rng, 0, 2, 3)


def test_shape_table_lists_parents_and_children() -> None:
    table = ShapeTable.from_shapes([(3, ((0, 2), (1, 2))), (2, ((0, 1),))])

    assert table.num_subtasks.tolist() == [2, 3]
    assert table.parents[1].tolist() == [[-1, -1], [-1, -1], [0, 1]]
    assert table.children[0].tolist() == [[1], [-1], [-1]]
    with pytest.raises(DataError, match="at least one DAG shape"):
        ShapeTable.from_shapes([])


def test_shapes_round_trip(tmp_path: Path) -> None:
    shapes = random_shapes(np.random.default_rng(0), 100, 1, 6)

    write_shapes(tmp_path / "shapes.jsonl", shapes)

    assert load_shapes(tmp_path / "shapes.jsonl").shapes() == shapes.shapes()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"num_subtasks": 2, "links": []}', "shapes.jsonl:1: expected {num_subtasks"),
        ('{"num_subtasks": 2, "links": [], "count": 0}', "shapes.jsonl:1: expected {num_subtasks"),
        ("[1]", "shapes.jsonl:1: expected {num_subtasks"),
        ('{"num_subtasks": 2, "links": [[0, 5]], "count": 1}', r"shapes.jsonl:1: link \[0, 5\]"),
        ("", "expected at least one DAG shape"),
    ],
)
def test_load_shapes_refuses_a_malformed_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "shapes.jsonl"
    path.write_text(text)

    with pytest.raises(DataError, match=message):
        load_shapes(path)
