"""WorkerSpec and WorkerPool."""

from __future__ import annotations

from typing import Any

import pydantic
import pytest

from orchestai_env.errors import ConfigError, UnknownWorkerError
from orchestai_env.settings import parse_settings
from orchestai_env.workers import WorkerPool, WorkerSpec, milliseconds_to_us


class Settings(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    workers: WorkerPool


def read(*workers: dict[str, Any]) -> WorkerPool:
    return parse_settings({"workers": list(workers)}, Settings, where="here").workers


def test_pool_keeps_order_and_finds_names() -> None:
    pool = read({"name": "b"}, {"name": "a"})

    assert len(pool) == 2
    assert pool.names == ("b", "a")
    assert [worker.name for worker in pool.workers] == ["b", "a"]
    assert pool.index("a") == 1


def test_pool_unknown_worker_is_named_with_the_nearest() -> None:
    message = r"^unknown worker 'gpt-4'\. Did you mean 'gpt-4o'\? Known: claude, gpt-4o$"
    with pytest.raises(UnknownWorkerError, match=message):
        read({"name": "gpt-4o"}, {"name": "claude"}).index("gpt-4")


def test_pool_unknown_worker_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        read({"name": "a"}).index("b")


def test_pool_without_workers_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^here: workers: expected at least one worker"):
        read()


def test_pool_with_a_name_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="worker names must be unique, got twice: a, b"):
        read({"name": "a"}, {"name": "b"}, {"name": "b"}, {"name": "a"})


GOOD_SKILL = {"success": 0.5, "output_tokens": 10, "source": "made up"}


@pytest.mark.parametrize(
    ("worker", "message"),
    [
        ({}, r"^here: workers\.1\.name: this key is required; add it$"),
        ({"name": "x", "kind": "robot"}, r"workers\.1\.kind: .*'llm'.*; got 'robot'"),
        ({"name": "x", "concurrency": 0}, r"workers\.1\.concurrency: .*got 0"),
        ({"name": "x", "tokens_per_s": 0}, r"workers\.1\.tokens_per_s: .*got 0"),
        ({"name": "x", "first_token_ms": -1}, r"workers\.1\.first_token_ms: .*got -1"),
        ({"name": "x", "input_usd_per_mtok": float("inf")}, r"input_usd_per_mtok: .*got inf"),
        ({"name": "x", "concurency": 1}, r"workers\.1\.concurency: .*mean 'concurrency'\?"),
        (
            {"name": "x", "skills": {"math": GOOD_SKILL | {"success": 1}}},
            r"workers\.1\.skills\.math\.success: .*less than 1; got 1",
        ),
        (
            {"name": "x", "skills": {"math": GOOD_SKILL | {"succes": 1}}},
            r"workers\.1\.skills\.math\.succes: .*mean 'success'\?",
        ),
    ],
)
def test_wrong_worker_is_named_by_its_full_key(worker: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read({"name": "good"}, worker)


def test_worker_defaults_never_bind() -> None:
    worker = WorkerSpec(name="x")

    assert worker.concurrency >= 1_000_000
    assert worker.input_usd_per_mtok == worker.output_usd_per_mtok == worker.first_token_ms == 0.0


@pytest.mark.parametrize(
    ("milliseconds", "us"), [(0.0, 0), (1.0, 1000), (0.0004, 0), (0.0005, 1), (1234.5678, 1234568)]
)
def test_milliseconds_to_us_rounds_half_up(milliseconds: float, us: int) -> None:
    assert milliseconds_to_us(milliseconds) == us


@pytest.mark.parametrize("milliseconds", [-1.0, float("nan"), float("inf")])
def test_milliseconds_to_us_refuses_what_is_no_time(milliseconds: float) -> None:
    with pytest.raises(ConfigError, match="expected a time >= 0 ms, got"):
        milliseconds_to_us(milliseconds)
