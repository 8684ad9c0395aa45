"""The likelihood of logged successes: exact where it can be checked, and a right gradient."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr

from orchestai_env.datasets.calibration import likelihood
from orchestai_env.datasets.calibration.likelihood import (
    Parameters,
    log_chances,
    log_likelihood,
    seen_courses,
)
from orchestai_env.datasets.calibration.log_table import LogTable
from orchestai_env.datasets.calibration.patterns import (
    Patterns,
    count_patterns,
    prefix_patterns,
)
from orchestai_env.datasets.calibration.repeats import RepeatTable

SHARED = (0.85, 0.5)


def parameters_of(
    probits: Any, *, spread: float = 0.8, kinship: Any = 0.0, unsolvable: float = 0.0
) -> Parameters:
    """Returns parameters whose pairs differ in skill, and perhaps in kinship."""
    probit = np.array(probits, float)
    shared = np.array([*SHARED, unsolvable])
    logs, kin = np.full(len(probit), np.log(spread)), np.zeros(len(probit)) + kinship
    return Parameters(probit, logs, kin, shared)


def courses(*factors: list[tuple[int, int, int]], lost: float = 0.0) -> Patterns:
    """Returns a row per list of (cell, failures, successes)."""
    flat = [(r, *factor) for r, row in enumerate(factors) for factor in row]
    row, cell, failures, successes = (np.array(column) for column in zip(*flat, strict=True))
    return Patterns(
        weight=np.ones(len(factors)),
        lost_quality=np.full(len(factors), lost),
        row=row,
        cell=cell,
        failures=failures,
        successes=successes,
    )


@pytest.mark.parametrize("correlation", [0.02, 0.3, 0.7, 0.97, 0.998])
@pytest.mark.parametrize(("failures", "successes"), [(2, 0), (1, 1), (3, 1), (5, 0)])
def test_repeat_table_equals_a_fine_integral(
    correlation: float, failures: int, successes: int
) -> None:
    nodes = np.linspace(-8.0, 8.0, 40_001)
    weights = np.exp(-0.5 * nodes**2)
    weights /= weights.sum()
    logit = float(np.log(correlation / (1.0 - correlation)))
    margins = np.linspace(-2.5, 2.5, 23)
    found, _, _ = RepeatTable(failures, successes, logit)(margins)
    u = (margins[:, None] + np.sqrt(correlation) * nodes) / np.sqrt(1.0 - correlation)
    exact = (ndtr(-u) ** failures * ndtr(u) ** successes) @ weights
    np.testing.assert_allclose(np.exp(found), exact, rtol=2e-4, atol=1e-9)


def test_repeat_table_has_the_derivatives_of_what_it_returns() -> None:
    margins = np.linspace(-2.0, 2.0, 9)
    here = RepeatTable(2, 1, 0.85)(margins)
    ahead, behind = (RepeatTable(2, 1, 0.85)(margins + step)[0] for step in (1e-5, -1e-5))
    np.testing.assert_allclose(here[1], (ahead - behind) / 2e-5, rtol=1e-5)
    more, less = (RepeatTable(2, 1, 0.85 + step)(margins)[0] for step in (1e-3, -1e-3))
    np.testing.assert_allclose(here[2], (more - less) / 2e-3, rtol=1e-3, atol=1e-7)


def test_first_call_succeeds_as_the_skill_states() -> None:
    found = log_chances(courses([(0, 0, 1)]), parameters_of([0.6]))
    assert np.exp(found[0]) == pytest.approx(ndtr(0.6), abs=1e-7)
    kin = parameters_of([0.6], spread=1.3, kinship=0.5, unsolvable=0.1)
    assert np.exp(log_chances(courses([(0, 0, 1)]), kin)[0]) == pytest.approx(
        0.9 * ndtr(0.6), abs=1e-6
    )


def test_no_worker_solves_an_unsolvable_subtask() -> None:
    """So many failures in a row are likely only there."""
    rows = courses([(0, 1, 0), (1, 1, 0), (2, 1, 0)], [(0, 1, 0), (1, 1, 0), (2, 0, 1)])
    sure = parameters_of([3.0, 3.0, 3.0], unsolvable=0.05)
    seen, _ = seen_courses(rows, sure)
    assert np.exp(seen.log_chance[0]) == pytest.approx(0.05, abs=1e-3)
    assert seen.unsolvable[0] > 0.99 and seen.unsolvable[1] == 0.0
    np.testing.assert_allclose(seen.at_node.sum(axis=1) + seen.unsolvable, 1.0)


def test_workers_of_one_kinship_fail_together() -> None:
    together = courses([(0, 1, 0), (1, 1, 0)])
    alike, apart, none = (
        log_chances(together, parameters_of([0.0, 0.0], kinship=np.array(kin)))[0]
        for kin in ([0.6, 0.6], [0.6, -0.6], [0.0, 0.0])
    )
    assert alike > none > apart


def test_chances_of_all_courses_sum_to_one() -> None:
    """At most 3 calls of 2 workers, where each worker is chosen in a fixed order."""
    for order in itertools.product(range(2), repeat=3):
        rows = []
        for stop in range(4):
            tried = order[: stop + 1]
            calls = {
                cell: (tried[: min(stop, 3)].count(cell), int(stop < 3 and tried[-1] == cell))
                for cell in set(tried)
            }
            rows.append([(cell, *calls[cell]) for cell in sorted(calls)])
        parameters = parameters_of([0.3, -0.4], kinship=np.array([0.4, -0.2]), unsolvable=0.03)
        assert np.exp(log_chances(courses(*rows, lost=0.3), parameters)).sum() == pytest.approx(
            1.0, abs=1e-6
        )


@pytest.mark.parametrize("kinship", [0.0, 0.4])
def test_log_likelihood_has_the_gradient_of_its_value(log: LogTable, kinship: float) -> None:
    patterns = count_patterns(log, np.ones(len(log.calls), bool))
    size = len(log.task_types) * len(log.workers)
    kin = kinship * np.linspace(-1.0, 1.0, size)
    point = parameters_of(np.linspace(-0.5, 0.9, size), kinship=kin, unsolvable=0.02)
    value, gradient = log_likelihood(patterns, point)
    assert value == pytest.approx(float(patterns.weight @ log_chances(patterns, point)))
    for field in ("probit", "log_spread", "kinship", "shared"):
        if field == "kinship" and not kinship:
            continue  # held at 0, where the integral over character is left out
        for k, slope in enumerate(getattr(gradient, field)):
            step = np.zeros(len(getattr(point, field)))
            step[k] = 1e-4
            ahead, behind = (
                log_likelihood(
                    patterns, point._replace(**{field: getattr(point, field) + sign * step})
                )[0]
                for sign in (1.0, -1.0)
            )
            assert slope == pytest.approx((ahead - behind) / 2e-4, rel=1e-3, abs=1e-2)


def test_more_nodes_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = courses([(0, 1, 0), (1, 2, 1)], [(0, 0, 1)], [(0, 2, 0), (1, 1, 0)], lost=0.4)
    plain = parameters_of([0.5, -1.0], spread=1.5)
    kin = plain._replace(kinship=np.array([0.5, -0.5]))
    few = [np.exp(log_chances(rows, one)) for one in (plain, kin)]
    nodes: Any = likelihood.hidden_nodes
    monkeypatch.setattr(likelihood, "hidden_nodes", lambda parameters: nodes(parameters, (40, 15)))
    np.testing.assert_allclose(np.exp(log_chances(rows, plain)), few[0], atol=1e-6)
    np.testing.assert_allclose(np.exp(log_chances(rows, kin)), few[1], atol=1e-5)


def test_count_patterns_counts_every_call_once(log: LogTable) -> None:
    patterns = count_patterns(log, np.ones(len(log.calls), bool))
    weight = patterns.weight[patterns.row]
    assert weight @ (patterns.failures + patterns.successes) == len(log.calls)
    assert weight @ patterns.successes == log.calls.success.sum()
    assert patterns.weight.sum() == len(np.unique(log.calls.subtask))


def test_prefix_patterns_multiply_to_the_whole_course(log: LogTable) -> None:
    """The chances of a course's calls, one by one, give the chance of the course."""
    mask = log.calls.execution < 40
    size = len(log.task_types) * len(log.workers)
    parameters = parameters_of(np.linspace(-0.5, 0.9, size), unsolvable=0.02)
    before, after, is_later = prefix_patterns(log, mask)
    chance = log_chances(after, parameters)
    chance[is_later] -= log_chances(before, parameters)
    won = log.calls.success[mask]
    one_by_one = np.where(won, chance, np.log1p(-np.exp(chance))).sum()
    rounded = dataclasses.replace(log, parent_quality=np.round(log.parent_quality * 32) / 32)
    whole = count_patterns(rounded, mask)
    assert one_by_one == pytest.approx(
        float(whole.weight @ log_chances(whole, parameters)), rel=2e-3
    )
