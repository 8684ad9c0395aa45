"""Sentence embeddings of the default encoder, as they are stored with data sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from agents.checkpoint import write_whole
from orchestai_env.datasets.annexes import read_embeddings
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


def stored_embeddings(
    path: Path, ids: Sequence[str], texts: Sequence[str], *, device: str
) -> npt.NDArray[np.float32]:
    """Reads the embeddings of texts, or makes and stores them.

    Args:
        path: npz, see `orchestai_env.datasets.annexes.read_embeddings`.
        ids: one for each text.
        texts: n texts.
        device: torch device of the encoder.
    Returns:
        float32 (n, D), rounded to float16 as they are stored.
    Raises:
        DataError: the file is damaged, or belongs to other texts.
    """
    stored = read_embeddings(path, ids)
    if stored is not None:
        return stored
    made = embed_texts(texts, device=device).astype(np.float16)
    names = np.array(ids)
    write_whole(path, lambda part: np.savez_compressed(part, query_ids=names, embeddings=made))
    return made.astype(np.float32)
