"""Sentence embeddings by the real encoder, which is installed with the project."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from orchestai_env.errors import DataError
from supervised.texts import embeddings
from supervised.texts.embeddings import embed_texts, stored_embeddings

TEXTS = (
    "How many apples are left when Anna eats two of seven apples?",
    "Translate the sentence into French.",
    "Tom has nine pears and gives away four. How many pears does he keep?",
    "Please give me the French translation of this sentence, and keep its tone.",
    "word " * 2000,
)


@pytest.fixture(scope="module")
def embedded() -> npt.NDArray[np.float32]:
    return embed_texts(TEXTS, batch_size=2)


def test_rows_have_unit_length(embedded: npt.NDArray[np.float32]) -> None:
    assert embedded.shape == (5, 384) and embedded.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), 1.0, rtol=1e-5)


def test_similar_texts_are_closer(embedded: npt.NDArray[np.float32]) -> None:
    likeness = embedded @ embedded.T

    assert likeness[0, 2] > max(likeness[0, 1], likeness[0, 3]) + 0.2
    assert likeness[1, 3] > max(likeness[1, 0], likeness[1, 2]) + 0.2


def test_order_is_kept_and_batches_do_not_matter(embedded: npt.NDArray[np.float32]) -> None:
    """Texts are sorted by length inside; padding to a longer neighbour changes nothing."""
    for row in (1, 2):
        alone = embed_texts(TEXTS[row : row + 1])
        np.testing.assert_allclose(alone[0], embedded[row], atol=1e-5)


def test_long_text_is_truncated(embedded: npt.NDArray[np.float32]) -> None:
    longer = embed_texts(["word " * 3000])

    np.testing.assert_allclose(longer[0], embedded[4], atol=1e-6)


def test_stored_embeddings_are_made_once_and_belong_to_their_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, made = tmp_path / "embeddings.npz", np.array([[0.6, 0.8], [1 / 3, 0.0]], np.float32)
    monkeypatch.setattr(embeddings, "embed_texts", lambda texts, *, device: made)
    first = stored_embeddings(path, ["a", "b"], TEXTS[:2], device="cpu")
    monkeypatch.setattr(embeddings, "embed_texts", None)

    again = stored_embeddings(path, ["a", "b"], TEXTS[:2], device="cpu")

    assert again.dtype == np.float32
    np.testing.assert_array_equal(again, first)
    np.testing.assert_array_equal(first, made.astype(np.float16))
    with pytest.raises(DataError, match="belongs to other queries"):
        stored_embeddings(path, ["a", "c"], TEXTS[:2], device="cpu")
