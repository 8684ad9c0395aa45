"""TextEncoder: tiny encoders from disk, batches, truncation, fine-tuning, and what is refused."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, cast

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestai_env.errors import ConfigError
from supervised.texts import encoder as text_encoder
from supervised.texts.encoder import DEFAULT_ENCODER, MemoEncoder, TextEncoder, mean_state
from tests.supervised.planner_problems import WordEncoder
from tests.supervised.tiny_encoders import (
    DIM,
    POSITIONS,
    WORDS,
    save_tiny_encoder,
    save_tokenizer,
)

KINDS = ("bert", "roberta", "t5")
TEXTS = ("draw a map", "add two numbers and write a poem then draw a map", "", "poem", "unheard of")


@pytest.fixture(scope="module", params=KINDS)
def encoder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> TextEncoder:
    folder = tmp_path_factory.mktemp("encoders") / request.param
    return TextEncoder.load(save_tiny_encoder(folder, request.param))


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    save_tiny_encoder(tmp_path / "bert")
    return tmp_path / "bert"


def test_encoder_says_what_it_is(encoder: TextEncoder) -> None:
    assert encoder.dim == DIM
    assert encoder.max_tokens == (512 if encoder.name.endswith("t5") else POSITIONS)
    assert encoder.device == torch.device("cpu")
    assert not encoder.training


def test_only_the_encoder_of_an_encoder_decoder_is_kept(encoder: TextEncoder) -> None:
    assert not [key for key in encoder.state_dict() if "decoder" in key]


def test_tokens_are_padded_on_the_right(encoder: TextEncoder) -> None:
    tokens = encoder.tokenize(TEXTS)

    assert tokens.input_ids.shape == tokens.attention_mask.shape == (5, 13)
    assert tokens.attention_mask.sum(1).tolist() == [5, 13, 2, 3, 4]
    assert (tokens.attention_mask.diff(dim=1) <= 0).all()
    assert (tokens.input_ids[tokens.attention_mask == 0] == 0).all()
    assert tokens.num_truncated == 0


def test_states_have_the_documented_form(encoder: TextEncoder) -> None:
    tokens = encoder.tokenize(TEXTS)
    states = encoder(tokens)

    assert states.shape == (5, 13, DIM) and states.dtype == torch.float32
    assert torch.isfinite(states).all()


def test_embeddings_have_unit_length_and_differ(encoder: TextEncoder) -> None:
    embeddings = encoder.embed(TEXTS)

    assert embeddings.shape == (5, DIM) and embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, rtol=1e-5)
    assert (embeddings @ embeddings.T - np.eye(5)).max() < 0.999


@settings(max_examples=20)
@given(
    texts=st.lists(st.lists(st.sampled_from(WORDS), max_size=60).map(" ".join), max_size=8),
    batch_size=st.integers(1, 9),
)
def test_neighbours_and_batches_do_not_matter(
    encoder: TextEncoder, texts: list[str], batch_size: int
) -> None:
    together = encoder.embed(texts, batch_size=batch_size)

    assert together.shape == (len(texts), DIM)
    for text, row in zip(texts, together, strict=True):
        np.testing.assert_allclose(encoder.embed([text])[0], row, atol=1e-4)


def test_encode_gives_what_forward_and_embed_give(encoder: TextEncoder) -> None:
    states, embeddings = encoder.encode(TEXTS, batch_size=2)
    tokens = encoder.tokenize(TEXTS)
    expected = encoder(tokens).detach()

    np.testing.assert_allclose(embeddings, encoder.embed(TEXTS), atol=1e-5)
    for row, length in enumerate(tokens.attention_mask.sum(1).tolist()):
        assert states[row].shape == (length, DIM) and states[row].dtype == torch.float16
        torch.testing.assert_close(
            states[row].float(), expected[row, :length], atol=0.02, rtol=2e-3
        )


def test_encoded_states_can_be_learned_from(encoder: TextEncoder) -> None:
    states, _ = encoder.encode(TEXTS[:1])
    layer = torch.nn.Linear(DIM, 1)
    layer(states[0].float()).sum().backward()

    assert layer.weight.grad is not None


def test_mean_state_counts_no_padding() -> None:
    states = torch.tensor([[[3.0, 0.0], [0.0, 4.0], [9.0, 9.0]]])
    mask = torch.tensor([[1, 1, 0]])

    torch.testing.assert_close(mean_state(states, mask), torch.tensor([[0.6, 0.8]]))


def test_gradients_reach_the_first_layer(encoder: TextEncoder) -> None:
    tokens = encoder.tokenize(TEXTS)
    encoder.zero_grad()
    mean_state(encoder(tokens), tokens.attention_mask)[:, 0].sum().backward()

    words = encoder.encoder.get_input_embeddings().weight  # type: ignore[operator]  # a transformers model
    assert words.grad is not None and words.grad.abs().sum() > 0
    encoder.zero_grad()


def test_dropout_is_off_in_evaluation_and_in_embed(encoder: TextEncoder) -> None:
    tokens = encoder.tokenize(TEXTS)
    calm = encoder.embed(TEXTS)

    assert torch.equal(encoder(tokens), encoder(tokens))
    encoder.train()
    try:
        assert not torch.equal(encoder(tokens), encoder(tokens))
        np.testing.assert_array_equal(encoder.embed(TEXTS), calm)
        assert encoder.training and encoder.encoder.training
    finally:
        encoder.eval()


def test_longest_text_fits_the_positions(encoder: TextEncoder) -> None:
    tokens = encoder.tokenize(["map " * 600])

    assert tokens.input_ids.shape == (1, encoder.max_tokens)
    assert tokens.input_ids[0, -1] == 3  # the end mark is kept
    assert torch.isfinite(encoder(tokens)).all()


def test_truncation_is_said_once(encoder: TextEncoder, caplog: pytest.LogCaptureFixture) -> None:
    """With ten thousand tokens, with one too many, and with as many as fit."""
    fits = "map " * (encoder.max_tokens - 2)
    texts = ["map " * 10_000, fits, fits + "map", "poem"]
    embeddings = encoder.embed(texts, batch_size=1)

    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.messages == [
        f"2 of 4 texts were longer than {encoder.max_tokens} tokens and lost their end "
        f"(encoder {encoder.name})"
    ]
    np.testing.assert_allclose(embeddings[0], embeddings[1], atol=1e-5)


def test_tokenize_warns_unless_the_caller_does(
    encoder: TextEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    assert encoder.tokenize(["map " * 600], warn=False).num_truncated == 1
    assert not caplog.messages
    encoder.tokenize(["map " * 600])
    assert len(caplog.messages) == 1


def test_loading_and_long_texts_print_nothing(
    bert: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger("supervised.texts.encoder").disabled = True
    try:
        TextEncoder.load(str(bert)).embed(["map " * 600])
    finally:
        logging.getLogger("supervised.texts.encoder").disabled = False

    assert capfd.readouterr() == ("", "")


def test_progress_is_shown_on_request(bert: Path, capsys: pytest.CaptureFixture[str]) -> None:
    TextEncoder.load(str(bert)).embed(TEXTS, progress="reading words")

    assert "reading words" in capsys.readouterr().out


def test_limit_can_be_lowered(bert: Path) -> None:
    assert TextEncoder.load(str(bert), max_tokens=7).tokenize(TEXTS).input_ids.shape == (5, 7)


def test_text_without_tokens_becomes_padding(bert: Path) -> None:
    """A tokenizer without end marks gives an empty text no token at all."""
    path = bert / "tokenizer.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps(settings | {"post_processor": None}))
    encoder = TextEncoder.load(str(bert))

    assert encoder.tokenize(["", "map"]).attention_mask.tolist() == [[1], [1]]
    assert np.isfinite(encoder.embed(["", "draw a map"])).all()


def test_default_encoder_is_installed() -> None:
    encoder = TextEncoder.load()

    assert (encoder.name, encoder.dim, encoder.max_tokens) == (DEFAULT_ENCODER, 384, 512)


def test_same_folder_gives_the_same_encoder(bert: Path) -> None:
    first, second = TextEncoder.load(str(bert)), TextEncoder.load(str(bert))

    np.testing.assert_array_equal(first.embed(TEXTS), second.embed(TEXTS))


def test_unknown_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        ConfigError, match=r"^encoder 'no-such-encoder': cannot be loaded \(.*give a folder"
    ) as caught:
        TextEncoder.load("no-such-encoder")
    assert "\n" not in str(caught.value) and "all-MiniLM-L6-v2, which is installed" in str(
        caught.value
    )


def test_missing_network_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub is asked a single time, not over and over."""
    asked: list[str] = []

    def fail(name: str, **_: object) -> None:
        asked.append(name)
        raise ConnectionError("no route to the hub\nat all")

    monkeypatch.setattr(huggingface_hub, "model_info", fail)
    with pytest.raises(ConfigError, match=r"\(ConnectionError: no route to the hub at all\)"):
        TextEncoder.load("no-such-encoder")
    assert asked == ["no-such-encoder"]


