"""Near-duplicates: which texts say the same but for a few words."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

THRESHOLD = 0.7
"""Least similarity of near-duplicates. Of 3,809 public planning instructions it joins 103 into 43
groups of at most 7, which read as the same request with a word or a number changed; at 0.6 requests
that share a phrase chain into groups of 29 (measured 2026-11-23). One word changed inside a text
keeps it a near-duplicate from 13 words on, at its end from 7 on. Paraphrases are not found."""

_SHORTEST_REQUEST = 4
"""Words that a sentence needs to be taken for the request; "Thank you." is none."""

Shingles = frozenset[tuple[str, ...]]


def similarity(a: str, b: str) -> float:
    """Returns how alike two texts are, 0..1: of whole texts and of requests, the smaller value.

    Each is the Jaccard index of the sets of word pairs, without case and punctuation. The request
    is the last sentence of four words or more: texts that share a long context and then ask for
    different things are no duplicates. A sentence added at the end therefore hides a duplicate.

    Source: A. Broder, On the resemblance and containment of documents, 1997.
    """
    return min(_jaccard(_shingles(a), _shingles(b)), _jaccard(_request(a), _request(b)))


def near_duplicate_pairs(
    texts: Sequence[str], threshold: float = THRESHOLD
) -> list[tuple[int, int]]:
    """Returns all pairs (i, j), i < j, of texts with `similarity` >= threshold, sorted.

    The search is exact: sets with a Jaccard index of t or more share one of the rarest
    |a| - ceil(t |a|) + 1 word pairs of each, so texts are compared only where those meet.

    Args:
        texts: n texts.
        threshold: in (0, 1].
    Source: R. Bayardo, Y. Ma, R. Srikant, Scaling up all pairs similarity search, 2007.
    """
    whole, requests = [_shingles(text) for text in texts], [_request(text) for text in texts]
    rarity = Counter(shingle for shingles in whole for shingle in shingles)
    seen: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    pairs = []
    for j, shingles in enumerate(whole):
        by_rarity = sorted(shingles, key=lambda shingle: (rarity[shingle], shingle))
        candidates: set[int] = set()
        for shingle in by_rarity[: _num_telling(len(shingles), threshold)]:
            candidates.update(seen[shingle])
            seen[shingle].append(j)
        pairs += [
            (i, j)
            for i in candidates
            if _jaccard(requests[i], requests[j]) >= threshold
            and _jaccard(whole[i], shingles) >= threshold
        ]
    return sorted(pairs)


def duplicate_groups(texts: Sequence[str], threshold: float = THRESHOLD) -> npt.NDArray[np.int64]:
    """Groups texts that are linked by a chain of near-duplicates.

    Returns:
        int64 (n,); the lowest index of each text's group.
    """
    first = list(range(len(texts)))

    def root(i: int) -> int:
        while first[i] != i:
            first[i] = first[first[i]]
            i = first[i]
        return i

    for i, j in near_duplicate_pairs(texts, threshold):
        low, high = sorted((root(i), root(j)))
        first[high] = low
    return np.array([root(i) for i in range(len(texts))], np.int64)


def _shingles(text: str) -> Shingles:
    words = re.findall(r"\w+", text.lower())
    return frozenset(itertools.pairwise(words)) or frozenset([tuple(words) or (text,)])


def _request(text: str) -> Shingles:
    sentences = re.split(r"(?<=[.!?])\s+|\n+", text.strip())
    long = [part for part in sentences if len(re.findall(r"\w+", part)) >= _SHORTEST_REQUEST]
    return _shingles(long[-1] if long else text)


def _jaccard(a: Shingles, b: Shingles) -> float:
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)


def _num_telling(size: int, threshold: float) -> int:
    """Returns how many of a set's rarest members have to be looked at (see the source above)."""
    return size - math.ceil(threshold * size - 1e-9) + 1
