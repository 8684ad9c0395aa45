"""Writes docs/environment.md from docstrings, spaces and settings; `make docs` runs it.

The class docstring of OrchestAIEnv is the specification, and everything else is said once where it
is defined: columns in feature_columns.py, rules in rules.py, weights in reward.py, results in
execution_result.py. A test fails where the page is out of date.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pydantic

from orchestai_env import (
    OrchestAIEnv,
    OrchestAIMOEnv,
    OrchestAIMOVectorEnv,
    OrchestAIVectorEnv,
    feature_columns,
)
from orchestai_env.execution_result import ExecutionResult, SubtaskResult
from orchestai_env.feature_columns import CONTEXT_COLUMNS, WORKER_COLUMNS, subtask_columns
from orchestai_env.reward import RewardWeights
from orchestai_env.rules import EpisodeRules

PAGE = Path(__file__).with_name("environment.md")

_HEAD = """\
# OrchestAI-v0

The specification of the environment. How it is made and stepped: [README](../README.md); with real
workers: [live.md](live.md). `OrchestAI-MO-v0` and the batched forms follow below.

Made by `make docs` from the docstrings and the code, and tested to be what they say: edit those,
not this page.
"""


def environment_page() -> str:
    """Returns the page as Markdown."""
    env = OrchestAIEnv()
    sections = sections_of(OrchestAIEnv)
    lead, history = sections.pop(""), sections.pop("Version History")
    appendices = {
        "Action Space": _action_space(env),
        "Observation Space": _observation_space(env),
        "Rewards": _settings_section(RewardWeights),
        "Arguments": _settings_section(EpisodeRules),
        "Info Keys": "\n\n".join(map(_record_section, (ExecutionResult, SubtaskResult))),
        "Copies and Memory": _memory(env),
    }
    parts = [_HEAD, lead]
    for heading, text in sections.items():
        parts += [f"## {heading}", text, appendices.pop(heading, "")]
    if appendices:
        raise KeyError(f"OrchestAIEnv's docstring has no section {', '.join(appendices)}")
    for kind in (OrchestAIVectorEnv, OrchestAIMOEnv, OrchestAIMOVectorEnv):
        parts += [f"## {kind.__name__}", _demoted(inspect.cleandoc(kind.__doc__ or ""))]
    parts += ["## Version History", history]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def sections_of(documented: type) -> dict[str, str]:
    """Returns heading -> text of a class docstring, in order; what comes first is under ""."""
    parts = re.split(r"^## (.+)$", inspect.cleandoc(documented.__doc__ or ""), flags=re.MULTILINE)
    texts = [part.strip() for part in parts]
    return {"": texts[0]} | dict(zip(texts[1::2], texts[2::2], strict=True))


def field_docs(record: type) -> dict[str, tuple[str, str]]:
    """Returns field -> (type, docstring) of a record, as its source has them."""
    (tree,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(record))).body
    assert isinstance(tree, ast.ClassDef)
    fields = {}
    for item, after in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            text = ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                text = " ".join(str(after.value.value).split())
            fields[item.target.id] = (ast.unparse(item.annotation), text)
    return fields


def _action_space(env: OrchestAIEnv) -> str:
    return f"With the built-in data: `Discrete({env.action_space.n})`."


def _observation_space(env: OrchestAIEnv) -> str:
    assert isinstance(env.observation_space, gym.spaces.Dict)
    rows = [(f"`{key}`", *_box(space)) for key, space in env.observation_space.spaces.items()]
    task_types = f"{len(env.dataset.task_types)} task types"
    columns = {
        "context": CONTEXT_COLUMNS,
        "workers": WORKER_COLUMNS,
        "subtasks": subtask_columns(("NAME",)),
    }
    return "\n\n".join(
        [
            f"### Spaces of the built-in data ({task_types})",
            _table(("key", "shape", "dtype", "range"), rows),
            "### Columns",
            inspect.cleandoc(feature_columns.__doc__ or "").partition("\n\n")[2],
            *(_columns(key, table) for key, table in columns.items()),
        ]
    )


def _box(space: gym.Space[Any]) -> tuple[str, str, str]:
    """Returns shape, dtype and range of a Box with equal bounds throughout."""
    assert isinstance(space, gym.spaces.Box)
    low, high = np.unique(space.low), np.unique(space.high)
    return str(space.shape), str(space.dtype), f"{low.item():g}..{high.item():g}"


def _columns(key: str, columns: Mapping[str, str]) -> str:
    rows = [(f"`{name}`", text) for name, text in columns.items()]
    return _table((f"column of `{key}`", "content"), rows)


def _settings_section(model: type[pydantic.BaseModel]) -> str:
    """Returns the docstring of a settings record and a table of its fields."""
    properties = model.model_json_schema()["properties"]
    rows = [
        (f"`{name}`", f"`{properties[name]['default']!r}`", _allowed(properties[name]), text)
        for name, (_, text) in field_docs(model).items()
    ]
    about = inspect.cleandoc(model.__doc__ or "")
    table = _table(("field", "default", "allowed", "meaning"), rows)
    return f"### {model.__name__}\n\n{about}\n\n{table}"


def _allowed(schema: Mapping[str, Any]) -> str:
    """Returns what a field may be, in words, from its JSON schema."""
    if "anyOf" in schema:
        return " or ".join(map(_allowed, schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(f'`"{value}"`' for value in schema["enum"])
    kind = {"integer": "whole number", "number": "number", "boolean": "bool", "null": "None"}
    words = kind[schema["type"]]
    if "exclusiveMinimum" in schema:
        return f"{words} > {schema['exclusiveMinimum']:g}"
    if "maximum" in schema:
        return f"{words} {schema['minimum']:g}..{schema['maximum']:g}"
    return f"{words} >= {schema['minimum']:g}" if "minimum" in schema else words


def _record_section(record: type) -> str:
    """Returns the docstring of a result record and a table of its fields."""
    rows = [
        (f"`{name}`", f"`{annotation}`".replace("|", "\\|"), text)
        for name, (annotation, text) in field_docs(record).items()
        if not name.startswith("_")
    ]
    about = inspect.cleandoc(record.__doc__ or "")
    return f"### {record.__name__}\n\n{about}\n\n{_table(('field', 'type', 'meaning'), rows)}"


def _memory(env: OrchestAIEnv) -> str:
    assert isinstance(env.observation_space, gym.spaces.Dict)
    sizes = {
        key: int(np.prod(space.shape or ())) * np.dtype(space.dtype).itemsize
        for key, space in env.observation_space.spaces.items()
    }
    plain = sum(size for key, size in sizes.items() if key not in ("instruction", "subtask"))
    return (
        f"An observation of the built-in data takes {sum(sizes.values()):,} bytes, {plain:,} of "
        "them without the embeddings."
    )


def _demoted(text: str) -> str:
    """Returns a docstring with its headings one level lower."""
    return re.sub(r"^## ", "### ", text, flags=re.MULTILINE)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    PAGE.write_text(environment_page(), encoding="utf-8")
    print(f"wrote {PAGE}")