def test_name_that_is_not_here_is_fetched(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked for on this machine first; the hub is read only after it knows the name."""
    steps: list[str] = []
    read = text_encoder._read

    def read_as_if_fetched(name: str, *, local: bool) -> object:
        steps.append(f"{name} {'here' if local else 'fetched'}")
        if local:
            raise OSError("not on this machine")
        return read(str(bert), local=True)

    monkeypatch.setattr(text_encoder, "_read", read_as_if_fetched)
    monkeypatch.setattr(huggingface_hub, "model_info", lambda name, **_: steps.append("asked"))

    assert TextEncoder.load("some/encoder").name == "some/encoder"
    assert steps == ["some/encoder here", "asked", "some/encoder fetched"]


@pytest.mark.parametrize("part", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("harm", ["missing", "broken"])
def test_broken_folder_is_refused(bert: Path, part: str, harm: str) -> None:
    path = bert / part
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ConfigError, match="the folder needs config, weights and tokenizer"):
        TextEncoder.load(str(bert))


def test_lacking_weights_are_refused(bert: Path) -> None:
    """Otherwise transformers would fill them with random numbers."""
    settings = json.loads((bert / "config.json").read_text())
    (bert / "config.json").write_text(json.dumps(settings | {"num_hidden_layers": 3}))
    with pytest.raises(ConfigError, match=r"its file lacks 16 of the weights, encoder\.layer\.2"):
        TextEncoder.load(str(bert))


def test_tokenizer_without_padding_is_refused(bert: Path) -> None:
    save_tokenizer(bert, pad_token=None)
    with pytest.raises(ConfigError, match="expected a tokenizer with a padding token, got none"):
        TextEncoder.load(str(bert))


@pytest.mark.parametrize("limit", [-1, 0, 2])
def test_limit_without_room_is_refused(bert: Path, limit: int) -> None:
    with pytest.raises(ConfigError, match=rf"^max_tokens: expected at least 3, got {limit}$"):
        TextEncoder.load(str(bert), max_tokens=limit)


def test_memo_embeds_each_text_once() -> None:
    inner = WordEncoder()
    memo = MemoEncoder(cast(Any, inner))

    first, again = memo.embed(["a", "b", "a"]), memo.embed(["b", "c"])

    assert inner.asked == ["a", "b", "c"]
    np.testing.assert_array_equal(first, WordEncoder().embed(["a", "b", "a"]))
    np.testing.assert_array_equal(again, WordEncoder().embed(["b", "c"]))
