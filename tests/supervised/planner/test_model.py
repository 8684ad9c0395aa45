"""The planner's network: documented outputs, and plans that are valid however little it knows."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestai_env.workflow import is_valid_dag
from supervised.planner.model import PlannerModel
from supervised.planner.network import Outputs
from supervised.planner.spans import request_spans
from supervised.plans.dataset import PlanVocabulary, WorkflowDataset
from supervised.texts.encoder import TextEncoder
from tests.supervised.small_planners import small_planner, tiny_encoder, tiny_grammar
from tests.supervised.tiny_encoders import WORDS

WORKERS = ("ann", "bob", "cy")
INSTRUCTIONS = [
    "draw a map, then add two numbers and write a poem",
    "add two numbers",
    "write a poem and draw a map, then add a map, then write two numbers",
]
SETTINGS: list[dict[str, Any]] = [
    {},
    {"num_neighbours": 0},
    {"max_spans": 0},
    {"num_neighbours": 0, "max_spans": 0, "max_subtasks": 1},
]
NAMES = ["default", "no neighbours", "no spans", "nothing but the instruction"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    return tiny_encoder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def train() -> WorkflowDataset:
    return tiny_grammar(12, 0, workers=WORKERS)


@pytest.fixture(scope="module")
def model(train: WorkflowDataset, encoder: TextEncoder) -> PlannerModel:
    return small_planner(train, encoder, max_subtasks=4).eval()


def shapes(outputs: Outputs) -> Any:
    """Returns outputs with every tensor replaced by its dtype and shape."""
    return {
        name: shapes(value)
        if isinstance(value, dict)
        else (str(value.dtype).removeprefix("torch."), *value.shape)
        for name, value in outputs.items()
    }


def row(outputs: Outputs, b: int) -> Any:
    """Returns one row of a batch."""
    return {
        name: row(value, b) if isinstance(value, dict) else value[b]
        for name, value in outputs.items()
    }


def assert_close(first: Outputs, second: Outputs) -> None:
    """Asserts that the same outputs are there, and equal but for rounding."""
    assert list(first) == list(second)
    for name, value in first.items():
        if isinstance(value, dict):
            assert_close(value, second[name])
        else:
            torch.testing.assert_close(value, second[name], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("num_workers", [0, 3])
@pytest.mark.parametrize("batch", [1, 3])
def test_forward_gives_the_documented_outputs(
    encoder: TextEncoder, num_workers: int, batch: int
) -> None:
    workers = WORKERS[:num_workers] or (None,)
    model = small_planner(tiny_grammar(12, 0, workers=workers), encoder, max_subtasks=5).eval()
    b, n = batch, 5

    assert shapes(model(INSTRUCTIONS[:batch])) == {
        "subtask_embeddings": ("float32", b, n, 16),
        "task_types": ("float32", b, n, 3),
        "model_selections": ("float32", b, n, num_workers),
        "workflow_graph": {
            "edge_logits": ("float32", b, n, n),
            "adjacency": ("float32", b, n, n),
        },
        "stop_logits": ("float32", b, n),
        "num_subtasks": ("int64", b),
    }


@pytest.mark.parametrize("changes", SETTINGS, ids=NAMES)
def test_adjacency_is_the_chance_of_a_link_inside_the_plan_and_0_outside(
    train: WorkflowDataset, encoder: TextEncoder, changes: dict[str, Any]
) -> None:
    model = small_planner(train, encoder, **{"max_subtasks": 4} | changes).eval()
    with torch.no_grad():
        model.stop.bias.fill_(1.0)  # plans end sooner, and at different places
        outputs = model(INSTRUCTIONS)

    n, counts = model.shape.max_subtasks, outputs["num_subtasks"]
    assert ((counts >= 1) & (counts <= n)).all()
    exists = torch.arange(n) < counts[:, None]
    pairs = exists[:, :, None] & exists[:, None]
    graph = outputs["workflow_graph"]
    assert torch.equal(graph["adjacency"][pairs], graph["edge_logits"].sigmoid()[pairs])
    assert (graph["adjacency"][~pairs] == 0).all()
    assert all(torch.isfinite(outputs[name]).all() for name in ("task_types", "stop_logits"))


def test_forward_gives_each_row_as_it_gives_it_alone(
    train: WorkflowDataset, encoder: TextEncoder
) -> None:
    model = small_planner(train, encoder, max_subtasks=4).eval()
    with torch.no_grad():
        model.stop.weight.mul_(20.0)
        model.stop.bias.fill_(-20.0)

    together = model(INSTRUCTIONS)

    assert len(together["num_subtasks"].unique()) > 1, "plans of different lengths"
    for b, instruction in enumerate(INSTRUCTIONS):
        assert_close(row(together, b), row(model([instruction]), 0))


def test_forward_carries_gradients_to_every_output(model: PlannerModel) -> None:
    outputs = model(INSTRUCTIONS)
    graph = outputs["workflow_graph"]
    parts = (outputs["task_types"], outputs["stop_logits"], graph["edge_logits"])
    total = torch.stack([part.sum() for part in parts]).sum()

    weights = [model.task_type.weight, model.stop.weight, model.edge_source.weight, model.first]
    assert all((grad != 0).any() for grad in torch.autograd.grad(total, weights))


def check_plans(model: PlannerModel, instructions: list[str]) -> None:
    """Asserts what holds of every plan of every network."""
    plans = model.decode(instructions)
    library = set(model.reader.library.texts)
    assert [plan.instruction for plan in plans] == instructions
    for plan in plans:
        assert is_valid_dag(plan)
        assert all(i < j for i, j in plan.links)
        assert 1 <= len(plan.subtasks) <= model.shape.max_subtasks
        known = library | set(request_spans(plan.instruction, model.reader.max_spans))
        assert {subtask.name for subtask in plan.subtasks} <= known
        assert {subtask.type for subtask in plan.subtasks} <= set(model.vocabulary.task_types)


@settings(max_examples=25)
@given(
    st.lists(
        st.one_of(st.text(max_size=30), st.lists(st.sampled_from(WORDS)).map(" ".join)),
        min_size=1,
        max_size=3,
    )
)
@example(["", " \n\t ", "draw"])
@example(["Zeichne 地図 🗺️, dann — füge ½ hinzu!", "draw", "a\x00b \u202e c"])
@example(["same words", "same words"])
def test_untrained_network_plans_anything_validly(
    model: PlannerModel, instructions: list[str]
) -> None:
    check_plans(model, instructions)


@pytest.mark.parametrize("changes", SETTINGS, ids=NAMES)
def test_untrained_network_plans_validly_with_little_to_look_up(
    train: WorkflowDataset, encoder: TextEncoder, changes: dict[str, Any]
) -> None:
    check_plans(small_planner(train, encoder, **{"max_subtasks": 4} | changes), INSTRUCTIONS)


def test_network_of_a_lone_workflow_plans(encoder: TextEncoder) -> None:
    check_plans(small_planner(tiny_grammar(1, 0), encoder, max_subtasks=3), INSTRUCTIONS)


def test_plans_are_cut_where_similar_plans_are_longer(
    train: WorkflowDataset, encoder: TextEncoder
) -> None:
    model = small_planner(train, encoder, max_subtasks=1, num_neighbours=12)

    check_plans(model, [flow.instruction for flow in train.workflows])


def test_long_instruction_is_cut_and_the_log_says_so(
    model: PlannerModel, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        check_plans(model, ["draw a map and " * 2500])

    assert "1 of 1 texts were longer than 48 tokens and lost their end" in caplog.text


def test_no_instructions_give_no_plans(model: PlannerModel) -> None:
    assert model.decode([]) == []


def test_fine_tuned_network_reads_tokens_through_its_own_encoder(
    train: WorkflowDataset, encoder: TextEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    frozen = small_planner(train, encoder).eval()
    tuned = small_planner(train, encoder, fine_tune=True).eval()
    long = "draw a map and " * 40

    # The reader keeps its token states in float16, which is all that differs so far.
    outputs = tuned(INSTRUCTIONS)
    expected = frozen(INSTRUCTIONS)
    torch.testing.assert_close(outputs["task_types"], expected["task_types"], atol=0.01, rtol=0.01)
    frozen([long])
    num_messages = len(caplog.records)
    tuned([long])
    assert len(caplog.records) == 2 * num_messages, "what is cut is said once"
    with torch.no_grad():
        for weight in tuned.encoder.encoder.parameters():  # type: ignore[union-attr]
            weight.mul_(0.5)
    assert not torch.allclose(tuned(INSTRUCTIONS)["task_types"], expected["task_types"], atol=0.01)
    check_plans(tuned, INSTRUCTIONS)


def test_state_dict_holds_the_encoder_only_where_it_is_trained(
    train: WorkflowDataset, encoder: TextEncoder
) -> None:
    frozen = small_planner(train, encoder)
    tuned = small_planner(train, encoder, fine_tune=True)

    assert not any("encoder.encoder" in name for name in frozen.state_dict())
    assert any(name.startswith("encoder.encoder") for name in tuned.state_dict())
    assert tuned.vocabulary == PlanVocabulary(task_types=("draw", "math", "write"), workers=WORKERS)
