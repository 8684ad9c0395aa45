"""FunctionWorker: any Python callable as a worker."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from orchestai_env.errors import ConfigError, shown
from orchestai_env.execution.workers.keys import said
from orchestai_env.execution.workers.prompt import prompt_text, whole
from orchestai_env.execution.workers.tokens import CountTokens, counted_usage, estimated_tokens
from orchestai_env.execution.workers.worker import Answer, CallRequest, WorkerCallError

Result = str | Answer
CallFn = Callable[[CallRequest], Result | Awaitable[Result]]


class FunctionWorker:
    """Calls a function: an async one in the event loop, any other in a thread.

    A call that is given up leaves its thread running until the function returns.
    """

    def __init__(
        self,
        name: str,
        call_fn: CallFn,
        *,
        concurrency: int = 8,
        count_tokens: CountTokens = estimated_tokens,
    ) -> None:
        """Takes the function.

        Args:
            name: of the worker.
            call_fn: takes the request; returns a text, whose tokens are counted here and marked as
                estimated, or an Answer. An exception of it becomes a WorkerCallError with fault
                "server"; it may raise a WorkerCallError of its own.
            concurrency: threads for a function that is not async.
            count_tokens: counts them.
        """
        self.name = name
        self._call_fn, self._count_tokens = call_fn, count_tokens
        # An object whose __call__ is async is as good as an async function.
        is_async = any(map(inspect.iscoroutinefunction, (call_fn, type(call_fn).__call__)))
        self._threads = None if is_async else ThreadPoolExecutor(concurrency, name)

    async def call(self, request: CallRequest) -> Answer:
        """Calls the function, once.

        Raises:
            WorkerCallError: it raises, or returns neither a text nor an Answer.
        """
        try:
            result = await self._result(request)
        except WorkerCallError:
            raise
        except (Exception, SystemExit) as error:  # whatever a function of the user raises
            message = f"worker {self.name!r}: its function raised {type(error).__name__}"
            raise WorkerCallError(f"{message}: {said(error)}", fault="server") from error
        if isinstance(result, Answer):
            return result
        if not isinstance(result, str):
            raise WorkerCallError(
                f"worker {self.name!r}: expected a str or an Answer from its function, got "
                f"{shown(result)}",
                fault="malformed",
            )
        text = whole(result)
        return Answer(
            text=text, usage=counted_usage(prompt_text(request), text, self._count_tokens)
        )

    async def _result(self, request: CallRequest) -> Any:
        if self._threads is None:
            return await self._call_fn(request)  # type: ignore[misc]  # it is async
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        result, error = await loop.run_in_executor(
            self._threads, context.run, _outcome, self._call_fn, request
        )
        if error is not None:
            raise error
        return await result if inspect.isawaitable(result) else result

    async def close(self) -> None:
        """Lets the threads end."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)


def _outcome(call_fn: CallFn, request: CallRequest) -> tuple[Any, BaseException | None]:
    """Returns the result or the exception: a future cannot take every one (StopIteration)."""
    try:
        return call_fn(request), None
    except (Exception, SystemExit) as error:
        return None, error


def load_function(path: str) -> CallFn:
    """Imports a callable.

    Args:
        path: "package.module:name".
    Raises:
        ConfigError: the module cannot be imported, or has no such callable.
    """
    module_name, _, name = path.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:  # importing runs any code
        raise ConfigError(
            f"function {path!r}: expected a callable that can be imported; it fails with "
            f"{type(error).__name__}: {said(error)}; check the name, or set PYTHONPATH"
        ) from error
    if not callable(found):
        raise ConfigError(f"function {path!r}: expected a callable, got {shown(found)}")
    return found  # type: ignore[no-any-return]  # what it takes and returns shows when it is called
