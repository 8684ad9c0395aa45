"""The observation, number by number, on an instance small enough to work out by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from orchestai_env.dataset import Dataset
from orchestai_env.env import Obs, OrchestAIEnv
from orchestai_env.features import build_features, squash
from orchestai_env.observation import CONTEXT_FEATURES, WORKER_FEATURES, subtask_features
from orchestai_env.workers import WorkerPool
from tests.orchestai_env.play import assert_same_obs, play, random_actions
from tests.orchestai_env.toy import SECONDS, Instance, Trial, lose, toy_dataset, win

# 0 (type 0) and 1 (type 1) before 2 (type 0). Mean latencies of type 0 are 1 and 3 s, of type 1
# 0.5 and 1.5 s, so the typical ones are 2 and 1 s; the median of the four is 1.25 s. Mean costs
# are 0.125, 0.25 / 0.25, 0.5 USD with median 0.25.
FORK = Instance(
    calls=(
        (win(1000, 0.125), (Trial(0.75, 3000, 0.25),)),
        (win(500, 0.25), lose(1500, 0.5)),
        (win(1000, 0.125), lose(3000, 0.25)),
    ),
    links=((0, 2), (1, 2)),
    types=(0, 1, 0),
)
SUBTASK = subtask_features(("type-0", "type-1"))


def fork_env(dataset: Dataset | None = None, **arguments: Any) -> OrchestAIEnv:
    data = dataset or toy_dataset([FORK], concurrency=(1, 2), max_subtasks=4)
    return OrchestAIEnv(data, reward_weights=SECONDS, **arguments)


def subtask(obs: Obs, i: int) -> dict[str, float]:
    return dict(zip(SUBTASK, map(float, obs["subtasks"][i]), strict=True))


def worker(obs: Obs, w: int) -> dict[str, float]:
    return dict(zip(WORKER_FEATURES, map(float, obs["workers"][w]), strict=True))


def context(obs: Obs) -> dict[str, float]:
    return dict(zip(CONTEXT_FEATURES, map(float, obs["context"]), strict=True))


def test_feature_names_label_every_column() -> None:
    env = fork_env()
    for key, names in env.observation_layout.feature_names.items():
        shape = env.observation_space[key].shape  # type: ignore[index]
        assert len(names) == len(set(names)) == shape[-1]
    assert env.observation_layout.feature_names["subtasks"] == SUBTASK


def test_subtasks_at_the_start() -> None:
    obs, _ = fork_env().reset(seed=0)

    first = subtask(obs, 0)
    assert first.pop("complexity") == pytest.approx(1 - 0.75)  # 4 trials of type 0, 3 succeed
    on = {name for name, value in first.items() if value}
    assert on == {"exists", "type_type-0", "status_ready", "is_current"}
    assert {name for name, value in subtask(obs, 2).items() if value == 1.0} == {
        "exists",
        "type_type-0",
        "status_pending",
    }
    assert obs["subtasks"][3].max() == 0.0
    assert np.argwhere(obs["adjacency"]).tolist() == [[0, 2], [1, 2]]


def test_slack_is_the_time_to_the_critical_path() -> None:
    obs, _ = fork_env().reset(seed=0)
    slack = [subtask(obs, i)["slack"] for i in range(3)]

    # 0 and 2 take 2 s each; 1 takes 1 s and may end 1 s late.
    assert slack == pytest.approx([0.0, 1000 / (1000 + 1250), 0.0])


def test_slack_of_a_running_call_counts_from_its_start() -> None:
    env = fork_env()
    env.reset(seed=0)
    obs, *_ = env.step(1)  # 3 s expected on subtask 0

    assert subtask(obs, 0)["slack"] == 0.0
    assert subtask(obs, 1)["slack"] == pytest.approx(2000 / (2000 + 1250))
    assert context(obs)["remaining"] == pytest.approx(5000 / (5000 + 12_500))


def test_workers_before_any_call() -> None:
    obs, _ = fork_env().reset(seed=0)
    first, second = worker(obs, 0), worker(obs, 1)

    assert [first["price"], second["price"]] == pytest.approx([1 / 3, 0.5])
    assert [first["expected_latency"], second["expected_latency"]] == pytest.approx(
        [1000 / 2250, 3000 / 4250]
    )
    assert [first["predicted_success"], second["predicted_success"]] == [1.0, 0.5]
    # Success 10 + 0.5 at stake; a call costs 0.125 + 1 and 0.25 + 3.
    assert [first["expected_value"], second["expected_value"]] == pytest.approx(
        [0.5 + 0.5 * (1 - 1.125 / 10.5), 0.5 + 0.5 * (0.5 - 3.25 / 10.5)]
    )
    assert [first["free_slots"], second["free_slots"]] == [1.0, 1.0]
    assert [first["failed"], second["failed"]] == [0.0, 0.0]
    assert [first["kind_llm"], first["kind_vision"]] == [1.0, 0.0]


def test_workers_follow_the_current_subtask_and_its_calls() -> None:
    env = fork_env(max_attempts=2)
    env.reset(seed=0)
    env.step(0)
    obs, *_ = env.step(1)  # 0 ends after 1 s, 1 fails after 1.5 s

    assert subtask(obs, 0)["status_succeeded"] == 1.0
    assert subtask(obs, 1)["is_current"] == 1.0
    assert subtask(obs, 1)["attempts"] == 0.5
    assert worker(obs, 1)["failed"] == 0.5
    assert worker(obs, 0)["failed"] == 0.0
    assert worker(obs, 0)["price"] == pytest.approx(0.5)  # 0.25 USD on type 1


def test_free_slots_are_a_share_of_the_workers_concurrency() -> None:
    env = fork_env()
    env.reset(seed=0)
    obs, *_ = env.step(1)

    assert [worker(obs, w)["free_slots"] for w in (0, 1)] == [1.0, 0.5]


def test_quality_is_shown_only_once_the_subtask_has_succeeded() -> None:
    env = fork_env()
    env.reset(seed=0)
    running, *_ = env.step(1)
    done, *_ = env.step(0)
    assert subtask(running, 0)["quality"] == 0.0
    assert subtask(done, 0)["status_running"] == 0.0
    assert subtask(done, 0)["quality"] == 0.75


def test_context_counts_time_money_and_progress() -> None:
    env = fork_env(cost_budget_usd=4.0, deadline_ms=10_000.0)
    start, _ = env.reset(seed=0)
    assert context(start)["clock"] == context(start)["spent"] == context(start)["progress"] == 0
    assert context(start)["budget_left"] == context(start)["deadline_left"] == 1.0
    assert context(start)["remaining"] == pytest.approx(4000 / (4000 + 12_500))
    one, *_ = env.step(0)
    assert context(one)["running"] == pytest.approx(1 / 5)
    obs, *_ = env.step(0)
    seen = context(obs)  # 1 waited for the slot and ended after 1.5 s

    assert seen["clock"] == pytest.approx(1500 / (1500 + 12_500))
    assert seen["spent"] == pytest.approx(0.375 / (0.375 + 2.5))
    assert seen["budget_left"] == pytest.approx(3.625 / 4)
    assert seen["deadline_left"] == pytest.approx(0.85)
    assert seen["progress"] == pytest.approx(2 / 3)
    assert seen["running"] == 0.0


def test_context_without_limits_shows_them_whole() -> None:
    env = fork_env()
    played = play(env, random_actions(2, 0), seed=0)

    for obs in played.observations:
        assert context(obs)["budget_left"] == context(obs)["deadline_left"] == 1.0


def test_context_shows_the_reward_weights() -> None:
    seen = context(fork_env().reset(seed=0)[0])

    assert seen["success_weight"] == 0.5
    assert seen["cost_weight"] == pytest.approx(1 / 101)
    assert seen["latency_weight"] == 0.5
    assert seen["shaping_weight"] == pytest.approx(0.5 / 1.5)


def test_prediction_per_query_takes_the_place_of_the_mean() -> None:
    data = toy_dataset([FORK])
    predicted = np.array([[0.25, 0.5], [0.75, 0.5], [0.5, 1.0]], np.float32)
    known = dataclasses.replace(data.statistics, predicted_success=predicted)
    env = fork_env(dataclasses.replace(data, statistics=known))
    obs, _ = env.reset(seed=0)
    after, *_ = env.step(0)

    assert [worker(obs, w)["predicted_success"] for w in (0, 1)] == [0.25, 0.5]
    assert [worker(after, w)["predicted_success"] for w in (0, 1)] == [0.75, 0.5]
    assert [subtask(obs, i)["complexity"] for i in range(3)] == pytest.approx([0.625, 0.375, 0.25])


def test_embedding_of_the_current_subtask_is_shown_where_stored() -> None:
    data = toy_dataset([FORK])
    assert "subtask" not in fork_env(data).observation_space.spaces  # type: ignore[attr-defined]

    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    env = fork_env(dataclasses.replace(data, query_embeddings=vectors))
    played = play(env, lambda obs: 0, seed=0)
    shown = [obs["subtask"].tolist() for obs in played.observations]
    assert shown == [*vectors.tolist(), [0.0, 0.0]]


def test_typical_latency_leaves_unrecorded_pairs_out() -> None:
    instance = Instance(calls=((win(1000, 0.5), ()), (win(3000, 0.5), ())))
    features = build_features(toy_dataset([instance]))

    assert features.typical_us.tolist() == [2_000_000]
    assert features.expected_us.tolist() == [[2_000_000, 0]]


def test_outcome_of_a_call_is_hidden_until_it_ends() -> None:
    # The same instance but for what the call on subtask 0 does; what is known before is the same.
    mine, twin = (
        dataclasses.replace(
            toy_dataset([dataclasses.replace(FORK, calls=(((), trials), *FORK.calls[1:]))]),
            statistics=toy_dataset([FORK]).statistics,
        )
        for trials in (win(3000, 0.25), lose(9000, 0.5))
    )
    first, second = fork_env(mine), fork_env(twin)
    assert_same_obs(first.reset(seed=0)[0], second.reset(seed=0)[0])
    for action in (1, 1):  # subtask 1 fails after 1.5 s, while the call on 0 runs
        assert_same_obs(first.step(action)[0], second.step(action)[0])
    obs, other_obs = first.step(0)[0], second.step(0)[0]
    assert subtask(obs, 0)["status_succeeded"] != subtask(other_obs, 0)["status_succeeded"]


def test_kind_is_one_hot() -> None:
    data = toy_dataset([FORK])
    workers = [
        spec.model_copy(update={"kind": kind})
        for spec, kind in zip(data.pool.workers, ("vision", "data"), strict=True)
    ]
    data = dataclasses.replace(data, pool=WorkerPool(tuple(workers)))
    obs, _ = fork_env(data).reset(seed=0)

    for w, kind in enumerate(("vision", "data")):
        on = {name for name, value in worker(obs, w).items() if name[:5] == "kind_" and value}
        assert on == {f"kind_{kind}"}


def test_squash_maps_its_scale_to_a_half_and_stays_below_one() -> None:
    assert squash([0.0, 2.0, 6.0], 2.0).tolist() == [0.0, 0.5, 0.75]
    assert squash(1e300, 1.0).max() <= 1.0
    assert squash(3.0, 1.0).dtype == np.float32
