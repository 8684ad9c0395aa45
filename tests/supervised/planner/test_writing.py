"""Writing plans: the likeliest one, and samples that an instruction and a seed alone decide."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from supervised.planner.inputs import collate_requests
from supervised.planner.model import PlannerModel
from supervised.planner.writing import Chooser, Likeliest, Sampled, Written, write_plans
from tests.supervised.small_planners import WordBag, grammar, small_planner

INSTRUCTIONS = [
    "fetch the apples, then wash the apples and slice the figs",
    "buy the leeks",
    "cook the beans and wash the plums, then slice the plums",
]
NONE = torch.zeros(1, 1, 0, 2)


@pytest.fixture(scope="module")
def model() -> PlannerModel:
    model = small_planner(grammar(20, 0), WordBag(), max_subtasks=5).eval()
    with torch.no_grad():
        model.stop.bias.fill_(-0.5)
    return model


def sampled(instructions: list[str], **changes: Any) -> Sampled:
    arguments: dict[str, Any] = {
        "num_plans": 6,
        "max_subtasks": 5,
        "temperature": 0.7,
        "seed": 0,
    } | changes
    return Sampled(instructions, **arguments)


def write(model: PlannerModel, instructions: list[str], chooser: Chooser) -> Written:
    requests = model.reader.read(instructions)
    inputs = collate_requests(requests, model.reader.library)
    with torch.no_grad():
        return write_plans(model, model.read(inputs, requests), chooser)


def texts_of(model: PlannerModel, written: Written, row: int, instruction: str) -> list[list[str]]:
    """Returns the texts of the plans of an instruction."""
    library = model.reader.library.texts
    (request,) = model.reader.read([instruction])
    words = [*library, *request.spans]
    pairs = zip(written.texts[row].tolist(), written.num_subtasks[row].tolist(), strict=True)
    return [[words[k] for k in plan[:n]] for plan, n in pairs]


def test_likeliest_takes_the_text_that_most_of_the_chance_agrees_with() -> None:
    candidates = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [-0.3, 0.954]]])
    logits = torch.tensor([[[0.40, 0.35, 0.25]]]).log()

    assert Likeliest().text(0, logits, candidates, NONE).tolist() == [[1]]


def test_likeliest_takes_a_text_again_only_where_it_is_twice_as_likely() -> None:
    candidates = torch.eye(2)[None]
    written = torch.tensor([[[[1.0, 0.0]]]])

    for chance, expected in ((0.6, 1), (0.7, 0)):
        logits = torch.tensor([[[chance, 1 - chance]]]).log()
        assert Likeliest().text(1, logits, candidates, written).tolist() == [[expected]]


def test_likeliest_ends_when_the_plan_has_more_likely_ended() -> None:
    chooser = Likeliest()

    ended = [chooser.ends(place, torch.tensor([[0.3], [0.1]])).tolist() for place in (1, 2, 3)]

    # 0.7, 0.49 and 0.343 that the first goes on; 0.9, 0.81 and 0.729 for the second.
    assert ended == [[[False], [False]], [[True], [False]], [[True], [False]]]


def test_samples_are_as_frequent_as_the_temperature_says() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0, torch.finfo(torch.float32).min])
    chooser = sampled(["draw"], num_plans=4000, temperature=0.5)

    picked = chooser.text(0, logits.expand(1, 4000, 4), torch.zeros(1, 4, 2), NONE)
    ends = chooser.ends(1, torch.full((1, 4000), 0.2))

    found = torch.bincount(picked[0], minlength=4) / 4000
    # 0.03 is four standard errors of a share of 0.5.
    torch.testing.assert_close(found, (logits / 0.5).softmax(0), atol=0.03, rtol=0.0)
    assert found[3] == 0, "what is not there is never drawn"
    assert abs(float(ends.float().mean()) - 0.2) < 0.03


@pytest.mark.parametrize("chooser", [Likeliest(), sampled(INSTRUCTIONS)], ids=["one", "samples"])
def test_written_plans_hold_candidates_and_end_in_range(
    model: PlannerModel, chooser: Chooser
) -> None:
    written = write(model, INSTRUCTIONS, chooser)

    batch, plans, places = written.texts.shape
    assert (batch, plans) == (3, chooser.num_plans)
    assert places == written.num_subtasks.max() <= 5
    assert written.num_subtasks.min() >= 1
    assert written.embeddings.shape == (3, plans, places, 32)
    for row, text in enumerate(INSTRUCTIONS):
        for number, names in enumerate(texts_of(model, written, row, text)):
            found = written.embeddings[row, number, : len(names)].numpy()
            assert found == pytest.approx(WordBag().embed(names), abs=1e-3)


@pytest.mark.parametrize(("bias", "expected"), [(-50.0, 5), (50.0, 1)])
def test_learned_stop_alone_decides_where_plans_end(bias: float, expected: int) -> None:
    model = small_planner(grammar(20, 0), WordBag(), max_subtasks=5).eval()
    with torch.no_grad():
        model.stop.bias.fill_(bias)

    for chooser in (Likeliest(), sampled(INSTRUCTIONS)):
        counts = write(model, INSTRUCTIONS, chooser).num_subtasks
        assert torch.equal(counts, torch.full_like(counts, expected))


def test_samples_depend_on_the_instruction_alone(model: PlannerModel) -> None:
    together = write(model, INSTRUCTIONS, sampled(INSTRUCTIONS))

    for row, text in enumerate(INSTRUCTIONS):
        alone = write(model, [text], sampled([text]))
        assert texts_of(model, alone, 0, text) == texts_of(model, together, row, text)


def test_draws_of_other_instructions_are_others() -> None:
    chooser = sampled(["draw a map", "add two numbers"], num_plans=40)

    ends = chooser.ends(1, torch.full((2, 40), 0.5))

    assert not torch.equal(ends[0], ends[1])


def test_samples_depend_on_the_seed(model: PlannerModel) -> None:
    first, again = (write(model, INSTRUCTIONS, sampled(INSTRUCTIONS)) for _ in range(2))
    other = write(model, INSTRUCTIONS, sampled(INSTRUCTIONS, seed=1))

    names = [field.name for field in dataclasses.fields(Written)]
    pairs: list[tuple[Tensor, Tensor]] = [(getattr(first, n), getattr(again, n)) for n in names]
    assert all(torch.equal(one, two) for one, two in pairs)
    assert texts_of(model, first, 0, INSTRUCTIONS[0]) != texts_of(model, other, 0, INSTRUCTIONS[0])
