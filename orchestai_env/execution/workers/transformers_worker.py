"""TransformersWorker: a model on this machine, through a text-generation pipeline."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import transformers

from orchestai_env.errors import ConfigError
from orchestai_env.execution.workers.keys import said
from orchestai_env.execution.workers.prompt import prompt_text, whole
from orchestai_env.execution.workers.worker import Answer, CallRequest, Usage, WorkerCallError
from orchestai_env.execution.workers.worker_settings import LiveWorkerSettings


class TransformersWorker:
    """Generates text in a thread, one call at a time; tokens are those of its tokenizer.

    How it samples is what the model's own generation settings say. A call that is given up runs on
    in its thread, and the next one waits for it.
    """

    def __init__(self, settings: LiveWorkerSettings) -> None:
        """Loads the model; this may take long.

        Args:
            settings: of backend transformers.
        Raises:
            ConfigError: the model cannot be loaded.
        """
        self._settings = settings
        try:
            self._pipeline: Any = transformers.pipeline("text-generation", model=settings.model)
        except Exception as error:  # OSError, ValueError, KeyError, those of safetensors, ...
            raise ConfigError(
                f"worker {settings.name!r}: expected a model that transformers loads, got "
                f"{settings.model!r}; it fails with {type(error).__name__}: {said(error)}"
            ) from error
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=settings.name)

    @property
    def name(self) -> str:
        """Name, as the settings give it."""
        return self._settings.name

    async def call(self, request: CallRequest) -> Answer:
        """Generates one answer.

        Raises:
            WorkerCallError: the prompt is too long for the model ("refused"), or generation fails
                ("server").
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._answer, prompt_text(request))

    async def close(self) -> None:
        """Lets the thread end and drops the model."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._pipeline = None

    def _answer(self, prompt: str) -> Answer:
        pipeline = self._pipeline
        text, is_chat = self._templated(prompt)
        # A chat template brings its special tokens with it.
        sent = len(pipeline.tokenizer(text, add_special_tokens=not is_chat)["input_ids"])
        longest = getattr(pipeline.model.config, "max_position_embeddings", None)
        room = self._settings.max_output_tokens if longest is None else longest - sent
        if room < 1:
            raise WorkerCallError(
                f"worker {self.name!r}: expected a prompt of fewer than {longest} tokens, got "
                f"{sent}; shorten the instruction or what its subtasks return",
                fault="refused",
            )
        try:
            generated = pipeline(
                text,
                add_special_tokens=not is_chat,
                max_new_tokens=min(room, self._settings.max_output_tokens),
                return_tensors=True,
            )
        except Exception as error:  # out of memory, and whatever a model's code raises
            message = f"worker {self.name!r}: generation fails with {type(error).__name__}"
            raise WorkerCallError(f"{message}: {said(error)}", fault="server") from error
        new_ids = generated[0]["generated_token_ids"][sent:]
        answer = whole(pipeline.tokenizer.decode(new_ids, skip_special_tokens=True)).strip()
        return Answer(text=answer, usage=Usage(input_tokens=sent, output_tokens=len(new_ids)))

    def _templated(self, prompt: str) -> tuple[str, bool]:
        """Returns the prompt as the model wants it, and whether it has a chat template."""
        tokenizer = self._pipeline.tokenizer
        if not tokenizer.chat_template:
            return prompt, False
        messages = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return str(text), True
