"""Attention over the subtasks: what it knows of the links, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.attention import AttentionLayer, relations
from tests.agents.policies import make_policy, observations_of, probabilities
from tests.agents.problems import builtin_setting

SETTING = builtin_setting(20)
SELF, ANCESTOR, PARENT, DESCENDANT, CHILD = range(5)


@st.composite
def links(draw: st.DrawFn) -> npt.NDArray[np.float32]:
    """Draws the adjacency of a workflow of 1 to 20 subtasks in topological order."""
    size = draw(st.integers(1, 20))
    seed, density = draw(st.integers(0, 1000)), draw(st.floats(0.0, 1.0))
    drawn = np.random.default_rng(seed).random((size, size)) < density
    found: npt.NDArray[np.float32] = np.triu(drawn, 1).astype(np.float32)
    return found


def found_relations(adjacency: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    found: npt.NDArray[np.float32] = relations(torch.as_tensor(adjacency)[None])[0].numpy()
    return found


def test_relations_of_a_chain_by_hand() -> None:
    """0 -> 1 -> 2, and 3 beside them."""
    adjacency = np.zeros((4, 4), np.float32)
    adjacency[0, 1] = adjacency[1, 2] = 1.0

    found = found_relations(adjacency)

    def pairs(relation: int) -> list[list[int]]:
        rows: list[list[int]] = np.argwhere(found[relation]).tolist()
        return rows

    assert pairs(SELF) == [[0, 0], [1, 1], [2, 2], [3, 3]]
    assert pairs(CHILD) == [[0, 1], [1, 2]]
    assert pairs(DESCENDANT) == [[0, 1], [0, 2], [1, 2]]
    assert pairs(PARENT) == [[1, 0], [2, 1]]
    assert pairs(ANCESTOR) == [[1, 0], [2, 0], [2, 1]]


@given(adjacency=links())
def test_descendants_are_all_that_paths_reach(adjacency: npt.NDArray[np.float32]) -> None:
    found = found_relations(adjacency)

    reached = np.zeros_like(adjacency)
    for i in range(len(adjacency) - 1, -1, -1):  # children come later, so theirs are known
        for j in np.flatnonzero(adjacency[i]):
            reached[i] = np.maximum(reached[i], reached[j])
            reached[i, j] = 1.0
    np.testing.assert_array_equal(found[DESCENDANT], reached)
    np.testing.assert_array_equal(found[ANCESTOR], reached.T)
    assert (found.sum(0) <= 2).all()  # a child is a descendant too, and nothing else


def test_longest_chain_is_followed_to_its_end() -> None:
    found = found_relations(np.eye(20, k=1, dtype=np.float32))

    np.testing.assert_array_equal(found[DESCENDANT], np.triu(np.ones((20, 20)), 1))


def test_links_count() -> None:
    policy = make_policy(SETTING, kind="attention")
    observation = observations_of(SETTING, 50)
    unlinked = observation | {"adjacency": np.zeros_like(observation["adjacency"])}

    difference = probabilities(policy, observation) - probabilities(policy, unlinked)

    assert (observation["adjacency"].sum((1, 2)) > 0).any()
    assert np.abs(difference).max() > 1e-3


def test_what_does_not_exist_is_not_seen() -> None:
    """Numbers in the padding change nothing."""
    policy = make_policy(SETTING, kind="attention")
    observation = observations_of(SETTING, 50)
    rows = observation["subtasks"].copy()
    is_padding = rows[:, :, 0] == 0
    rows[is_padding, 1:-1] = 0.7

    changed = probabilities(policy, observation | {"subtasks": rows})

    assert is_padding.any()
    np.testing.assert_allclose(changed, probabilities(policy, observation), atol=1e-6)


@pytest.mark.parametrize("relation", [SELF, ANCESTOR, DESCENDANT])
def test_bias_of_a_relation_makes_a_head_look_there(relation: int) -> None:
    """With a large bias, what a subtask gets changes with its relatives' rows alone."""
    torch.manual_seed(0)
    layer = AttentionLayer(hidden=8, num_heads=2)
    related = relations(torch.eye(5).roll(1, dims=1).triu(1)[None])  # a chain of 5
    mask = torch.zeros(1, 1, 1, 5)
    with torch.no_grad():
        layer.bias.zero_()[:, relation] = 100.0
    values = torch.randn(1, 5, 8)
    other = values.clone()
    other[0, 0] = torch.randn(8)  # subtask 0 is an ancestor of all others

    with torch.no_grad():
        same = torch.isclose(layer(values, related, mask), layer(other, related, mask)).all(2)[0]

    sees_first = {SELF: [0], ANCESTOR: [0, 1, 2, 3, 4], DESCENDANT: [0, 4]}[relation]
    assert np.flatnonzero(~same.numpy()).tolist() == sees_first
