"""LiveWorkerSettings and LivePool: the workers of a user, declared in a YAML file.

    workers:
      - name: mini
        model: gpt-4o-mini
        base_url: https://api.openai.com/v1
        api_key_env: OPENAI_API_KEY   # the name of a variable, never the key
        input_usd_per_mtok: 0.15
        output_usd_per_mtok: 0.6
      - name: local
        model: qwen2.5:7b
        base_url: http://localhost:11434/v1
        output_limit_key: max_tokens
      - name: calculator
        backend: function
        function: my_package.sums:calculate
        capabilities: [math]

Keys come from the environment, or from a file `.env` beside the YAML file for variables that the
environment has not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pydantic

from orchestai_env.errors import ConfigError, unknown_name
from orchestai_env.execution.calls.call_records import CallSettings
from orchestai_env.execution.extra import needs_extra
from orchestai_env.execution.workers.function_worker import FunctionWorker, load_function
from orchestai_env.execution.workers.keys import HIDDEN, read_keys
from orchestai_env.execution.workers.tokens import CountTokens, estimated_tokens, token_counter
from orchestai_env.execution.workers.worker import Worker
from orchestai_env.settings import StrictSettings, load_yaml
from orchestai_env.workers import Kind, NonNegative, Positive, WorkerPool, WorkerSpec

Backend = Literal["openai", "transformers", "function"]
Text = Annotated[str, pydantic.StringConstraints(min_length=1, strip_whitespace=True)]
Whole = Annotated[int, pydantic.Field(ge=1)]

# Capitals only: keys of some providers (gsk_..., hf_...) would pass for names with small letters.
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_REMOTE = ("base_url", "api_key_env", "output_limit_key")
_UNUSED: dict[Backend, tuple[str, ...]] = {
    "openai": ("function",),
    "transformers": ("function", "tokenizer", *_REMOTE),
    "function": ("model", *_REMOTE),
}
"""Keys that mean nothing to a backend; whoever sets one expects something that does not happen."""


def _hidden_unless_name(value: Any) -> Any:
    """Hides what may be a key, before an error text quotes it."""
    return HIDDEN if isinstance(value, str) and not _VARIABLE.fullmatch(value) else value


def _without_password(value: Any) -> Any:
    """Hides user and password of a URL, before an error text quotes it."""
    return re.sub("//.*@", f"//{HIDDEN}@", value) if isinstance(value, str) else value


def _variable(value: str) -> str:
    if not _VARIABLE.fullmatch(value):
        raise ValueError("expected the name of a variable in capitals, like OPENAI_API_KEY")
    return value


def _function(value: str) -> str:
    if not _FUNCTION.fullmatch(value):
        raise ValueError("expected a callable as package.module:name")
    return value


def _http_url(value: str) -> str:
    expected = "expected a URL like http://localhost:8000/v1"
    try:
        url = urlsplit(value)
        fits = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:  # a port that is no number, a bracket that is not closed
        raise ValueError(expected) from None
    if not fits or any(not "!" <= letter <= "~" for letter in value):
        raise ValueError(expected)
    if url.username is not None or url.query or url.fragment:
        raise ValueError(f"{expected}, without user, password, query or fragment")
    return value


Variable = Annotated[
    str, pydantic.AfterValidator(_variable), pydantic.BeforeValidator(_hidden_unless_name)
]
HttpUrl = Annotated[
    str, pydantic.AfterValidator(_http_url), pydantic.BeforeValidator(_without_password)
]
Function = Annotated[str, pydantic.AfterValidator(_function)]


class LiveWorkerSettings(StrictSettings):
    """One worker: where it is, what it costs and how much it takes at once."""

    name: Text
    """As log, messages and actions give it."""
    kind: Kind = "llm"
    backend: Backend = "openai"
    """What answers: an OpenAI-compatible endpoint, a local transformers pipeline, or a callable."""
    model: Text | None = None
    """Name that the endpoint knows; for transformers a name or a folder."""
    base_url: HttpUrl = "https://api.openai.com/v1"
    """Of the endpoint; what comes before /chat/completions."""
    api_key_env: Variable | None = None
    """Environment variable that holds the key; None where the endpoint needs none."""
    function: Function | None = None
    """"package.module:name" of a callable that takes a CallRequest."""
    input_usd_per_mtok: NonNegative = 0.0
    """Price of a million input tokens [USD]."""
    output_usd_per_mtok: NonNegative = 0.0
    """Price of a million output tokens [USD]."""
    reasoning_usd_per_mtok: NonNegative | None = None
    """Of those output tokens that are reasoning [USD]; None: as output."""
    cached_usd_per_mtok: NonNegative | None = None
    """Of those input tokens that the provider had cached [USD]; None: as input."""
    first_token_ms: NonNegative = 0.0
    """Time to the first token of a call [ms], as believed before calls are logged."""
    tokens_per_s: Positive = 100.0
    """Output speed after it [tokens/s], likewise."""
    concurrency: Whole = 8
    """Calls that run at once; further ones wait. A pipeline of transformers takes 1."""
    timeout_s: Positive = 60.0
    """Longest time of one try of a call [s]."""
    max_tries: Annotated[int, pydantic.Field(ge=1, le=100)] = 4
    """Requests that one call sends to it, the first included."""
    fallback: Text | None = None
    """Worker of the same file that takes over where this one gives no answer."""
    capabilities: Annotated[tuple[Text, ...], pydantic.Field(strict=False)] = ()
    """Task types that it serves; empty: all."""
    max_output_tokens: Whole = 4096
    """Most tokens of an answer, reasoning included; a longer one is cut."""
    output_limit_key: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    """Under which name an endpoint takes that limit; some (Ollama) only know the older one."""
    tokenizer: Text | None = None
    """Counts tokens where usage is not reported: a tokenizer.json, or a name or folder for
    transformers' AutoTokenizer. None: a quarter of the bytes."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _pipelines_take_one_call(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("backend") == "transformers":
            return {"concurrency": 1, **data}
        return data

    @pydantic.model_validator(mode="after")
    def _keys_fit_the_backend(self) -> Self:
        need = "function" if self.backend == "function" else "model"
        if getattr(self, need) is None:
            raise ValueError(
                f"worker {self.name!r}: backend {self.backend} needs the key {need!r}; add it"
            )
        unused = sorted(self.model_fields_set.intersection(_UNUSED[self.backend]))
        if unused:
            raise ValueError(
                f"worker {self.name!r}: backend {self.backend} does not use the key "
                f"{unused[0]!r}; take it out"
            )
        if self.backend == "transformers" and self.concurrency != 1:
            raise ValueError(
                f"worker {self.name!r}: expected concurrency 1, as a pipeline of transformers runs "
                f"one call at a time, got {self.concurrency}"
            )
        return self

    @property
    def cached_price(self) -> float:
        """Price of a million cached input tokens [USD]."""
        return _first(self.cached_usd_per_mtok, self.input_usd_per_mtok)

    @property
    def reasoning_price(self) -> float:
        """Price of a million reasoning tokens [USD]."""
        return _first(self.reasoning_usd_per_mtok, self.output_usd_per_mtok)

    def serves(self, task_type: str) -> bool:
        """Returns whether subtasks of this type may go to it."""
        return not self.capabilities or task_type in self.capabilities


