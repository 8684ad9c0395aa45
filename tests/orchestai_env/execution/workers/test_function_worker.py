"""FunctionWorker: functions of all sorts, and what goes wrong in them."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from orchestai_env.errors import ConfigError
from orchestai_env.execution.workers.function_worker import FunctionWorker, load_function
from orchestai_env.execution.workers.prompt import prompt_text
from orchestai_env.execution.workers.tokens import estimated_tokens
from orchestai_env.execution.workers.worker import (
    Answer,
    CallRequest,
    Usage,
    Worker,
    WorkerCallError,
)
from tests.orchestai_env.execution.calling import REQUEST, answer_or_error


def call(function: Callable[[CallRequest], Any], **settings: Any) -> Answer | WorkerCallError:
    return asyncio.run(answer_or_error(FunctionWorker("f", function, **settings)))


def shout(request: CallRequest) -> str:
    return request.subtask.upper()


async def whisper(request: CallRequest) -> str:
    await asyncio.sleep(0)
    return request.subtask.lower()


class Echo:
    async def __call__(self, request: CallRequest) -> str:
        assert threading.current_thread() is threading.main_thread()
        return request.subtask


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (shout, "SUM THE TABLE."),
        (whisper, "sum the table."),
        (functools.partial(whisper), "sum the table."),
        (lambda request: whisper(request), "sum the table."),
        (Echo(), "Sum the table."),
    ],
)
def test_functions_sync_and_async_answer(function: Callable[[CallRequest], Any], text: str) -> None:
    expected = Usage(
        input_tokens=estimated_tokens(prompt_text(REQUEST)), output_tokens=4, is_estimated=True
    )
    assert call(function) == Answer(text=text, usage=expected)


def test_function_may_bring_its_own_usage() -> None:
    answer = Answer(text="6", usage=Usage(input_tokens=3, output_tokens=1))
    assert call(lambda _: answer) is answer


def test_tokens_are_counted_as_told() -> None:
    answer = call(shout, count_tokens=lambda text: len(text.split()))
    assert isinstance(answer, Answer)
    assert answer.usage.output_tokens == 3


def test_sync_functions_run_beside_each_other() -> None:
    """Each waits for the other, so they would never end one after the other."""
    both = threading.Barrier(2)

    def meet(_: CallRequest) -> str:
        both.wait(timeout=30)
        return "met"

    async def run() -> None:
        worker = FunctionWorker("f", meet, concurrency=2)
        assert isinstance(worker, Worker)
        answers = await asyncio.gather(worker.call(REQUEST), worker.call(REQUEST))
        assert [answer.text for answer in answers] == ["met", "met"]
        await worker.close()

    asyncio.run(run())


def test_sync_functions_see_the_context_of_their_call() -> None:
    variable = contextvars.ContextVar("variable", default="outside")

    async def run() -> None:
        variable.set("inside")
        answer = await answer_or_error(FunctionWorker("f", lambda _: variable.get()))
        assert isinstance(answer, Answer)
        assert answer.text == "inside"

    asyncio.run(run())


def fail_with(error: BaseException) -> Callable[[CallRequest], str]:
    def fail(_: CallRequest) -> str:
        raise error

    return fail


ERRORS = [ValueError("no\ntable"), StopIteration("no table"), SystemExit(3)]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("is_async", [False, True])
def test_exception_becomes_a_fault_of_the_server(error: BaseException, is_async: bool) -> None:
    fail = fail_with(error)

    async def fail_later(request: CallRequest) -> str:
        return fail(request)

    failure = call(fail_later if is_async else fail)
    assert isinstance(failure, WorkerCallError)
    assert failure.fault == "server"
    assert str(failure).startswith("worker 'f': its function raised ")
    assert "\n" not in str(failure)
    assert failure.__cause__ is not None


def test_exception_of_an_async_function_becomes_a_fault() -> None:
    async def fail(_: CallRequest) -> str:
        raise TimeoutError("too late")

    failure = call(fail)
    assert isinstance(failure, WorkerCallError)
    assert str(failure) == "worker 'f': its function raised TimeoutError: too late"


def test_worker_call_error_of_a_function_passes_as_it_is() -> None:
    error = WorkerCallError("slow down", fault="rate_limit", retry_after_s=2.0)
    assert call(fail_with(error)) is error


@pytest.mark.parametrize("result", [None, 12, b"bytes"])
def test_result_of_another_type_is_malformed(result: object) -> None:
    failure = call(lambda _: result)
    assert isinstance(failure, WorkerCallError)
    assert failure.fault == "malformed"
    assert f"expected a str or an Answer from its function, got {result!r}" in str(failure)


def test_lone_surrogates_of_a_function_can_be_written() -> None:
    answer = call(lambda _: "a\udc00")
    assert isinstance(answer, Answer)
    assert answer.text == "a\ufffd"


def test_function_is_loaded_by_its_path() -> None:
    assert load_function("textwrap:dedent")(" a") == "a"  # type: ignore[arg-type]  # a plain one
    assert callable(load_function("pathlib:Path.read_text"))


@pytest.mark.parametrize(
    ("path", "match"),
    [
        ("no_such_module:f", "fails with ModuleNotFoundError: No module named 'no_such_module'"),
        ("textwrap:no_such_name", "fails with AttributeError: .*check the name, or set PYTHONPATH"),
        ("textwrap:__name__", "expected a callable, got 'textwrap'"),
    ],
)
def test_function_that_cannot_be_loaded_is_refused(path: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        load_function(path)
