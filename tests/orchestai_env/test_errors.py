"""The error tree: what callers may catch, and how a message prints."""

from __future__ import annotations

import inspect

import pytest
from gymnasium.error import DependencyNotInstalled

from orchestai_env import errors
from orchestai_env.errors import (
    ConfigError,
    CyclicWorkflowError,
    DataError,
    MissingFileError,
    OrchestAIError,
    SplitLeakError,
    UnknownWorkerError,
    WorkflowError,
    unknown_name,
)

CLASSES = [
    value
    for _, value in inspect.getmembers(errors, inspect.isclass)
    if value.__module__ == errors.__name__
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_is_ours_and_prints_its_message_as_given(kind: type[OrchestAIError]) -> None:
    assert issubclass(kind, OrchestAIError)
    assert str(kind("it's broken: 'x'")) == "it's broken: 'x'"
    assert str(kind()) == kind.__name__


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (ConfigError, ValueError),
        (WorkflowError, ValueError),
        (CyclicWorkflowError, WorkflowError),
        (UnknownWorkerError, KeyError),
        (DataError, ValueError),
        (SplitLeakError, DataError),
        (MissingFileError, FileNotFoundError),
        (errors.MaskedActionError, ValueError),
        (errors.PlanningError, RuntimeError),
        (errors.CheckpointError, ValueError),
        (errors.MissingPackageError, DependencyNotInstalled),
    ],
)
def test_error_can_be_caught_as_its_builtin(kind: type[Exception], builtin: type) -> None:
    assert issubclass(kind, builtin)


def test_tree_atop_the_module_names_every_error() -> None:
    assert errors.__doc__ is not None
    assert [kind.__name__ for kind in CLASSES if kind.__name__ not in errors.__doc__] == []


def test_unknown_name_suggests_the_nearest_and_lists_the_known() -> None:
    assert unknown_name("key", "chi", ["child", "abc"]) == (
        "unknown key 'chi'. Did you mean 'child'? Known: abc, child"
    )
    assert unknown_name("key", "zzz", ["abc"]) == "unknown key 'zzz'. Known: abc"
    assert unknown_name("index", 3, ["abc"]) == "unknown index 3. Known: abc"
