"""What tests of workers have in common: a request, settings, and one call."""

from __future__ import annotations

import asyncio

from orchestai_env.execution.workers.openai_worker import OpenAIWorker
from orchestai_env.execution.workers.worker import Answer, CallRequest, Worker, WorkerCallError
from orchestai_env.execution.workers.worker_settings import LiveWorkerSettings
from tests.orchestai_env.execution.openai_server import OpenAIServer

REQUEST = CallRequest(
    instruction="Write a report.", subtask="Sum the table.", task_type="math", inputs=("1 2 3",)
)
KEY = "sk-live-4b1f0d93aa77c2e8"


async def answer_or_error(worker: Worker) -> Answer | WorkerCallError:
    """Calls a worker once; returns what comes of it."""
    try:
        return await worker.call(REQUEST)
    except WorkerCallError as error:
        return error
    finally:
        await worker.close()


def ask(server: OpenAIServer, *, key: str = KEY, **settings: object) -> Answer | WorkerCallError:
    """Asks a server once, through an OpenAIWorker named "w"."""

    async def once() -> Answer | WorkerCallError:
        async with server:
            values = {"name": "w", "model": "m", "timeout_s": 5.0, "base_url": server.base_url}
            spec = LiveWorkerSettings.model_validate({**values, **settings})
            return await answer_or_error(OpenAIWorker(spec, key=key))

    return asyncio.run(once())


def error_of(server: OpenAIServer, *, key: str = KEY, **settings: object) -> WorkerCallError:
    """Asks once, and expects an error."""
    error = ask(server, key=key, **settings)
    assert isinstance(error, WorkerCallError), error
    return error


def answer_of(server: OpenAIServer, *, key: str = KEY, **settings: object) -> Answer:
    """Asks once, and expects an answer."""
    answer = ask(server, key=key, **settings)
    assert isinstance(answer, Answer), answer
    return answer
