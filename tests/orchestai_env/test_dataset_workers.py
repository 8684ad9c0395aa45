"""Dataset.with_workers: the same outcomes with fewer workers to choose from."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest

from orchestai_env.dataset import Dataset
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.episodes import Episodes
from orchestai_env.errors import ConfigError, DataError, UnknownWorkerError
from orchestai_env.observation import ObservationLayout
from orchestai_env.reward import RewardWeights
from orchestai_env.rules import EpisodeRules
from orchestai_env.state import ONGOING
from tests.orchestai_env.toy import Instance, lose, toy_dataset, win


def toy(seed: int = 0, num_workers: int = 4) -> Dataset:
    """Returns random diamonds on which most calls fail, and each query has several trials."""
    rng = np.random.default_rng(seed)

    def trials() -> tuple[object, ...]:
        one = [win if rng.random() < 0.4 else lose for _ in range(3)]
        drawn = [make(int(rng.integers(100, 3000)), rng.random()) for make in one]
        return tuple(trial for trials in drawn for trial in trials)

    instances = [
        Instance(
            calls=tuple(tuple(trials() for _ in range(num_workers)) for _ in range(4)),  # type: ignore[misc]
            links=((0, 1), (0, 2), (1, 3), (2, 3)),
            types=(0, 1, 0, 1),
        )
        for _ in range(12)
    ]
    dataset = toy_dataset(instances)
    count = len(dataset.outcomes.num_trials)
    predicted = rng.random((count, num_workers)).astype(np.float32)
    statistics = dataclasses.replace(dataset.statistics, predicted_success=predicted)
    return dataclasses.replace(dataset, statistics=statistics)


def play(dataset: Dataset, worker_of: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.float64]:
    """Plays random allowed workers, drawn alike in every call; returns rewards and summaries.

    Args:
        dataset: to play.
        worker_of: int64 (V,); action of each of the workers that are drawn from.
        seed: of draws and outcomes.
    """
    count = len(dataset.workflows)
    episodes = Episodes(
        dataset,
        n=count,
        rules=EpisodeRules(max_attempts=2, on_failure="continue"),
        weights=RewardWeights(cost_weight=3.0),
        layout=ObservationLayout.of(dataset, ("action_mask",)),
    )
    for r in range(count):
        episodes.seed_row(r, np.random.default_rng([seed, r]))
    episodes.reset(workflows=np.arange(count))
    rng, rewards = np.random.default_rng(seed), []
    for _ in range(20):
        preferred = rng.random((count, len(worker_of)))
        rows = np.flatnonzero(episodes.ended == ONGOING)
        allowed = episodes.out.action_mask[rows][:, worker_of] > 0
        drawn = np.where(allowed, preferred[rows], -1.0).argmax(axis=1)
        episodes.step(worker_of[drawn], rows)
        rewards.append(np.where(np.isin(np.arange(count), rows), episodes.reward, 0.0))
    return np.concatenate([*rewards, episodes.summary.ravel()])


@pytest.mark.parametrize("kept", [[0, 2], [3, 1], [2], [3, 2, 1, 0]])
@pytest.mark.parametrize("seed", range(3))
def test_recorded_episodes_are_those_of_the_full_pool(kept: list[int], seed: int) -> None:
    full = toy(seed)
    part = full.with_workers([full.pool.names[w] for w in kept])

    found = play(part, np.arange(len(kept)), seed)

    np.testing.assert_array_equal(found, play(full, np.array(kept), seed))
    assert np.unique(found).size > 20


def test_simulated_episodes_are_those_of_the_full_pool_where_indexes_stay() -> None:
    """The workers left out are the last ones, so that random numbers stay too."""
    full = builtin_dataset(num_workflows=40, max_subtasks=6)
    part = full.with_workers(full.pool.names[:6])

    kept = np.arange(6)
    np.testing.assert_array_equal(play(part, kept, 1), play(full, kept, 1))


def test_simulated_outcomes_keep_their_odds_in_any_order() -> None:
    full = builtin_dataset(num_workflows=5, max_subtasks=6)
    order = list(reversed(range(len(full.pool))))
    part = full.with_workers([full.pool.names[w] for w in order])

    for name in ("capable", "skill", "input_cost_usd", "output_tokens"):
        expected = getattr(full.outcomes, name)[:, order]
        np.testing.assert_array_equal(getattr(part.outcomes, name), expected)
    for name in ("output_cost_usd", "first_token_us", "token_ns"):
        expected = getattr(full.outcomes, name)[order]
        np.testing.assert_array_equal(getattr(part.outcomes, name), expected)


@pytest.mark.parametrize("source", ["recorded", "simulated"])
def test_everything_per_worker_follows_the_names(source: str) -> None:
    full = toy() if source == "recorded" else builtin_dataset(num_workflows=5, max_subtasks=6)
    names = full.pool.names[:-2]
    reordered = [*names[1:], names[0]]
    part = full.with_workers(reordered)
    rows = [full.pool.index(name) for name in reordered]

    assert part.pool.names == tuple(reordered)
    assert [w for w in part.pool.workers] == [full.pool.workers[w] for w in rows]
    for field in dataclasses.fields(full.statistics):
        of_full, of_part = (getattr(d.statistics, field.name) for d in (full, part))
        assert (of_full is None) == (of_part is None)
        if of_full is not None:
            np.testing.assert_array_equal(of_part, of_full[:, rows])
            assert of_part.dtype == of_full.dtype
    for table in (*part.outcomes, part.statistics.cost_usd):
        assert table.flags.c_contiguous
    assert part.workflows is full.workflows
    assert part.task_types == full.task_types


def test_all_workers_in_their_order_change_nothing() -> None:
    full = toy()
    part = full.with_workers(full.pool.names)

    assert part.pool == full.pool
    for name in full.outcomes._fields:
        found, expected = getattr(part.outcomes, name), getattr(full.outcomes, name)
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype


def test_parts_of_parts_are_parts() -> None:
    full = toy()
    names = full.pool.names
    twice = full.with_workers(names[:3]).with_workers([names[2], names[0]])
    once = full.with_workers([names[2], names[0]])

    for found, expected in zip(twice.outcomes, once.outcomes, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_unknown_worker_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownWorkerError, match=r"'worker-O'\. Did you mean 'worker-"):
        toy().with_workers(["worker-1", "worker-O"])


@pytest.mark.parametrize("names", [[], ["worker-1", "worker-1"]])
def test_no_worker_and_a_worker_twice_are_refused(names: list[str]) -> None:
    with pytest.raises(ConfigError, match="expected at least one name and none twice, got"):
        toy().with_workers(names)


def test_recorded_subtask_without_a_worker_is_refused() -> None:
    able = Instance(calls=((win(1, 1), win(1, 1)),))
    lacking = Instance(calls=((win(1, 1), ()),))
    dataset = toy_dataset([able, able, lacking])

    assert dataset.with_workers(["worker-0"]).pool.names == ("worker-0",)
    message = r"1 of 3 workflows .* none of worker-1 can serve \(workflow 2: .*\); add a worker"
    with pytest.raises(DataError, match=message):
        dataset.with_workers(["worker-1"])
    assert len(dataset.first(2).with_workers(["worker-1"]).pool) == 1


def test_simulated_task_type_without_a_worker_is_refused() -> None:
    dataset = builtin_dataset(num_workflows=50, max_subtasks=6)
    task_type = int(np.argmin(dataset.outcomes.capable.sum(axis=1)))
    names = [
        name
        for name, able in zip(dataset.pool.names, dataset.outcomes.capable[task_type], strict=True)
        if not able
    ]
    assert names
    with pytest.raises(DataError, match=r"of 50 workflows have a subtask that none of"):
        dataset.with_workers(names)
