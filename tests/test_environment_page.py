"""docs/environment.md is what the code says, and what the code says is what it does."""

from __future__ import annotations

import importlib.util
import inspect
import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.env import OrchestAIEnv
from orchestai_env.execution_result import ExecutionResult, SubtaskResult
from orchestai_env.mo_env import OrchestAIMOEnv, OrchestAIMOVectorEnv
from orchestai_env.observation import KEYS
from orchestai_env.reward import RewardWeights
from orchestai_env.rules import EpisodeRules
from orchestai_env.state import SUMMARY
from orchestai_env.vector_env import OrchestAIVectorEnv
from tests.orchestai_env.planning.planners import ChainPlanner

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "environment.md"

CARTPOLES_HEADINGS = [
    "Description",
    "Action Space",
    "Observation Space",
    "Rewards",
    "Starting State",
    "Episode End",
    "Arguments",
    "Version History",
]


@pytest.fixture(scope="module")
def maker() -> Any:
    spec = importlib.util.spec_from_file_location("maker", ROOT / "docs/make_environment_page.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def first_cells(text: str) -> list[str]:
    """Returns the names in the first column of the tables."""
    return re.findall(r"^\| `([^`]+)` \|", text, flags=re.MULTILINE)


def test_page_is_what_make_docs_writes(maker: Any) -> None:
    assert PAGE.read_text(encoding="utf-8") == maker.environment_page(), "stale: run `make docs`"


def test_readme_links_the_page() -> None:
    assert "](docs/environment.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_docstring_has_cartpoles_headings_in_their_order(maker: Any) -> None:
    headings = list(maker.sections_of(OrchestAIEnv))
    assert [heading for heading in headings if heading in CARTPOLES_HEADINGS] == CARTPOLES_HEADINGS
    assert headings[-1] == "Version History"


@pytest.mark.parametrize("record", [EpisodeRules, RewardWeights, ExecutionResult, SubtaskResult])
def test_page_says_what_every_field_means(maker: Any, record: type) -> None:
    rows = first_cells(PAGE.read_text(encoding="utf-8"))
    docs = maker.field_docs(record)

    assert set(docs) <= set(rows)
    assert [name for name, (_, meaning) in docs.items() if not meaning] == []


def test_page_names_every_column_and_every_key() -> None:
    rows = first_cells(PAGE.read_text(encoding="utf-8"))
    layout = OrchestAIEnv().observation_layout
    for names in layout.feature_names.values():
        for name in names:
            assert name in rows or (name.startswith("type_") and "type_NAME" in rows), name
    assert set(KEYS) <= set(rows)


@pytest.mark.parametrize("planner", [None, ChainPlanner()], ids=["annotated", "planned"])
@pytest.mark.parametrize("kind", [OrchestAIEnv, OrchestAIMOEnv])
def test_info_has_the_keys_that_the_docstring_names(
    maker: Any, kind: type[OrchestAIEnv], planner: ChainPlanner | None
) -> None:
    table = maker.sections_of(OrchestAIEnv)["Info Keys"]
    always = set(re.findall(r"^\| `(\w+)` \| always", table, flags=re.MULTILINE))
    planned = set(re.findall(r"^\| `(\w+)` \| with a planner", table, flags=re.MULTILINE))
    env = kind(builtin_dataset("validation", num_workflows=5), planner=planner)
    _, info = env.reset(seed=0)
    assert set(info) == (always if planner is None else always | planned)
    info.pop("plan", None)
    done = False
    while not done:
        assert set(info) == always
        _, _, terminated, truncated, info = env.step(0)
        done = terminated or truncated
    assert set(info) | (planned if planner is None else set()) == set(first_cells(table))


def test_reward_terms_are_0_after_a_reset() -> None:
    env = OrchestAIEnv(builtin_dataset("validation", num_workflows=5), max_steps=1)
    env.reset(seed=0)
    _, reward, *_ = env.step(0)
    _, info = env.reset()

    assert reward < 0.0
    assert set(info["reward_terms"].values()) == {0.0}


@pytest.mark.parametrize("kind", [OrchestAIVectorEnv, OrchestAIMOVectorEnv])
def test_batched_info_has_the_keys_that_the_docstring_names(kind: type[OrchestAIVectorEnv]) -> None:
    text = inspect.cleandoc(OrchestAIVectorEnv.__doc__ or "")
    venv = kind(2, builtin_dataset("validation", num_workflows=5))
    _, info = venv.reset(seed=0)
    assert set(info) == {"action_mask"}
    while "final_info" not in info:
        *_, info = venv.step(np.zeros(2, np.int64))

    named = set(first_cells(text))
    assert set(info) == named | {"_final_obs", "_final_info"}
    assert {key for key in info["final_info"] if not key.startswith("_")} == set(SUMMARY)
    assert [key for key in SUMMARY if f"`{key}`" not in text] == []


def test_shapes_of_the_docstrings_table_are_those_of_the_spaces(maker: Any) -> None:
    env = OrchestAIEnv()
    assert isinstance(env.observation_space, gym.spaces.Dict)
    spaces = env.observation_space.spaces
    sizes = {
        "N": env.dataset.workflows.max_subtasks,
        "W": len(env.dataset.pool),
        "T + 11": len(env.dataset.task_types) + 11,
        "D": 384,
    }
    table = maker.sections_of(OrchestAIEnv)["Observation Space"]
    rows = re.findall(r"^\| `(\w+)` \| \(([^)]+)\)", table, flags=re.MULTILINE)

    assert [key for key, _ in rows] == list(KEYS)
    for key, shape in rows:
        if key in spaces:
            lengths = [part.strip() for part in shape.split(",") if part.strip()]
            assert spaces[key].shape == tuple(
                sizes[length] if length in sizes else int(length) for length in lengths
            )
