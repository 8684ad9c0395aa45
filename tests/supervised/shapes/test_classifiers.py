"""What classifiers of shapes read: masked contents, and features learned from some requests."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from supervised.shapes.classifiers import mask_contents, request_features
from tests.supervised.shapes.request_files import request_lines


@given(st.text(alphabet=st.sampled_from("ab ',.?!"), max_size=20), st.integers(0, 10**9))
def test_contents_make_no_difference_once_masked(quote: str, number: int) -> None:
    quote = quote.replace("'", "")

    def request(name: str, quoted: str, count: int) -> str:
        return f"Crop '{name}.jpg' and logo.png, say '{quoted}' {count} times at https://a.b/{name}"

    assert mask_contents(request("me", quote, number)) == mask_contents(request("x9", "so", 7))
    assert mask_contents(request("me", quote, number)).split() == (
        "Crop FILE jpg and FILE png , say QUOTE NUMBER times at LINK".split()
    )
    assert mask_contents("It's Ann's: don't") == "It's Ann's: don't"


def test_features_are_learned_from_the_requests_to_fit_alone() -> None:
    texts = [line["instruction"] for line in request_lines(120)]
    fit = np.arange(120) < 100
    embeddings = np.random.default_rng(0).normal(size=(120, 5)).astype(np.float32)
    domain = np.zeros(120, np.int64)
    other = texts[:100] + ["Sing, dance and cook!"] * 20

    here = request_features(texts, domain, embeddings, fit)
    there = request_features(other, domain, embeddings, fit)

    for key in ("domain", "embedding", "directions"):
        np.testing.assert_array_equal(here[key][fit], there[key][fit])
    assert abs(here["words"][fit] - there["words"][fit]).max() == 0
    assert all(len(matrix[fit]) == 100 for matrix in (here["embedding"], here["directions"]))
