"""Files of workers: what they may hold, what is refused, and what is built of them."""

from __future__ import annotations

import asyncio
import builtins
import pickle
import subprocess
import sys
import textwrap
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
import pytest

from orchestai_env.errors import ConfigError, MissingFileError, MissingPackageError
from orchestai_env.execution.workers.function_worker import FunctionWorker
from orchestai_env.execution.workers.openai_worker import OpenAIWorker
from orchestai_env.execution.workers.transformers_worker import TransformersWorker
from orchestai_env.execution.workers.worker import Answer, CallRequest, Worker
from orchestai_env.execution.workers.worker_settings import (
    LivePool,
    LiveWorkerSettings,
    load_workers,
)
from tests.orchestai_env.execution.calling import KEY, REQUEST
from tests.orchestai_env.execution.openai_server import OpenAIServer
from tests.orchestai_env.execution.tiny_language_model import write_tiny_language_model

PATH = "tests.orchestai_env.execution.workers.test_worker_settings"


def answer_briefly(request: CallRequest) -> str:
    return f"{request.task_type} done"


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    """Returns a function that writes workers.yaml."""

    def write(text: str) -> Path:
        path = tmp_path / "workers.yaml"
        path.write_text(textwrap.dedent(text))
        return path

    return write


def test_file_is_read_into_settings(written: Callable[[str], Path]) -> None:
    path = written("""
        workers:
          - name: mini
            model: gpt-4o-mini
            api_key_env: MINI_KEY
            input_usd_per_mtok: 1
            output_usd_per_mtok: 0.6
            reasoning_usd_per_mtok: 2.0
            timeout_s: 20
            capabilities: [math, code]
          - {name: f, kind: data, backend: function, function: "a.b:c", concurrency: 3}
          - {name: t, backend: transformers, model: ./folder}
    """)
    pool = load_workers(path)
    mini, function, local = pool.specs
    assert (mini.backend, mini.kind, mini.timeout_s) == ("openai", "llm", 20.0)
    assert (mini.base_url, mini.concurrency) == ("https://api.openai.com/v1", 8)
    assert (mini.cached_price, mini.reasoning_price) == (1.0, 2.0)
    assert (mini.serves("math"), mini.serves("planning")) == (True, False)
    assert function.serves("anything")
    assert local.concurrency == 1
    assert pool.env_file == path.parent / ".env"
    assert pickle.loads(pickle.dumps(pool)) == pool


def test_pool_is_what_the_environment_takes(written: Callable[[str], Path]) -> None:
    path = written("""
        workers:
          - {name: a, model: m, input_usd_per_mtok: 0.5, output_usd_per_mtok: 2, concurrency: 4}
          - {name: b, kind: vision, model: m}
    """)
    pool = load_workers(path).pool()
    assert pool.names == ("a", "b")
    first, second = pool.workers
    assert (first.input_usd_per_mtok, first.output_usd_per_mtok) == (0.5, 2.0)
    assert (first.concurrency, second.kind) == (4, "vision")


def test_pool_says_who_serves_what_and_how_each_is_called(
    written: Callable[[str], Path],
) -> None:
    path = written("""
        workers:
          - {name: a, model: m, capabilities: [math, code], fallback: b, max_tries: 2}
          - {name: b, model: m, timeout_s: 5, concurrency: 3}
    """)
    pool = load_workers(path)
    assert pool.capable(["math", "planning"]).tolist() == [[True, True], [False, True]]
    settings = pool.call_settings()
    assert (settings["a"].fallback, settings["a"].max_tries) == ("b", 2)
    assert (settings["b"].timeout_s, settings["b"].concurrency) == (5.0, 3)


