"""OpenAIServer: a local OpenAI-compatible server whose faults follow a script."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import json
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self

Kind = Literal["ok", "rate_limit", "server", "timeout", "malformed", "dropped", "cut", "trickle"]
"""How a request is answered: as it should be; HTTP 429 with Retry-After; HTTP 500; not at all; with
JSON that breaks off; by closing the connection before a byte, or in the middle; byte by byte."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer to the letter, for a script."""

    status: int = 200
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Besides Content-Length, and Content-Type unless it is here."""
    body: Any = None
    """Sent as it is where it is text or bytes, as JSON otherwise."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeenRequest:
    """A request as it came."""

    number: int
    """From 0, in order of arrival."""
    path: str
    headers: Mapping[str, str]
    """By lower-case name."""
    body: Any
    """Its JSON; None where it has none."""
    kind: str
    """How it was answered: a Kind, or "reply" for one to the letter."""
    arrived_s: float
    """Seconds since the server began."""

    @property
    def text(self) -> str:
        """All messages, one a line."""
        messages = self.body.get("messages", []) if isinstance(self.body, dict) else []
        return "\n".join(str(message.get("content")) for message in messages)


def completion(content: Any, usage: Any = None) -> dict[str, Any]:
    """Returns the body of a chat completion; without usage it reports none."""
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    return body if usage is None else {**body, "usage": usage}


def usage_of(prompt: str, answer: str) -> dict[str, int]:
    """Returns what the server reports: words as tokens, at least one each."""
    sent, made = max(1, len(prompt.split())), max(1, len(answer.split()))
    return {"prompt_tokens": sent, "completion_tokens": made, "total_tokens": sent + made}


@dataclasses.dataclass(kw_only=True)
class OpenAIServer:
    """Answers chat completions on a free port of this machine, with faults as told.

    `async with OpenAIServer(script=("rate_limit", "ok")) as server:` serves in the running loop;
    plain `with` serves in a thread, for synchronous tests and for other processes. Inside,
    `server.base_url` is what a client is given, and `requests`, `counts`, `in_flight` and
    `max_in_flight` say what happened. Request number k is answered by the k-th step of the script;
    past its end by a draw from `faults` that depends on (seed, k) only; then by `answer`.
    """

    script: Sequence[Kind | Reply] = ()
    faults: Mapping[Kind, float] = dataclasses.field(default_factory=dict)
    """Probabilities; what is left of 1 is "ok"."""
    seed: int = 0
    latency_s: float | Callable[[SeenRequest], float] = 0.0
    """From the request to its answer, or to the fault instead of it."""
    answer: str | Callable[[SeenRequest], str | dict[str, Any]] = "the answer"
    """Content, or the whole body where it is a dict."""
    reports_usage: bool = True
    """Whether answers given as text come with `usage_of` them."""
    retry_after: str | None = "0"
    """Header of every 429."""
    slow_s: float = 30.0
    """How long a "timeout" keeps silent, and how long a whole "trickle" takes."""
    requests: list[SeenRequest] = dataclasses.field(default_factory=list, init=False)
    in_flight: int = dataclasses.field(default=0, init=False)
    """Requests that have come and are neither answered nor given up by the client."""
    max_in_flight: int = dataclasses.field(default=0, init=False)
    base_url: str = dataclasses.field(default="", init=False)
    """Like http://127.0.0.1:8000/v1; the port is closed before and after."""
    _server: asyncio.Server | None = dataclasses.field(default=None, init=False, repr=False)
    _open: set[asyncio.Task[None]] = dataclasses.field(default_factory=set, init=False, repr=False)
    _thread: _Thread | None = dataclasses.field(default=None, init=False, repr=False)

    @property
    def counts(self) -> collections.Counter[str]:
        """Requests by how they were answered."""
        return collections.Counter(request.kind for request in self.requests)

    async def __aenter__(self) -> Self:
        """Opens a port."""
        self._began = asyncio.get_running_loop().time()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.base_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes the port and every connection."""
        assert self._server is not None
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    def __enter__(self) -> Self:
        """Serves in a thread of its own."""
        self._thread = _Thread(self)
        return self

    def __exit__(self, *_: object) -> None:
        """Stops the thread."""
        assert self._thread is not None
        self._thread.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers the requests of one connection, one after the other."""
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        connection = _Connection(reader, writer)
        try:
            while (incoming := await connection.read_request()) is not None:
                self.in_flight += 1
                self.max_in_flight = max(self.max_in_flight, self.in_flight)
                try:
                    await self._respond(connection, *incoming)
                finally:
                    self.in_flight -= 1
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client or this server is gone
        finally:
            self._open.discard(task)
            writer.close()

    async def _respond(
        self, connection: _Connection, path: str, headers: Mapping[str, str], body: Any
    ) -> None:
        number = len(self.requests)
        step = self._step(number) if path.endswith("/chat/completions") else Reply(status=404)
        kind = "reply" if isinstance(step, Reply) else step
        arrived_s = asyncio.get_running_loop().time() - self._began
        request = SeenRequest(
            number=number, path=path, headers=headers, body=body, kind=kind, arrived_s=arrived_s
        )
        self.requests.append(request)
        latency_s = self.latency_s(request) if callable(self.latency_s) else self.latency_s
        await connection.pause(latency_s)
        if isinstance(step, Reply):
            await connection.send(step)
        else:
            await self._send(connection, step, request)

    def _step(self, number: int) -> Kind | Reply:
        if number < len(self.script):
            return self.script[number]
        drawn = random.Random(f"{self.seed} {number}").random()
        for kind, probability in self.faults.items():
            drawn -= probability
            if drawn < 0:
                return kind
        return "ok"

    async def _send(self, connection: _Connection, kind: Kind, request: SeenRequest) -> None:
        good = Reply(body=self._body(request))
        if kind == "ok":
            await connection.send(good)
        elif kind == "rate_limit":
            headers = {} if self.retry_after is None else {"Retry-After": self.retry_after}
            error = {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}
            await connection.send(Reply(status=429, headers=headers, body=error))
        elif kind == "server":
            await connection.send(Reply(status=500, body={"error": {"message": "it broke"}}))
        elif kind == "malformed":
            await connection.send(Reply(body='{"choices": [{"message": {"conte'))
        elif kind == "timeout":
            await connection.pause(self.slow_s)
            connection.drop()
        elif kind == "trickle":
            await connection.trickle(good, self.slow_s)
        else:
            connection.drop(after=b"" if kind == "dropped" else encoded(good)[:-10])

    def _body(self, request: SeenRequest) -> dict[str, Any]:
        answer = self.answer(request) if callable(self.answer) else self.answer
        if isinstance(answer, dict):
            return answer
        return completion(answer, usage_of(request.text, answer) if self.reports_usage else None)