def _first(price: float | None, otherwise: float) -> float:
    return otherwise if price is None else price


def _fault_of_names(specs: Sequence[LiveWorkerSettings]) -> str | None:
    """Returns what is wrong with the names of workers; None where nothing is."""
    names = [spec.name for spec in specs]
    if not names:
        return "expected at least one worker, got none"
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        return f"worker names must be unique, got twice: {', '.join(twice)}"
    for spec in specs:
        if spec.fallback is not None and spec.fallback not in names:
            return f"worker {spec.name!r}, fallback: " + unknown_name(
                "worker", spec.fallback, names
            )
    return None


class LivePool(StrictSettings):
    """The workers of a user, in action order; it holds no keys."""

    specs: tuple[LiveWorkerSettings, ...]
    env_file: Path | None = None
    """Read for keys that the environment has not; None: no file."""

    @pydantic.model_validator(mode="after")
    def _names_fit(self) -> Self:
        fault = _fault_of_names(self.specs)
        if fault is not None:
            raise ValueError(fault)
        return self

    def pool(self) -> WorkerPool:
        """Returns the same workers as the environment knows them, without skills."""
        return WorkerPool(
            tuple(
                WorkerSpec(
                    name=spec.name,
                    kind=spec.kind,
                    input_usd_per_mtok=spec.input_usd_per_mtok,
                    output_usd_per_mtok=spec.output_usd_per_mtok,
                    first_token_ms=spec.first_token_ms,
                    tokens_per_s=spec.tokens_per_s,
                    concurrency=spec.concurrency,
                    source="the user's settings",
                )
                for spec in self.specs
            )
        )

    def capable(self, task_types: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Returns who serves what: bool (T, W), by task type and worker."""
        return np.array([[spec.serves(name) for spec in self.specs] for name in task_types])

    def call_settings(self) -> dict[str, CallSettings]:
        """Returns how each worker is called, by name."""
        keys = ("timeout_s", "concurrency", "max_tries", "fallback")
        return {
            spec.name: CallSettings(**{key: getattr(spec, key) for key in keys})
            for spec in self.specs
        }

    def build(self) -> dict[str, Worker]:
        """Returns the workers by name, in action order, ready to be called.

        They are called from one event loop, and closed in it.

        Raises:
            ConfigError: a key is missing; a function, tokenizer or model cannot be loaded.
            MissingPackageError: a package that a backend needs is not installed.
        """
        keys = read_keys((s.api_key_env for s in self.specs if s.api_key_env), self.env_file)
        return {
            spec.name: _BUILDERS[spec.backend](spec, keys.get(spec.api_key_env or "", ""))
            for spec in self.specs
        }


class _WorkersFile(StrictSettings):
    """What a file of workers holds."""

    workers: Annotated[tuple[LiveWorkerSettings, ...], pydantic.Field(strict=False)]


def load_workers(path: str | Path) -> LivePool:
    """Reads a file of workers, as the head of this module shows one.

    Raises:
        MissingFileError: there is no such file.
        ConfigError: it is no YAML, or a key is unknown, mistyped, missing or of no use; the message
            has the file and the full path of the key.
    """
    workers = load_yaml(path, _WorkersFile).workers
    fault = _fault_of_names(workers)
    if fault is not None:
        raise ConfigError(f"{path}: workers: {fault}")
    return LivePool(specs=workers, env_file=Path(path).parent / ".env")


def _counter(settings: LiveWorkerSettings) -> CountTokens:
    return token_counter(settings.tokenizer) if settings.tokenizer else estimated_tokens


def _openai(settings: LiveWorkerSettings, key: str) -> Worker:
    with needs_extra("live", what="workers of backend openai"):
        from orchestai_env.execution.workers.openai_worker import OpenAIWorker
    return OpenAIWorker(settings, key=key, count_tokens=_counter(settings))


def _transformers(settings: LiveWorkerSettings, _: str) -> Worker:
    with needs_extra("train", what="workers of backend transformers"):
        from orchestai_env.execution.workers.transformers_worker import TransformersWorker
    return TransformersWorker(settings)


def _function_worker(settings: LiveWorkerSettings, _: str) -> Worker:
    assert settings.function is not None
    return FunctionWorker(
        settings.name,
        load_function(settings.function),
        concurrency=settings.concurrency,
        count_tokens=_counter(settings),
    )


_BUILDERS: dict[Backend, Callable[[LiveWorkerSettings, str], Worker]] = {
    "openai": _openai,
    "transformers": _transformers,
    "function": _function_worker,
}
