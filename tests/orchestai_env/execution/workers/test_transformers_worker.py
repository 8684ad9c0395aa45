"""TransformersWorker, with a tiny random model."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from orchestai_env.errors import ConfigError
from orchestai_env.execution.workers.transformers_worker import TransformersWorker
from orchestai_env.execution.workers.worker import Answer, CallRequest, Worker, WorkerCallError
from orchestai_env.execution.workers.worker_settings import LiveWorkerSettings
from tests.orchestai_env.execution.calling import REQUEST
from tests.orchestai_env.execution.tiny_language_model import (
    CHAT_TEMPLATE,
    write_tiny_language_model,
)


def settings_of(folder: Path, max_output_tokens: int = 5) -> LiveWorkerSettings:
    return LiveWorkerSettings(
        name="t",
        backend="transformers",
        model=str(folder),
        concurrency=1,
        max_output_tokens=max_output_tokens,
    )


async def answers_of(
    worker: TransformersWorker, *requests: CallRequest
) -> list[Answer | BaseException]:
    answers = await asyncio.gather(*map(worker.call, requests), return_exceptions=True)
    await worker.close()
    return answers


def test_worker_answers_and_counts_with_its_tokenizer(tmp_path: Path) -> None:
    worker = TransformersWorker(settings_of(write_tiny_language_model(tmp_path)))
    assert isinstance(worker, Worker)
    first, second = asyncio.run(answers_of(worker, REQUEST, REQUEST))
    assert isinstance(first, Answer)
    assert isinstance(second, Answer)
    assert len(first.text.split()) <= first.usage.output_tokens <= 5
    # 36 words and signs, by a tokenizer that parts them at blanks and around signs.
    assert first.usage.input_tokens == second.usage.input_tokens == 36
    assert not first.usage.is_estimated


def test_worker_uses_the_chat_template(tmp_path: Path) -> None:
    folder = write_tiny_language_model(tmp_path, chat_template=CHAT_TEMPLATE)
    (answer,) = asyncio.run(answers_of(TransformersWorker(settings_of(folder)), REQUEST))
    assert isinstance(answer, Answer)
    assert answer.usage.input_tokens == 37  # the template adds a word


def test_answer_is_cut_where_the_model_has_no_more_room(tmp_path: Path) -> None:
    folder = write_tiny_language_model(tmp_path, positions=38)
    worker = TransformersWorker(settings_of(folder, max_output_tokens=100))
    (answer,) = asyncio.run(answers_of(worker, REQUEST))
    assert isinstance(answer, Answer)
    assert 1 <= answer.usage.output_tokens <= 2


def test_prompt_that_is_too_long_is_refused(tmp_path: Path) -> None:
    folder = write_tiny_language_model(tmp_path, positions=38)
    request = dataclasses.replace(REQUEST, inputs=("table " * 50,))
    (error,) = asyncio.run(answers_of(TransformersWorker(settings_of(folder)), request))
    assert isinstance(error, WorkerCallError)
    assert error.fault == "refused"
    assert "worker 't': expected a prompt of fewer than 38 tokens, got 83" in str(error)


def test_failure_to_generate_is_a_fault_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = TransformersWorker(settings_of(write_tiny_language_model(tmp_path)))

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr(worker._pipeline.model, "generate", fail)
    (error,) = asyncio.run(answers_of(worker, REQUEST))
    assert isinstance(error, WorkerCallError)
    assert error.fault == "server"
    assert str(error) == "worker 't': generation fails with RuntimeError: out of memory"


def test_model_that_cannot_be_loaded_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="worker 't': expected a model that transformers loads"):
        TransformersWorker(settings_of(tmp_path))
