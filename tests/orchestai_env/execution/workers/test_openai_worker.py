"""OpenAIWorker: what it sends, what it reads, and what every fault becomes."""

from __future__ import annotations

import asyncio
import logging
import traceback

import pytest

from orchestai_env.execution.workers.openai_worker import OpenAIWorker
from orchestai_env.execution.workers.prompt import prompt_text
from orchestai_env.execution.workers.tokens import estimated_tokens
from orchestai_env.execution.workers.worker import Usage, Worker, WorkerCallError
from orchestai_env.execution.workers.worker_settings import LiveWorkerSettings
from tests.orchestai_env.execution.calling import KEY, REQUEST, answer_of, ask, error_of
from tests.orchestai_env.execution.openai_server import OpenAIServer, Reply, completion


def test_call_sends_prompt_model_limit_and_key_once() -> None:
    server = OpenAIServer(answer="6")
    assert answer_of(server, max_output_tokens=50).text == "6"
    (sent,) = server.requests
    assert sent.text == prompt_text(REQUEST)
    assert (sent.body["model"], sent.body["max_completion_tokens"]) == ("m", 50)
    assert sent.headers["authorization"] == f"Bearer {KEY}"


def test_call_uses_the_older_name_of_the_limit_where_told() -> None:
    server = OpenAIServer()
    answer_of(server, max_output_tokens=50, output_limit_key="max_tokens")
    assert server.requests[0].body["max_tokens"] == 50
    assert "max_completion_tokens" not in server.requests[0].body


def test_call_without_key_sends_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server = OpenAIServer()
    answer_of(server, key="")
    assert "authorization" not in server.requests[0].headers
    assert KEY not in str(server.requests[0].headers)


def test_usage_is_read_with_cached_and_reasoning_tokens() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 40,
        "total_tokens": 140,
        "prompt_tokens_details": {"cached_tokens": 64},
        "completion_tokens_details": {"reasoning_tokens": 30},
    }
    answer = answer_of(OpenAIServer(script=(Reply(body=completion("x", usage)),)))
    expected = Usage(input_tokens=100, output_tokens=40, cached_tokens=64, reasoning_tokens=30)
    assert answer.usage == expected


def test_usage_that_is_not_reported_is_estimated() -> None:
    answer = answer_of(OpenAIServer(answer="twelve bytes", reports_usage=False))
    sent = estimated_tokens(prompt_text(REQUEST))
    assert answer.usage == Usage(input_tokens=sent, output_tokens=3, is_estimated=True)


def test_usage_of_no_output_is_not_believed_where_there_is_some() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 0}
    answer = answer_of(OpenAIServer(script=(Reply(body=completion("a word", usage)),)))
    assert answer.usage.is_estimated
    assert answer.usage.output_tokens == 2


def test_lone_surrogates_become_text_that_can_be_written() -> None:
    body = '{"choices": [{"message": {"content": "a\\ud800b"}}]}'
    assert answer_of(OpenAIServer(script=(Reply(body=body),))).text == "a\ufffdb"


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        ("rate_limit", "rate_limit"),
        ("server", "server"),
        ("timeout", "timeout"),
        ("trickle", "timeout"),
        ("malformed", "malformed"),
        ("dropped", "connection"),
        ("cut", "connection"),
        (Reply(status=529), "server"),
        (Reply(status=503, body="<html>busy</html>"), "server"),
        (Reply(status=408), "timeout"),
        (Reply(status=400, body={"error": "a text"}), "refused"),
        (Reply(status=401), "refused"),
        (Reply(status=404), "refused"),
        (Reply(status=429, body={"error": {"code": "insufficient_quota"}}), "refused"),
        (Reply(headers={"Content-Encoding": "gzip"}, body=b"no gzip"), "connection"),
        (Reply(body=""), "malformed"),
        (Reply(body=b"\xff\xfe"), "malformed"),
        (Reply(body="[" * 100_000), "malformed"),
        (Reply(body=[]), "malformed"),
        (Reply(body={"choices": []}), "malformed"),
        (Reply(body={"choices": [None]}), "malformed"),
        (Reply(body={"choices": [{"message": "text"}]}), "malformed"),
        (Reply(body={"error": {"message": "said with status 200"}}), "malformed"),
        (Reply(body=completion(None)), "malformed"),
        (Reply(body=completion(12)), "malformed"),
        (Reply(body=completion([{"type": "text", "text": "parts"}])), "malformed"),
        (Reply(body={"choices": [{"message": {"refusal": "I won't"}}]}), "refused"),
        (Reply(body={"choices": [{"message": {}, "finish_reason": "content_filter"}]}), "refused"),
    ],
)
def test_each_fault_is_told_apart(step: object, fault: str) -> None:
    server = OpenAIServer(script=(step,), slow_s=3.0)  # type: ignore[arg-type]
    slow = step in ("timeout", "trickle")
    error = error_of(server, timeout_s=0.3 if slow else 5.0)
    assert error.fault == fault
    assert str(error).startswith("worker 'w': ")
    assert "\n" not in str(error)
    assert len(server.requests) == 1, "the worker tries again on its own"


