"""Settings files: read, and every way they can be wrong, each in one line."""

from __future__ import annotations

from pathlib import Path

import pydantic
import pytest

from orchestai_env.errors import ConfigError, MissingFileError
from orchestai_env.reward import RewardWeights
from orchestai_env.settings import load_yaml, parse_settings


class Inner(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    learning_rate: float = 1.0
    batch_size: int = 1


class Numbers(pydantic.RootModel[dict[str, float]]):
    pass


class Outer(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    training: Inner = Inner()
    stages: list[Inner] = []
    other: Inner | None = None
    named: dict[str, Inner] = {}
    numbers: Numbers = Numbers({})


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    return path


def test_yaml_is_read_into_the_record(tmp_path: Path) -> None:
    path = write(tmp_path, "training: {learning_rate: 1.0e-4}\nother: {batch_size: 3}\n")

    assert load_yaml(path, Outer) == load_yaml(str(path), Outer)
    assert load_yaml(path, Outer) == Outer(
        training=Inner(learning_rate=1e-4), other=Inner(batch_size=3)
    )


def test_number_that_yaml_reads_as_text_is_still_a_number(tmp_path: Path) -> None:
    assert load_yaml(write(tmp_path, "learning_rate: 1e-4\n"), Inner).learning_rate == 1e-4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trainin: {}", r": trainin: unknown key 'trainin'\. Did you mean 'training'\? Known: nam"),
        (
            "training: {learning_rat: 1}",
            r": training\.learning_rat: unknown key 'learning_rat'\. Did you mean "
            r"'learning_rate'\? Known: batch_size, learning_rate$",
        ),
        ("stages: [{}, {batchsize: 1}]", r": stages\.1\.batchsize: .*mean 'batch_size'\?"),
        ("other: {batchsize: 1}", r": other\.batchsize: .*mean 'batch_size'\?"),
        ("named: {x: {batchsize: 1}}", r": named\.x\.batchsize: .*mean 'batch_size'\?"),
        ("training: {batch_size: big}", r": training\.batch_size: .*valid integer.*; got 'big'$"),
        ("training: {batch_size: 1.5}", r": training\.batch_size: .*got 1\.5$"),
        ("training: 3", r": training: .*got 3$"),
        ("stages: {}", r": stages: .*list; got \{\}$"),
        ("numbers: {a: x}", r": numbers\.a: .*number.*; got 'x'$"),
        (
            "training: {batch_size: [" + "1, " * 50 + "]}",
            r": training\.batch_size: .*got \[1, 1.*\.\.\.$",
        ),
        ("a: 1\nb: 2\nc: 3", r": a: unknown key 'a'.* \(and 2 more\)$"),
    ],
)
def test_wrong_key_is_named_by_file_and_full_path(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"settings\.yaml" + message) as caught:
        load_yaml(write(tmp_path, text), Outer)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["a: [1", "a: b: c", "\ttab: 1", "{", "a: !!python/object:x {}"])
def test_text_that_is_no_yaml_is_named_in_one_line(text: str, tmp_path: Path) -> None:
    message = r"settings\.yaml: expected YAML, got text that breaks: .*line 1"
    with pytest.raises(ConfigError, match=message) as caught:
        load_yaml(write(tmp_path, text), Outer)
    assert "\n" not in str(caught.value)


def test_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_bytes(b"a: \xff\xfe\xfa")
    with pytest.raises(ConfigError, match=r"settings\.yaml: expected YAML, got text that breaks"):
        load_yaml(path, Outer)


@pytest.mark.parametrize("text", ["", "- 1\n- 2", "just text", "3"])
def test_yaml_that_is_no_mapping_is_named(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"settings\.yaml: expected a mapping of settings, got "):
        load_yaml(write(tmp_path, text), Outer)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"gone\.yaml: no such settings file; check the pat"):
        load_yaml(tmp_path / "gone.yaml", Outer)
    with pytest.raises(MissingFileError, match="no such settings file"):
        load_yaml(tmp_path, Outer)


def test_parse_settings_names_where_they_came_from() -> None:
    with pytest.raises(ConfigError, match=r"^the call: cost_weight: .*greater than or equal to 0"):
        parse_settings({"cost_weight": -1}, RewardWeights, where="the call")
    assert parse_settings({}, RewardWeights, where="the call") == RewardWeights()
