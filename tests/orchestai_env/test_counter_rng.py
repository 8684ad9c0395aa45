"""Philox against the known answers of its authors, and the maps from words to numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestai_env.counter_rng import below, philox, quantile_index

WORDS = st.integers(0, 2**32 - 1)


# Source: kat_vectors of Random123 1.14, philox4x32-10. The third of its vectors, with all bits
# set, needs a key of 64 bits; ours have 63.
@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            0x299F31D0_A4093822,
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_known_answers(
    counter: tuple[int, ...], key: int, expected: tuple[int, ...]
) -> None:
    assert tuple(map(int, philox(key, *counter))) == expected


def test_philox_takes_numpy_integers_and_gives_words_of_32_bits() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        key: Any = rng.integers(2**63)
        counter: Any = rng.integers(2**32, size=4)
        words = philox(key, *counter)
        assert tuple(words) == tuple(philox(int(key), *map(int, counter)))
        assert all(0 <= int(word) < 2**32 for word in words)


def test_philox_every_input_changes_every_word() -> None:
    base = (5, 1, 2, 3, 4)
    first = philox(*base)
    for place in range(5):
        changed = philox(*(value + (i == place) for i, value in enumerate(base)))
        assert all(a != b for a, b in zip(first, changed, strict=True))


def test_philox_words_are_uniform() -> None:
    words = np.array([philox(1, i, 0, 0, 0) for i in range(4000)], np.float64) / 2**32
    # Mean and variance of 16,000 uniform numbers, within 4.5 standard errors.
    assert abs(words.mean() - 0.5) < 4.5 * np.sqrt(1 / 12 / words.size)
    assert abs(words.var() - 1 / 12) < 4.5 * np.sqrt(1 / 180 / words.size)


@given(word=WORDS, count=st.integers(1, 2**31))
def test_below_is_in_range_and_proportional(word: int, count: int) -> None:
    index = below(np.uint64(word), count)
    assert index == word * count // 2**32
    assert 0 <= index < count


def test_below_reaches_both_ends() -> None:
    assert below(np.uint64(0), 7) == 0
    assert below(np.uint64(2**32 - 1), 7) == 6
    assert below(np.uint64(2**32 - 1), 1) == 0


@given(word=WORDS)
def test_quantile_index_is_the_top_12_bits(word: int) -> None:
    assert quantile_index(np.uint64(word)) == word >> 20
