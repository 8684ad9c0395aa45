"""Classifiers of the shape of plan that a request needs, and the features they read."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import hstack
from sklearn.decomposition import TruncatedSVD
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from supervised.texts.form import text_form

COUNTED = (
    r",",
    r"\band\b",
    r"\b(then|next|after|afterwards?|finally|lastly|once)\b",
    r"\b(also|additionally|both)\b",
    r"[.!?](\s|$)",
    r"\bQUOTE\b",
    r"\bFILE\b",
    r"\b(its?|this|that|them|these|those|result|resulting)\b",
    r"\b(the same|based on|using|from)\b",
    r"\b(first|second|third)\b",
)
"""What is counted in a masked request, without case: parts, order, and what refers back."""

EMBEDDING_SCALE, COUNT_SCALE = 2.0, 0.2
"""Sizes of embeddings and standardised counts beside word weights, whose rows have length 1."""
EMBEDDING_DIRECTIONS, WORD_DIRECTIONS = 60, 100
"""What boosting splits on; these four were chosen by hand on validation requests."""

_LINK = re.compile(r"https?://\S+")
_QUOTE = re.compile(r"(?<!\w)['\"\u2018\u201c](.*?)['\"\u2019\u201d](?!\w)")
_FILE_NAME = re.compile(r"\b[\w-]+\.(jpe?g|png|wav|mp[34]|txt|pdf)\b")
_NUMBER = re.compile(r"\d+")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """A kind of classifier, what it reads, and the settings of which validation chooses one."""

    features: str
    """Key of what `request_features` returns."""
    settings: tuple[Any, ...]
    """Classifiers of scikit-learn, not yet fitted."""


MAJORITY, NEIGHBOURS = "majority class", "nearest neighbours"

_LOGISTIC = tuple(LogisticRegression(C=c, max_iter=1000) for c in (1.0, 2.0, 4.0, 16.0, 64.0))

CANDIDATES: Mapping[str, Candidate] = {
    MAJORITY: Candidate(features="domain", settings=(DummyClassifier(),)),
    # A full tree on one column of domains says the majority class of each.
    "majority class per domain": Candidate(
        features="domain", settings=(DecisionTreeClassifier(random_state=0),)
    ),
    NEIGHBOURS: Candidate(
        features="embedding",
        settings=tuple(KNeighborsClassifier(k) for k in (1, 3, 5, 10, 20, 30, 50)),
    ),
    "logistic, embedding": Candidate(features="embedding", settings=_LOGISTIC),
    "logistic, embedding and words": Candidate(features="words", settings=_LOGISTIC[:3]),
    "boosting, embedding and words": Candidate(
        features="directions",
        settings=tuple(
            HistGradientBoostingClassifier(
                max_iter=num_trees,
                learning_rate=rate,
                max_leaf_nodes=leaves,
                max_features=0.2,
                l2_regularization=1.0,
                early_stopping=False,
            )
            for num_trees, rate, leaves in ((150, 0.06, 15), (300, 0.05, 8))
        ),
    ),
}
"""What is compared. Only boosting draws anything; a seed changes nothing for the others."""


def mask_contents(text: str) -> str:
    """Replaces links, quoted texts, file names and numbers by LINK, QUOTE, FILE and NUMBER.

    What is asked for stays, what it is asked of goes; a file keeps the end of its name.
    """

    def name_or_quote(found: re.Match[str]) -> str:
        file_name = _FILE_NAME.fullmatch(found[1])
        return f" FILE {file_name[1]} " if file_name else " QUOTE "

    text = _QUOTE.sub(name_or_quote, _LINK.sub(" LINK ", text))
    return _NUMBER.sub(" NUMBER ", _FILE_NAME.sub(r" FILE \1 ", text))


def request_features(
    texts: Sequence[str],
    domain: npt.NDArray[np.int64],
    embeddings: npt.NDArray[np.float32],
    fit: npt.NDArray[np.bool_],
) -> dict[str, Any]:
    """Returns the matrices, n rows each, that candidates read.

    Args:
        texts: n requests.
        domain: int64 (n,); number of the request's domain.
        embeddings: float32 (n, D), rows of length 1.
        fit: bool (n,); vocabulary, means, spreads and directions are those of these requests.
    Returns:
        domain (n, 1); embedding (n, D); words, sparse: embedding, TF-IDF of words and marks and
        their pairs in the masked request, counts; directions: counts, and the main directions of
        embeddings and of words.
    """
    masked = [mask_contents(text) for text in texts]
    found = [[len(re.findall(p, text, re.IGNORECASE)) for p in COUNTED] for text in masked]
    counts = np.hstack([text_form(texts), text_form(masked), np.log1p(found)])
    counts = StandardScaler().fit(counts[fit]).transform(counts)
    # A word of one request tells nothing; where few requests are, most words are of one.
    rarest = 2 if fit.sum() >= 100 else 1
    words = TfidfVectorizer(
        ngram_range=(1, 2), min_df=rarest, sublinear_tf=True, token_pattern=r"\w+|[^\w\s]"
    )
    words.fit([masked[row] for row in np.flatnonzero(fit)])
    weights = words.transform(masked)
    return {
        "domain": domain[:, None],
        "embedding": embeddings,
        "words": hstack([EMBEDDING_SCALE * embeddings, weights, COUNT_SCALE * counts], "csr"),
        "directions": np.hstack(
            [
                counts,
                _directions(embeddings, fit, EMBEDDING_DIRECTIONS),
                _directions(weights, fit, WORD_DIRECTIONS),
            ]
        ),
    }


def _directions(features: Any, fit: npt.NDArray[np.bool_], count: int) -> npt.NDArray[Any]:
    """Returns (n, <= count): rows in the directions in which those of `fit` reach farthest."""
    svd = TruncatedSVD(min(count, *features[fit].shape), random_state=0)
    return np.asarray(svd.fit(features[fit]).transform(features))
