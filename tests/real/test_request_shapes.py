"""The public requests with the shapes of their plans: counts, sides, and what words tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from supervised.plans.splits import plan_split_of
from supervised.shapes.classifiers import CANDIDATES, request_features
from supervised.shapes.requests import SHAPES, Requests, read_requests

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def requests(data_root: Path) -> Requests:
    path = data_root / "planning" / "taskbench_requests.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"no {path}; set ORCHESTAI_DATA to the folder of planning/")
    return read_requests(path)


def test_every_request_is_read(requests: Requests) -> None:
    counts = dict(zip(SHAPES, np.bincount(requests.shape).tolist(), strict=True))

    assert counts == {"single": 4_450, "chain": 5_539, "dag": 2_233}
    assert len(np.unique(requests.domain)) == 3


def test_sides_are_of_the_sizes_that_the_hash_promises(requests: Requests) -> None:
    assert requests.rows("test").mean() == pytest.approx(0.3, abs=0.02)
    rest = ~requests.rows("test")
    assert requests.rows("validation")[rest].mean() == pytest.approx(0.2, abs=0.02)


def test_near_duplicates_are_on_one_side_and_move_few(requests: Requests) -> None:
    own = np.array([plan_split_of(text) for text in requests.texts]) == requests.split

    assert own.mean() > 0.97
    pairs = set(zip(requests.group.tolist(), requests.split.tolist(), strict=True))
    assert len(pairs) == len(np.unique(requests.group)) == 11_682


def test_words_and_counts_alone_beat_the_majority_class(requests: Requests) -> None:
    """On validation requests the majority class scores 0.46 and words with counts about 0.77."""
    train, validation = requests.rows("train"), requests.rows("validation")
    # In place of embeddings, which take minutes.
    nothing = np.random.default_rng(0).normal(0, 0.05, (len(train), 2)).astype(np.float32)
    candidate = CANDIDATES["logistic, embedding and words"]
    features = request_features(requests.texts, requests.domain, nothing, train)
    words = features[candidate.features]

    model = candidate.settings[0].fit(words[train], requests.shape[train])

    assert model.score(words[validation], requests.shape[validation]) > 0.73