WRONG = [
    ("name: a, model: m, modle: x", r"workers\.0\.modle: unknown key 'modle'. Did you mean 'model"),
    ("name: a", r"worker 'a': backend openai needs the key 'model'; add it"),
    ("name: a, backend: transformers", r"backend transformers needs the key 'model'"),
    ("name: a, backend: function", r"backend function needs the key 'function'; add it"),
    ("model: m", r"workers\.0\.name: this key is required"),
    ("name: ' ', model: m", r"workers\.0\.name: String should have at least 1 character"),
    ("name: a, backend: grpc", r"workers\.0\.backend: Input should be 'openai', 'transformers'"),
    ("name: a, model: m, function: 'a:b'", r"backend openai does not use the key 'function'"),
    ("name: a, backend: function, function: 'a:b', base_url: 'http://x'", r"use the key 'base_url"),
    ("name: a, backend: transformers, model: m, tokenizer: x", r"does not use the key 'tokenizer'"),
    ("name: a, backend: function, function: noname", r"function: expected a callable as package"),
    ("name: a, backend: transformers, model: m, concurrency: 2", r"expected concurrency 1, as a p"),
    ("name: a, model: m, base_url: 'localhost:80'", r"base_url: expected a URL like http:.*st:80'"),
    ("name: a, model: m, base_url: 'ftp://x/v1'", r"base_url: expected a URL like http://localh"),
    ("name: a, model: m, base_url: 'http://'", r"base_url: expected a URL like http://localhost"),
    ("name: a, model: m, base_url: 'http://x:99999'", r"base_url: expected a URL like http://lo"),
    ("name: a, model: m, base_url: 'http://[x'", r"base_url: expected a URL like http://localho"),
    ("name: a, model: m, base_url: 'http://x y'", r"base_url: expected a URL like http://localh"),
    ("name: a, model: m, base_url: 'http://x?a=b'", r"without user, password, query or fragment"),
    ("name: a, model: m, api_key_env: a b", r"expected the name of a variable in capitals, like"),
    ("name: a, model: m, base_url: 7", r"base_url: Input should be a valid string; got 7"),
    ("name: a, model: m, input_usd_per_mtok: -1", r"greater than or equal to 0; got -1"),
    ("name: a, model: m, input_usd_per_mtok: .inf", r"input_usd_per_mtok: Input should be a fini"),
    ("name: a, model: m, input_usd_per_mtok: '1'", r"Input should be a valid number; got '1'"),
    ("name: a, model: m, concurrency: 0", r"concurrency: Input should be greater than or equal"),
    ("name: a, model: m, concurrency: 1.5", r"concurrency: Input should be a valid integer"),
    ("name: a, model: m, timeout_s: 0", r"timeout_s: Input should be greater than 0; got 0"),
    ("name: a, model: m, max_output_tokens: 0", r"max_output_tokens: Input should be greater"),
    ("name: a, model: m, capabilities: math", r"capabilities: Input should be a valid tuple"),
    ("name: a, model: m, capabilities: [3]", r"capabilities\.0: Input should be a valid string"),
    ("name: a, model: m, max_tries: 0", r"max_tries: Input should be greater than or equal to 1"),
    ("name: a, model: m}, {name: a, model: n", r"worker names must be unique, got twice: a"),
    ("name: ab, model: m, fallback: ba", r"worker 'ab', fallback: unknown worker 'ba'"),
]


