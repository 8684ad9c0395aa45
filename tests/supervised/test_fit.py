"""Fit: best weights, patience, schedule, and resuming bit for bit."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from supervised.fit import DivergenceError, Fit, FitSettings, Learner, Losses
from tests.supervised.nested import assert_equal


class Line:
    """Fits a line with dropout to noise; validation totals can be given, one an epoch."""

    def __init__(self, totals: list[float] | None = None) -> None:
        torch.manual_seed(0)
        self.module = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        self.optimizer = torch.optim.Adam(self.module.parameters(), lr=0.01)
        self._rows, self._totals, self._epoch = torch.randn(20, 3), totals, 0

    def _loss(self) -> torch.Tensor:
        loss: torch.Tensor = (self.module(self._rows) - 1.0).square().mean()
        return loss

    def train_epoch(self, epoch: int) -> Losses:
        self._epoch = epoch
        self.module.train()
        for _ in range(3):
            loss = self._loss()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return {"total": loss.item()}

    def measure(self) -> Losses:
        self.module.eval()
        given = self._totals[self._epoch] if self._totals else self._loss().item()
        return {"total": given, "double": 2 * given}


def make_fit(learner: Learner, *, max_epochs: int = 50, patience: int = 3, seed: int = 0) -> Fit:
    return Fit(learner, FitSettings(max_epochs=max_epochs, patience=patience, seed=seed))


def train(fit: Fit, epochs: int = 10**6) -> list[Losses]:
    """Runs so many epochs, or until the fit is done, and returns the validation losses."""
    found: list[Losses] = []
    while not fit.is_done and len(found) < epochs:
        found.append(fit.run_epoch()["val"])
    return found


def saved(fit: Fit) -> dict[str, Any]:
    """Returns its state as a file would give it back."""
    file = io.BytesIO()
    torch.save(fit.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert isinstance(state, dict)
    return state


def test_training_lowers_the_loss_to_the_last_epoch() -> None:
    fit = make_fit(Line(), max_epochs=30, patience=30)

    losses = train(fit)

    assert len(losses) == fit.epoch == 30
    assert losses[-1]["total"] < 0.5 * losses[0]["total"]
    assert fit.val_loss == losses[-1]["total"]


@given(totals=st.lists(st.integers(0, 9), min_size=12, max_size=12), patience=st.integers(1, 5))
def test_best_is_the_first_of_the_lowest_and_patience_ends(
    totals: list[int], patience: int
) -> None:
    fit = make_fit(Line([float(total) for total in totals]), max_epochs=12, patience=patience)

    seen = [loss["total"] for loss in train(fit)]

    assert seen == totals[: len(seen)]
    assert fit.best.losses == {"total": min(seen), "double": 2 * min(seen)}
    assert fit.best.epoch == seen.index(min(seen)) + 1
    assert len(seen) - fit.best.epoch <= patience
    assert len(seen) == 12 or len(seen) - fit.best.epoch == patience


def test_best_weights_are_those_of_their_epoch() -> None:
    fit, twin = make_fit(Line([3.0, 1.0, 2.0, 2.0, 2.0])), make_fit(Line([3.0, 1.0]))
    train(fit)
    train(twin, 2)

    assert fit.epoch == 5 and fit.best.epoch == 2
    assert_equal(fit.best.weights, twin.weights())
    assert not torch.equal(fit.best.weights["0.weight"], fit.weights()["0.weight"])


def test_learning_rate_is_reported_and_halves_on_a_plateau() -> None:
    fit = make_fit(Line([1.0] * 9), patience=8)

    rates = []
    while not fit.is_done:
        rates.append(fit.run_epoch()["train"]["learning_rate"])

    assert rates == [0.01] * 6 + [0.005] * 3  # 1 best epoch, 4 + 1 without gain


@pytest.mark.parametrize("cut", [1, 4, 8])
def test_fit_cut_in_two_equals_one_fit(cut: int) -> None:
    whole, first, second = (make_fit(Line(), max_epochs=9, patience=9) for _ in range(3))
    train(whole)
    train(first, cut)
    torch.manual_seed(123)

    second.load_state_dict(saved(first))
    train(second)

    assert_equal(second.state_dict(), whole.state_dict())


def test_what_others_draw_between_epochs_does_not_matter() -> None:
    alone, beside = make_fit(Line()), make_fit(Line())
    train(alone, 3)
    for _ in range(3):
        torch.rand(7)
        beside.run_epoch()

    assert_equal(alone.weights(), beside.weights())


def test_seed_decides_the_random_numbers_of_an_epoch() -> None:
    first, other = make_fit(Line(), seed=0), make_fit(Line(), seed=1)
    train(first, 1)
    train(other, 1)

    assert not torch.equal(first.weights()["0.weight"], other.weights()["0.weight"])


def test_finished_fit_stays_finished_after_loading() -> None:
    fit, again = make_fit(Line([1.0] * 9), patience=2), make_fit(Line([1.0] * 9), patience=2)
    train(fit)

    again.load_state_dict(saved(fit))

    assert again.is_done and again.epoch == 3


def test_restart_forgets_the_best_and_gives_all_epochs_again() -> None:
    fit = make_fit(Line([1.0, 1.0, 5.0, 5.0]), max_epochs=2)
    train(fit)

    fit.restart()

    assert not fit.is_done
    assert [loss["total"] for loss in train(fit)] == [5.0, 5.0]
    assert fit.best.epoch == 3 and fit.epoch == 4


@pytest.mark.parametrize("total", [math.nan, math.inf])
def test_loss_that_is_not_finite_stops_and_keeps_the_best(total: float) -> None:
    fit = make_fit(Line([2.0, 1.0, total]))

    with pytest.raises(DivergenceError, match=r"validation loss of epoch 2 is (nan|inf); lower"):
        train(fit)

    assert fit.epoch == 2 and fit.best.losses["total"] == 1.0