class _Connection:
    """One connection of a client: HTTP/1.1 with Content-Length, kept alive."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read_request(self) -> tuple[str, dict[str, str], Any] | None:
        """Returns path, headers and JSON of the next request; None where no more come."""
        try:
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head.strip().split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
        }
        body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        return first.split()[1], headers, json.loads(body) if body else None

    async def pause(self, seconds: float) -> None:
        """Waits, but no longer than the client does.

        Raises:
            ConnectionResetError: it has hung up.
        """
        if seconds <= 0:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._reader.read(1), seconds)
            raise ConnectionResetError("the client hung up")

    async def send(self, reply: Reply) -> None:
        self._writer.write(encoded(reply))
        await self._writer.drain()

    async def trickle(self, reply: Reply, seconds: float) -> None:
        """Sends one byte at a time."""
        data = encoded(reply)
        for i in range(len(data)):
            self._writer.write(data[i : i + 1])
            await self.pause(seconds / len(data))

    def drop(self, after: bytes = b"") -> None:
        """Hangs up in the midst of an answer.

        Raises:
            ConnectionResetError: always, as nothing more can be said here.
        """
        self._writer.write(after)
        raise ConnectionResetError("dropped on purpose")


def encoded(reply: Reply) -> bytes:
    """Returns the bytes of an HTTP response."""
    text = reply.body if isinstance(reply.body, (str, bytes)) else json.dumps(reply.body)
    body = text.encode() if isinstance(text, str) else text
    headers = {"Content-Type": "application/json", **reply.headers, "Content-Length": len(body)}
    lines = [f"HTTP/1.1 {reply.status} status", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class _Thread:
    """Serves in a thread until it is told to stop."""

    def __init__(self, server: OpenAIServer) -> None:
        self._server, self._ready = server, threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self._thread.start()
        if not self._ready.wait(timeout=30):
            raise RuntimeError("the test server did not start within 30 s")

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with self._server:
            self._ready.set()
            await self._stop.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
