"""A language model of two layers with random weights, written to disk by tests that need one."""

from __future__ import annotations

from pathlib import Path

import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

WORDS = "overall goal write a report results of earlier subtasks your subtask math sum the table"
CHAT_TEMPLATE = "{% for m in messages %}{{ m['content'] }} {% endfor %}table"


def write_tiny_language_model(
    folder: Path, *, chat_template: str | None = None, positions: int = 128
) -> Path:
    """Writes a GPT-2 of 2 layers and its word tokenizer.

    Args:
        folder: it becomes a folder of this one.
        chat_template: of the tokenizer; None: it has none.
        positions: longest text, in tokens.
    Returns:
        The folder that transformers loads.
    """
    vocabulary = {word: i for i, word in enumerate(["<end>", "<unk>", *sorted(set(WORDS.split()))])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>", unk_token="<unk>"
    )
    fast.chat_template = chat_template
    config = transformers.GPT2Config(
        vocab_size=len(vocabulary),
        n_positions=positions,
        n_embd=8,
        n_layer=2,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
    )
    transformers.set_seed(0)
    target = folder / "tiny"
    transformers.GPT2LMHeadModel(config).save_pretrained(target)
    fast.save_pretrained(target)
    return target