def test_wait_that_the_server_asks_for_is_told() -> None:
    error = error_of(OpenAIServer(script=("rate_limit",), retry_after="7"))
    assert error.retry_after_s == 7.0
    assert "HTTP 429, to be tried again in 7 s: slow down" in str(error)


def test_tokens_of_an_answer_without_text_are_charged() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 50}
    error = error_of(OpenAIServer(script=(Reply(body=completion(None, usage)),)))
    assert error.usage == Usage(input_tokens=9, output_tokens=50)


def test_nobody_listening_is_a_fault_of_the_connection() -> None:
    server = OpenAIServer()
    assert error_of(server, base_url="http://127.0.0.1:1/v1").fault == "connection"


def test_call_that_is_given_up_ends_its_request() -> None:
    """A caller's own timeout comes through as it is, and the server sees the client go."""

    async def run() -> None:
        async with OpenAIServer(script=("timeout",)) as server:
            spec = LiveWorkerSettings(name="w", model="m", base_url=server.base_url)
            worker = OpenAIWorker(spec)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await worker.call(REQUEST)
            while server.in_flight:
                await asyncio.sleep(0.01)
            await worker.close()

    asyncio.run(run())


@pytest.mark.parametrize("concurrency", [8, 100])  # one client, and several
def test_many_calls_share_one_worker(concurrency: int) -> None:
    async def run() -> None:
        async with OpenAIServer(latency_s=0.05) as server:
            spec = LiveWorkerSettings(
                name="w", model="m", base_url=server.base_url, concurrency=concurrency
            )
            worker = OpenAIWorker(spec)
            assert isinstance(worker, Worker)
            answers = await asyncio.gather(*(worker.call(REQUEST) for _ in range(30)))
            assert {answer.text for answer in answers} == {"the answer"}
            assert server.max_in_flight > 1
            await worker.close()

    asyncio.run(run())


ECHO = f"no such key: {KEY}, Bearer {KEY}, {KEY[:14]}..., {KEY[-9:]}"


@pytest.mark.parametrize(
    "step",
    [
        Reply(status=401, body={"error": {"message": ECHO}}),
        Reply(status=429, body=ECHO),
        Reply(status=500, body=[ECHO]),
        Reply(body=ECHO),
        Reply(body={"error": ECHO}),
        Reply(body={"choices": [{"message": {"refusal": ECHO}}]}),
        "dropped",
        "timeout",
    ],
)
def test_key_is_nowhere_in_error_traceback_or_log(
    step: object, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        server = OpenAIServer(script=(step,))  # type: ignore[arg-type]
        error = ask(server, timeout_s=0.5)
    assert isinstance(error, WorkerCallError)
    text = "".join(traceback.format_exception(error)) + repr(error) + str(vars(error)) + caplog.text
    for piece in (KEY, KEY[:14], KEY[-9:]):
        assert piece not in text
    assert error.__cause__ is error.__context__ is None


def test_key_in_an_address_is_not_in_the_error() -> None:
    reply = Reply(status=302, headers={"Location": f"x{KEY}://host"})
    error = error_of(OpenAIServer(script=(reply,)))
    assert error.fault == "connection"
    assert "unsupported protocol" in str(error)
    assert KEY not in str(error)


def test_key_is_not_in_the_repr_of_a_worker() -> None:
    worker = OpenAIWorker(LiveWorkerSettings(name="w", model="m"), key=KEY)
    assert KEY not in repr(worker)
    assert isinstance(worker, Worker)
    asyncio.run(worker.close())
