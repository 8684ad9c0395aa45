"""Sentence embeddings of the default encoder, as they are stored with data sets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from supervised.texts.encoder import TextEncoder

MAX_TOKENS = 256
"""Longer texts are truncated; the limit that all-MiniLM-L6-v2 was trained with (its model card)."""


def embed_texts(
    texts: Sequence[str], *, device: str = "cpu", batch_size: int = 32
) -> npt.NDArray[np.float32]:
    """Embeds texts with all-MiniLM-L6-v2: mean over tokens, unit length.

    Args:
        texts: n texts; each is cut at MAX_TOKENS tokens.
        device: torch device.
        batch_size: texts at once; they are sorted by length so that little is padded.
    Returns:
        float32 (n, 384), rows of length 1.
    """
    encoder = TextEncoder.load(max_tokens=MAX_TOKENS).to(device)
    return encoder.embed(texts, batch_size=batch_size, progress="embedding texts")
