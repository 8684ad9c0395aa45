"""What summary.json says, from made-up evaluations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agents.benchmark.summary import Evaluations, agents_of, front_of, summarise

NAMES = ("escalation", "ppo", "broken", "hindsight")


def point(mean: float) -> dict[str, Any]:
    return {
        "return_mean": mean,
        "success_rate": mean / 10,
        "cost_usd": mean / 1000,
        "latency_s": 10.0 - mean,
        "return_per_seed": [mean, mean],
        "picks": {},
    }


def evaluations(**means: float) -> Evaluations:
    """Agents whose returns vary by -0.5, 0, 0.5 over replicates, all together."""
    shift = np.array([-0.5, 0.0, 0.5])[:, None]
    replicates = {}
    for name, mean in means.items():
        returns = np.repeat(mean + shift, 2, axis=1)
        found = np.stack([returns, returns / 10, returns / 1000, 10 - returns], axis=1)
        replicates[name] = {"train": found + 1.0, "test": found}
    return Evaluations(
        agents=NAMES,
        errors={name: "no luck" for name in NAMES if name not in means},
        points={n: {"train": point(mean + 1), "test": point(mean)} for n, mean in means.items()},
        bound={},
        replicates=replicates,
        chosen=np.array([[0, 1], [0, 0], [1, 1]]),
    )


ALL = {"escalation": 4.0, "ppo": 4.5, "hindsight": 6.0}


def test_differences_are_paired_over_replicates() -> None:
    summary = summarise(evaluations(**ALL))

    assert summary["paired"]["ppo"]["ci95"] == pytest.approx((0.5, 0.5))
    assert summary["paired"]["ppo"]["bootstrap_p"] == pytest.approx(1 / 4)
    assert summary["ppo"]["test"]["ci95"] == pytest.approx((4.5 - 0.475, 4.5 + 0.475))
    assert summary["ppo"]["test"]["gap_closed"]["mean"] == pytest.approx(0.25)
    assert summary["ppo"]["test"]["gap_closed"]["ci95"] == pytest.approx((0.25, 0.25))
    assert summary["ppo"]["test"]["probability_of_improvement"]["mean"] == 1.0
    gap = summary["ppo"]["train_minus_test"]
    assert (gap["mean"], gap["difference_mean"]) == (1.0, 0.0)
    assert gap["difference_ci95"] == pytest.approx((0.0, 0.0))


def test_runs_are_told_apart_by_their_seeds_and_not_by_the_luck_of_their_workflows() -> None:
    """Half of the workflows are easy, half hard, for both agents; the seeds of ppo differ by 2."""
    found = evaluations(**ALL)
    for name in ("escalation", "ppo"):
        found.replicates[name]["test"][:, 0] += [5.0, -5.0]
    found.points["ppo"]["test"]["return_per_seed"] = [3.5, 5.5]

    summary = summarise(found)

    expected = np.array([[3.0, 5.0], [4.5, 4.5], [5.0, 5.0]])
    assert found.runs("ppo") == pytest.approx(expected)
    # Beside 3.5, 4.0 and 4.5 of escalation: of the two runs one is better, then both, twice.
    wins = summary["ppo"]["test"]["probability_of_improvement"]
    assert wins == {"mean": 0.5, "ci95": pytest.approx((0.525, 1.0))}


def test_one_agent_for_all_seeds_has_equal_runs() -> None:
    found = evaluations(**ALL)
    found.points["ppo"]["test"]["return_per_seed"] = [4.5]

    assert found.runs("ppo") == pytest.approx(np.array([[4.0, 4.0], [4.5, 4.5], [5.0, 5.0]]))


def test_trained_agents_are_held_against_each_other_and_their_rivals() -> None:
    contests = summarise(evaluations(**(ALL | {"bc": 4.75})))["head_to_head"]

    assert {name: set(of) for name, of in contests.items()} == {
        "ppo": {"escalation", "bc"},
        "bc": {"escalation", "ppo"},
    }
    assert contests["bc"]["ppo"]["difference_mean"] == 0.25
    assert contests["bc"]["ppo"]["ci95"] == pytest.approx((0.25, 0.25))


def test_failed_agents_are_no_agents() -> None:
    summary = summarise(evaluations(**ALL))

    assert summary["broken"] == {"error": "no luck"}
    assert agents_of(summary) == ["escalation", "ppo", "hindsight"]


@pytest.mark.parametrize("missing", ["escalation", "hindsight"])
def test_without_reference_or_bound_there_is_no_gap(missing: str) -> None:
    summary = summarise(evaluations(**{n: mean for n, mean in ALL.items() if n != missing}))

    assert "gap_closed" not in summary["ppo"]["test"]
    assert ("ppo" in summary["paired"]) is (missing == "hindsight")


def test_bound_at_the_reference_leaves_no_gap() -> None:
    summary = summarise(evaluations(**(ALL | {"hindsight": 4.0})))

    assert summary["ppo"]["test"]["gap_closed"] == {"mean": None, "ci95": None}


def test_front_takes_the_worst_of_all_as_reference() -> None:
    front = front_of({"": evaluations(**ALL)})

    assert front["reference"] == pytest.approx(
        {"success_rate": 0.0, "cost_usd": 0.0045, "latency_s": 6.0}
    )
    assert [point["agent"] for point in front["points"]] == ["escalation", "ppo"]
    assert front["hypervolume"] == 0.0  # each is the worst in one direction
    assert "aiq" not in front["of_agents"]["ppo"]


def test_single_calls_have_the_quality_of_routing_over_profiles() -> None:
    two = {"a": evaluations(escalation=4.0, ppo=4.0), "b": evaluations(escalation=5.0, ppo=7.0)}

    front = front_of(two, is_single_call=True)

    found = front["of_agents"]
    # Costs 0.004..0.007; success goes from 0.4 to 0.7, or to 0.5 at 0.005 and stays there.
    assert found["ppo"]["aiq"] == pytest.approx(0.55)
    assert found["escalation"]["aiq"] == pytest.approx((0.45 + 2 * 0.5) / 3)
    assert found["ppo"]["aiq_ci95"][0] <= 0.55 <= found["ppo"]["aiq_ci95"][1]
    assert len(front["points"]) == 4
