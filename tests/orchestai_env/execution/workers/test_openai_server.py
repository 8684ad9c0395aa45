"""The test server does what its script says, and counts what came."""

from __future__ import annotations

import asyncio
import json
import urllib.request

import openai
import pytest

from tests.orchestai_env.execution.openai_server import OpenAIServer, Reply, completion


async def ask(server: OpenAIServer, times: int = 1, *, timeout: float = 5.0) -> list[str]:
    client = openai.AsyncOpenAI(
        api_key="k", base_url=server.base_url, max_retries=0, timeout=timeout
    )
    async with client:
        return [await ask_once(client) for _ in range(times)]


async def ask_once(client: openai.AsyncOpenAI) -> str:
    try:
        answer = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "two words"}]
        )
    except (openai.APIError, json.JSONDecodeError) as error:
        return type(error).__name__
    return str(answer.choices[0].message.content)


def test_server_follows_its_script_and_counts() -> None:
    server = OpenAIServer(
        script=("rate_limit", "server", "timeout", "malformed", "dropped", "cut"), slow_s=3.0
    )

    async def run() -> list[str]:
        async with server:
            return await ask(server, 7, timeout=0.5)

    assert asyncio.run(run()) == [
        "RateLimitError",
        "InternalServerError",
        "APITimeoutError",
        "JSONDecodeError",
        "APIConnectionError",
        "APIConnectionError",
        "the answer",
    ]
    assert server.counts["ok"] == server.counts["cut"] == 1
    assert (server.in_flight, server.max_in_flight) == (0, 1)
    assert server.requests[0].text == "two words"
    assert server.requests[0].headers["authorization"] == "Bearer k"


def test_server_draws_faults_by_seed_and_number() -> None:
    def kinds(seed: int) -> list[str]:
        server = OpenAIServer(faults={"server": 0.3, "dropped": 0.2}, seed=seed)

        async def run() -> None:
            async with server:
                await ask(server, 40)

        asyncio.run(run())
        return [request.kind for request in server.requests]

    drawn = kinds(1)
    assert drawn == kinds(1) != kinds(2)
    assert set(drawn) == {"ok", "server", "dropped"}


def test_server_counts_requests_at_once() -> None:
    server = OpenAIServer(latency_s=lambda request: 0.2, answer=lambda request: request.text)

    async def run() -> list[list[str]]:
        async with server:
            return await asyncio.gather(*(ask(server) for _ in range(5)))

    assert asyncio.run(run()) == [["two words"]] * 5
    assert server.max_in_flight == 5


def test_server_trickles_longer_than_a_read_may_take() -> None:
    server = OpenAIServer(script=("trickle",), slow_s=0.6)

    async def run() -> tuple[list[str], float]:
        async with server:
            loop = asyncio.get_running_loop()
            began = loop.time()
            return await ask(server, timeout=0.3), loop.time() - began

    answer, took_s = asyncio.run(run())
    assert answer == ["the answer"]
    assert took_s >= 0.55


def test_server_serves_from_a_thread() -> None:
    with OpenAIServer(script=(Reply(status=201, body=completion("hello")),)) as server:
        url = f"{server.base_url}/chat/completions"
        with urllib.request.urlopen(url, data=b"{}") as response:
            assert response.status == 201
            assert json.load(response) == completion("hello")
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, data=b"{}")
