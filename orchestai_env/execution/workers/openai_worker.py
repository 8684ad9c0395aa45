"""OpenAIWorker: an endpoint that speaks OpenAI's chat completions, through the official client."""

from __future__ import annotations

import asyncio
import itertools

import openai

from orchestai_env.execution.workers.openai_answer import answer_of
from orchestai_env.execution.workers.openai_faults import failure_of
from orchestai_env.execution.workers.prompt import prompt_text
from orchestai_env.execution.workers.tokens import CountTokens, estimated_tokens
from orchestai_env.execution.workers.worker import Answer, CallRequest, WorkerCallError
from orchestai_env.execution.workers.worker_settings import LiveWorkerSettings

_CALLS_PER_CLIENT, _MOST_CLIENTS = 16, 8
"""A client probes its connections before each request: with 256 calls at once a call takes 2.1 ms
of a core by one client and 1.5 ms by eight; with 64 they are equal. Chosen."""


class OpenAIWorker:
    """Asks an endpoint, once per call; it is used from one event loop."""

    def __init__(
        self,
        settings: LiveWorkerSettings,
        *,
        key: str = "",
        count_tokens: CountTokens = estimated_tokens,
    ) -> None:
        """Makes its clients; nothing is sent yet.

        Args:
            settings: of backend openai.
            key: API key; "" sends none.
            count_tokens: counts tokens where the endpoint does not report them.
        """
        self._settings, self._key, self._count_tokens = settings, key, count_tokens
        self._clients = [
            openai.AsyncOpenAI(
                # Without a key it would take that of another endpoint from the environment.
                api_key=key or "none",
                base_url=settings.base_url,
                max_retries=0,
                timeout=settings.timeout_s,
            )
            for _ in range(min(_MOST_CLIENTS, -(-settings.concurrency // _CALLS_PER_CLIENT)))
        ]
        self._in_turn = itertools.cycle(self._clients)

    @property
    def name(self) -> str:
        """Name, as the settings give it."""
        return self._settings.name

    async def call(self, request: CallRequest) -> Answer:
        """Sends one request and reads its answer.

        Raises:
            WorkerCallError: there is none; the message holds no key, and no other error hangs on
                to it, since those of the client hold the request with its headers.
        """
        prompt = prompt_text(request)
        body = await self._body(prompt)
        if isinstance(body, WorkerCallError):
            raise body
        return answer_of(body, prompt, self.name, self._key, self._count_tokens)

    async def _body(self, prompt: str) -> bytes | WorkerCallError:
        settings = self._settings
        body = {
            "model": settings.model,
            "messages": [{"role": "user", "content": prompt}],
            settings.output_limit_key: settings.max_output_tokens,
        }
        headers = {} if self._key else {"Authorization": openai.Omit()}
        try:
            # The client's own timeout is for one read, which a slow trickle never meets.
            async with asyncio.timeout(settings.timeout_s):
                # `chat.completions.create` walks over the types of all that may be sent and makes a
                # record of the answer: 2.4 ms of a core a call, and this takes 1.4.
                return await next(self._in_turn).post(
                    "/chat/completions", cast_to=bytes, body=body, options={"headers": headers}
                )
        except (TimeoutError, openai.APITimeoutError):
            message = f"worker {self.name!r}: no answer within {settings.timeout_s:g} s"
            return WorkerCallError(message, fault="timeout")
        except openai.OpenAIError as error:
            return failure_of(error, self.name, self._key)

    async def close(self) -> None:
        """Closes all connections."""
        for client in self._clients:
            await client.close()
