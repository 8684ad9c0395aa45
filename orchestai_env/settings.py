"""Settings: YAML files read into frozen pydantic records, with one clear line for a wrong key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pydantic
import yaml

from orchestai_env.errors import ConfigError, MissingFileError, shown, unknown_name

Settings = TypeVar("Settings", bound=pydantic.BaseModel)


class StrictSettings(pydantic.BaseModel):
    """A frozen record whose numbers are numbers: neither "3" nor True is taken for one.

    A whole number may stand for a float, and a scalar of numpy for one of Python.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _without_numpy(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        return {k: v.item() if isinstance(v, np.generic) else v for k, v in data.items()}


def load_yaml(path: str | Path, model: type[Settings]) -> Settings:
    """Reads a YAML file into a settings record.

    Raises:
        MissingFileError: there is no such file.
        ConfigError: the file is no YAML, or a key is unknown, mistyped or out of range; the
            message has the file and the full path of the key.
    """
    return parse_settings(read_yaml(path), model, where=str(path))


def read_yaml(path: str | Path) -> Mapping[str, Any]:
    """Reads a YAML file that holds a mapping.

    Raises:
        MissingFileError: there is no such file.
        ConfigError: the file is no YAML, or no mapping.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"{path}: no such settings file; check the path")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: expected YAML, got text that breaks: {reason}") from None
    if not isinstance(data, Mapping):
        raise ConfigError(f"{path}: expected a mapping of settings, got {shown(data)}")
    return data


def parse_settings(data: Mapping[str, Any], model: type[Settings], *, where: str) -> Settings:
    """Validates a mapping against a settings record.

    Args:
        data: nested settings, as YAML gives them.
        model: the record; unknown keys are refused.
        where: file or call that the settings came from, for the message.
    Raises:
        ConfigError: names the first wrong key by its full path, and how many more there are.
    """
    try:
        return model.model_validate(data)
    except pydantic.ValidationError as error:
        problems = error.errors(include_url=False)
        first = _one_line(problems[0], model)
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ConfigError(f"{where}: {first}{more}") from None


def _one_line(problem: Any, model: type[pydantic.BaseModel]) -> str:
    key = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        *parents, name = problem["loc"]
        known = _fields_at(model, parents)
        return f"{key}: " + unknown_name("key", name, known)
    expected = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "missing":
        return f"{key}: this key is required; add it"
    return f"{key or 'settings'}: {expected}; got {shown(problem['input'])}"


def _fields_at(model: type[pydantic.BaseModel], path: list[str | int]) -> list[str]:
    """Returns the keys that the record nested at `path` knows."""
    current: Any = model
    for part in path:
        fields = getattr(current, "model_fields", {})
        if part in fields:
            current = _record_in(fields[part].annotation)
    return list(getattr(current, "model_fields", {}))


def _record_in(annotation: Any) -> Any:
    """Finds the settings record inside an annotation such as `Record | None` or `list[Record]`."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.RootModel):
        return _record_in(annotation.model_fields["root"].annotation)
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _record_in(argument)
        if found is not None:
            return found
    return None
