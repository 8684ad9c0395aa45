"""Places of subtasks and links in the picture of a DAG."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestai_env.render.layout import bend, dag_layout

CHAIN = tuple((i - 1,) if i else () for i in range(20))
INDEPENDENT = ((),) * 20


@st.composite
def dags(draw: st.DrawFn) -> list[list[int]]:
    """Draws the parents of up to 20 subtasks."""
    size = draw(st.integers(1, 20))
    return [sorted(draw(st.sets(st.integers(0, i - 1)))) if i else [] for i in range(size)]


@given(dags())
def test_layout_puts_subtasks_apart_and_below_their_parents(parents: list[list[int]]) -> None:
    layout = dag_layout(parents)

    places = list(zip(layout.x, layout.y, strict=True))
    assert len(set(places)) == len(parents)
    assert all(0 < x < 1 and 0 < y < 1 for x, y in places)
    for i, above in enumerate(parents):
        assert all(layout.rows[p] < layout.rows[i] for p in above)
    for i, j in itertools.combinations(range(len(parents)), 2):
        if layout.rows[i] == layout.rows[j]:
            assert abs(layout.x[i] - layout.x[j]) >= 0.99 * layout.widths[i]


@pytest.mark.parametrize(
    ("parents", "rows", "columns"),
    [
        (CHAIN, 20, 1),
        (INDEPENDENT, 4, 5),
        (((), (0,), (0,), (1, 2)), 3, 2),
        (((),), 1, 1),
    ],
    ids=["chain", "independent", "diamond", "single"],
)
def test_layout_is_no_larger_than_it_must_be(
    parents: tuple[tuple[int, ...], ...], rows: int, columns: int
) -> None:
    layout = dag_layout(parents)

    assert (layout.num_rows, layout.num_columns) == (rows, columns)


def test_layout_orders_a_row_by_its_parents() -> None:
    layout = dag_layout([[], [], [1], [0]])

    assert layout.x[0] < layout.x[1]
    assert layout.x[3] < layout.x[2]


def test_bend_of_a_free_link_is_none() -> None:
    assert bend((0, 0), (0, 100), [(40, 50)], clearance=20) == 0.0


def test_bend_passes_others_by() -> None:
    share = bend((0, 0), (0, 100), [(0, 50), (30, 50)], clearance=20)

    # Half way, the curve is half as far aside as its control point, which is on the left.
    middle = (-share * 100 / 2, 50)
    assert share > 0
    assert math.dist(middle, (0, 50)) >= 20


def test_bend_without_a_free_way_takes_the_widest() -> None:
    wall = [(float(x), 50.0) for x in range(-60, 30, 10)]

    assert bend((0, 0), (0, 100), wall, clearance=30) == -0.7
