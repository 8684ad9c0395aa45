"""Random numbers as a hash of a counter: the same wherever and in whatever order they are drawn.

Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3"
(SC 2011). Every product of two 32-bit words fits in 64 bits, so that compiled and plain Python
agree without overflow.
"""

from __future__ import annotations

import numpy as np

from orchestai_env.compiled import compiled

Word = np.uint64
"""A 32-bit word, in 64 bits."""

_M0 = np.uint64(0xD2511F53)
_M1 = np.uint64(0xCD9E8D57)
_W0 = np.uint64(0x9E3779B9)
_W1 = np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_HIGH = np.uint64(32)
_TO_INDEX = np.uint64(20)


@compiled
def philox(key: int, c0: int, c1: int, c2: int, c3: int) -> tuple[Word, Word, Word, Word]:
    """Returns four independent 32-bit words for a 63-bit key and four 32-bit counters, all >= 0."""
    k = np.uint64(key)
    k0 = k & _LOW
    k1 = k >> _HIGH
    x0, x1, x2, x3 = np.uint64(c0), np.uint64(c1), np.uint64(c2), np.uint64(c3)
    for _ in range(10):
        p0 = _M0 * x0
        p1 = _M1 * x2
        x0, x1, x2, x3 = (p1 >> _HIGH) ^ x1 ^ k0, p1 & _LOW, (p0 >> _HIGH) ^ x3 ^ k1, p0 & _LOW
        k0 = (k0 + _W0) & _LOW
        k1 = (k1 + _W1) & _LOW
    return x0, x1, x2, x3


@compiled
def below(word: Word, count: int) -> int:
    """Maps a 32-bit word to 0..count-1, equally likely up to 2**-32 * count."""
    return int(np.int64((word * np.uint64(count)) >> _HIGH))


@compiled
def quantile_index(word: Word) -> int:
    """Maps a 32-bit word to 0..4095, an index into a table of quantiles."""
    return int(np.int64(word >> _TO_INDEX))
