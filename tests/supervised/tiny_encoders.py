"""Tiny encoders with random weights, written to disk as transformers saves real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5Model,
)

WORDS = ("draw", "add", "write", "a", "map", "two", "numbers", "poem", "then", "and")
"""Words that the tokenizers know; all others are unknown to them."""
DIM = 32
"""Numbers per token state."""
POSITIONS = 48
"""Most tokens of the tiny BERT and RoBERTa; the tiny T5 has no limit."""

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def save_tiny_encoder(folder: Path, kind: str = "bert") -> str:
    """Writes model and tokenizer; the same kind has the same weights each time.

    Args:
        folder: made if it is not there.
        kind: bert, roberta (positions start behind the padding's) or t5 (encoder and decoder).
    Returns:
        the folder, as a name to load.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = _model(kind)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(10.0)  # initial weights are so small that all texts would look alike
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return str(folder)


def save_tokenizer(folder: Path, *, pad_token: str | None = "[PAD]") -> None:
    """Writes a tokenizer that knows WORDS and puts [CLS] and [SEP] around a text."""
    ids = {word: index for index, word in enumerate((*_SPECIAL, *WORDS))}
    tokenizer = Tokenizer(WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=pad_token, unk_token="[UNK]"
    ).save_pretrained(folder)


def _model(kind: str) -> PreTrainedModel:
    num_words = len(_SPECIAL) + len(WORDS)
    if kind == "t5":
        return T5Model(
            T5Config(vocab_size=num_words, d_model=DIM, d_kv=16, d_ff=64, num_layers=2, num_heads=2)
        )
    sizes: dict[str, Any] = {
        "vocab_size": num_words,
        "hidden_size": DIM,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "pad_token_id": 0,
    }
    if kind == "roberta":
        return RobertaModel(RobertaConfig(max_position_embeddings=POSITIONS + 1, **sizes))
    return BertModel(BertConfig(max_position_embeddings=POSITIONS, **sizes))