@pytest.mark.parametrize(("worker", "match"), WRONG, ids=[worker for worker, _ in WRONG])
def test_wrong_settings_are_refused_in_one_line(
    written: Callable[[str], Path], worker: str, match: str
) -> None:
    path = written(f"workers: [{{{worker}}}]")
    with pytest.raises(ConfigError, match=match) as caught:
        load_workers(path)
    assert str(caught.value).startswith(f"{path}: workers")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("workers: []", "expected at least one worker, got none"),
        ("pool: []", "unknown key 'pool'|workers: this key is required"),
        ("- name: a", "expected a mapping of settings"),
        ("workers: [{", "expected YAML"),
    ],
)
def test_files_of_another_form_are_refused(
    written: Callable[[str], Path], text: str, match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        load_workers(written(text))


def test_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no such settings file"):
        load_workers(tmp_path / "workers.yaml")


@pytest.mark.parametrize(
    "worker",
    [
        f"name: a, model: m, api_key: {KEY}",
        f"name: a, model: m, api_key_env: {KEY}",
        f"name: a, model: m, api_key_env: {KEY.replace('-', '_')}",
        f"name: a, model: m, base_url: 'https://user:{KEY}@host/v1'",
        f"name: a, model: m, base_url: 'ftp://user:{KEY}@host/v1'",
    ],
)
def test_key_in_the_wrong_place_is_refused_unseen(
    written: Callable[[str], Path], worker: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_workers(written(f"workers: [{{{worker}}}]"))
    text = "".join(traceback.format_exception(caught.value))
    assert KEY not in text
    assert KEY.replace("-", "_") not in text


def test_workers_are_built_and_called_with_keys_from_beside_the_file(
    written: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MINI_KEY", raising=False)

    async def run() -> None:
        async with OpenAIServer(answer="42") as server:
            path = written(f"""
                workers:
                  - {{name: a, model: m, base_url: "{server.base_url}", api_key_env: MINI_KEY}}
                  - {{name: f, backend: function, function: "{PATH}:answer_briefly"}}
            """)
            (path.parent / ".env").write_text(f"MINI_KEY={KEY}\n")
            pool = load_workers(path)
            workers = pool.build()
            assert list(workers) == ["a", "f"] == [worker.name for worker in workers.values()]
            assert all(isinstance(worker, Worker) for worker in workers.values())
            texts = [(await worker.call(REQUEST)).text for worker in workers.values()]
            assert texts == ["42", "math done"]
            assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
            assert KEY not in repr(pool) + repr(workers) + pool.model_dump_json()
            for worker in workers.values():
                await worker.close()

    asyncio.run(run())


def test_missing_key_is_told_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINI_KEY", raising=False)
    spec = LiveWorkerSettings(name="a", model="m", api_key_env="MINI_KEY")
    with pytest.raises(ConfigError, match=r"MINI_KEY, which are not set; export MINI_KEY=\.\.\.$"):
        LivePool(specs=(spec,)).build()


def test_pool_made_in_python_is_checked_too() -> None:
    spec = LiveWorkerSettings(name="a", model="m")
    with pytest.raises(pydantic.ValidationError, match="must be unique, got twice: a"):
        LivePool(specs=(spec, spec))


def test_each_backend_has_its_worker(tmp_path: Path) -> None:
    folder = write_tiny_language_model(tmp_path)
    tokenizer = str(folder / "tokenizer.json")
    specs = (
        LiveWorkerSettings(name="a", model="m", tokenizer=tokenizer),
        LiveWorkerSettings(name="t", backend="transformers", model=str(folder), concurrency=1),
        LiveWorkerSettings(
            name="f", backend="function", function=f"{PATH}:answer_briefly", tokenizer=tokenizer
        ),
    )

    async def run() -> None:
        workers = LivePool(specs=specs).build()
        kinds = [OpenAIWorker, TransformersWorker, FunctionWorker]
        assert [type(worker) for worker in workers.values()] == kinds
        answer = await workers["f"].call(REQUEST)
        assert isinstance(answer, Answer)
        assert answer.usage.output_tokens == 2
        for worker in workers.values():
            await worker.close()

    asyncio.run(run())


@pytest.mark.parametrize(("package", "extra"), [("openai", "live"), ("transformers", "train")])
def test_missing_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, package: str, extra: str
) -> None:
    imported = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name.endswith(f".{package}_worker"):
            raise ModuleNotFoundError(f"no {package}", name=package)
        return imported(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    spec = LiveWorkerSettings.model_validate({"name": "a", "backend": package, "model": "m"})
    with pytest.raises(MissingPackageError, match=rf"need {package}.*orchestai-env\[{extra}\]"):
        LivePool(specs=(spec,)).build()


def test_settings_are_read_without_the_packages_of_backends() -> None:
    code = (
        "import sys, orchestai_env.execution.workers.worker_settings\n"
        "import orchestai_env.execution.workers.pricing\n"
        "print(sorted({'openai', 'transformers', 'torch', 'dotenv'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
