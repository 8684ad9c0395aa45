"""What is known of real workers from their calls, and what a chooser sees of it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestai_env.dataset import Dataset
from orchestai_env.datasets.builtin import builtin_dataset, builtin_workflows
from orchestai_env.env import OrchestAIEnv
from orchestai_env.errors import ConfigError, MissingFileError, UnknownWorkerError
from orchestai_env.execution.calls.budget import Ledger
from orchestai_env.execution.checks.checks import Verdict
from orchestai_env.execution.chooser import Obs, Probabilities
from orchestai_env.execution.execution import Means
from orchestai_env.execution.live_setup import known_workers, live_vocabulary, live_workflows
from orchestai_env.execution.log.record import ExecutionRecord
from orchestai_env.execution.orchestrator import Orchestrator, OrchestratorSettings
from orchestai_env.execution.workers.worker import Answer, CallRequest, Usage
from orchestai_env.execution.workers.worker_settings import LivePool
from orchestai_env.observation import KEYS, WORKER_FEATURES
from orchestai_env.outcomes.draw import Call, draw_outcome
from orchestai_env.planning.annotated import AnnotatedPlanner
from orchestai_env.reward import RewardWeights
from orchestai_env.rules import EpisodeRules
from orchestai_env.state import KEY, NUMBER
from orchestai_env.workflow import Workflow
from orchestai_env.workflow_table import WorkflowTable
from tests.orchestai_env.execution import virtual_time
from tests.orchestai_env.execution.known import TYPES, calibrated, live_pool, one, worker
from tests.orchestai_env.execution.scripted_worker import ScriptedWorker, caller_of

WEIGHTS = RewardWeights(success_weight=7.0, cost_weight=150.0, latency_weight=2.0e-4)
SHOWN = tuple(key for key in KEYS if key not in ("instruction", "subtask"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Returns a calibrated pool of two workers, one of which was never seen summing up."""
    partly = {"coding": (0.3, 100.0), "math": (0.9, 400.0)}
    return calibrated(tmp_path, worker("ace"), worker("bob", concurrency=2, skills=partly))


def test_statistics_and_concurrency_are_those_of_the_file_in_the_order_of_the_workers(
    path: Path,
) -> None:
    simulated = builtin_dataset(pool=known_workers(path).pool)
    data = live_workflows(live_pool("bob", "ace"), [one("math")], known_workers(path))

    for name in ("success", "cost_usd", "latency_ms", "cost_upper_usd"):
        expected = getattr(simulated.statistics, name)[:, ::-1]
        np.testing.assert_array_equal(getattr(data.statistics, name), expected)
    assert data.task_types == simulated.task_types
    assert [spec.concurrency for spec in data.pool.workers] == [2, 1_000_000]


def test_calls_that_were_never_seen_are_masked_as_in_the_simulator(path: Path) -> None:
    data = live_workflows(live_pool("ace", "bob"), [one("summary")], known_workers(path))

    assert data.outcomes.capable[data.task_types.index("summary")].tolist() == [1, 0]
    assert data.outcomes.capable[data.task_types.index("math")].tolist() == [1, 1]


def test_a_worker_may_serve_less_than_is_known_of_it(path: Path) -> None:
    data = live_workflows(
        live_pool("ace", capabilities=("math",)), [one("math")], known_workers(path)
    )

    assert data.outcomes.capable[:, 0].tolist() == [int(name == "math") for name in data.task_types]


def test_planners_are_given_the_vocabulary_of_what_is_known(path: Path) -> None:
    known = known_workers(path)
    data = live_vocabulary(live_pool("ace"), ["math"], known, max_subtasks=4)

    assert data.task_types == known.task_types
    assert data.workflows.max_subtasks == 4


def test_statistics_of_a_data_set_with_embeddings_serve_other_workflows() -> None:
    known = builtin_dataset(num_workflows=3)
    assert known.query_embeddings is not None
    data = live_workflows(live_pool(*known.pool.names), [one("planning")], known)

    assert data.query_embeddings is None
    np.testing.assert_array_equal(data.statistics.success, known.statistics.success)


@pytest.mark.parametrize(
    ("pool", "kind", "error", "message"),
    [
        (live_pool("acee"), "math", UnknownWorkerError, "'acee'. Did you mean 'ace'.*calibrate on"),
        (live_pool("ace"), "poems", ConfigError, "task type 'poems'.*calibrate on a log"),
        (live_pool("bob"), "summary", ConfigError, "'summary': nothing is known of calls of it"),
        (live_pool("ace", capabilities=("math",)), "coding", ConfigError, "no worker serves it"),
    ],
)
def test_what_is_not_known_is_refused(
    pool: LivePool, kind: str, error: type[Exception], message: str, path: Path
) -> None:
    with pytest.raises(error, match=message):
        live_workflows(pool, [one(kind)], known_workers(path))


def test_file_of_live_workers_holds_nothing_that_is_known(tmp_path: Path) -> None:
    path = tmp_path / "workers.yaml"
    path.write_text("workers: [{name: w, model: m}]\n")

    with pytest.raises(ConfigError, match="expected the file that `orchestai calibrate` writes"):
        known_workers(path)


def test_missing_file_and_folder_without_data_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"none\.yaml"):
        known_workers(tmp_path / "none.yaml")
    with pytest.raises(MissingFileError, match="no imported data set there"):
        known_workers(tmp_path)


# The rest plays the same calls in the simulator and behind live workers.

SKILLS = st.dictionaries(
    st.sampled_from(TYPES), st.tuples(st.floats(0.05, 0.95), st.floats(5.0, 900.0)), min_size=1
)
WORKER = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["llm", "code"]),
        "input_usd_per_mtok": st.floats(0.0, 5.0),
        "output_usd_per_mtok": st.floats(0.01, 20.0),
        "first_token_ms": st.floats(1.0, 2000.0),
        "tokens_per_s": st.floats(10.0, 500.0),
        "concurrency": st.integers(1, 3),
        "skills": SKILLS,
    }
)


@dataclasses.dataclass
class Luck:
    """What the random numbers of an episode hang on."""

    key: int
    number: int


class SimulatedWorker(ScriptedWorker):
    """Answers when and as the simulator says; its answer's tokens number the calls."""

    def __init__(self, name: str, data: Dataset, workflow: Workflow, luck: Luck) -> None:
        super().__init__(name)
        self._data, self._workflow, self._luck = data, workflow, luck
        self.costs: dict[int, float] = {}
        self.qualities: dict[int, float] = {}

    async def call(self, request: CallRequest) -> Answer:
        parents = [self.qualities[i] for i, j in self._workflow.links if j == request.index]
        call = Call(
            key=self._luck.key,
            episode=self._luck.number,
            subtask=request.index,
            task_type=self._data.task_types.index(request.task_type),
            query=-1,
            worker=self._data.pool.index(self.name),
            attempt=request.attempt,
            parent_quality=float(np.mean(parents)) if parents else 1.0,
            running=0,
        )
        success, quality, cost_usd, latency_us = draw_outcome(self._data.outcomes, call)
        await asyncio.sleep(latency_us / 1e6)
        if success:
            self.qualities[request.index] = quality
        self.costs[len(self.costs)] = cost_usd
        usage = Usage(input_tokens=0, output_tokens=len(self.costs) - 1)
        return Answer(text=f"{success:d} {quality!r}", usage=usage)


async def as_simulated(request: CallRequest, text: str) -> Verdict:
    """Judges as the simulator did."""
    success, quality = text.split()
    return Verdict(success=success == "1", quality=float(quality))


class Witness:
    """Makes the given choices and keeps what it was shown."""

    name = "witness"
    observation_keys = SHOWN

    def __init__(self, actions: Sequence[int]) -> None:
        self._actions = list(actions)
        self.seen: list[dict[str, Any]] = []

    def probabilities(self, obs: Obs) -> Probabilities:
        chosen = np.zeros(len(obs["action_mask"]))
        chosen[self._actions[len(self.seen)]] = 1.0
        self.seen.append({key: obs[key].copy() for key in SHOWN})
        return chosen


def play_simulated(
    data: Dataset, seed: int, rules: Mapping[str, Any]
) -> tuple[Luck, list[int], list[Any], bool]:
    """Plays random workers; returns the luck, the actions, what was seen before each, success."""
    env = OrchestAIEnv(data, reward_weights=WEIGHTS, observation=SHOWN, **rules)
    obs, _ = env.reset(seed=seed)
    luck = Luck(*env.episodes.state.episode[0, [KEY, NUMBER]].tolist())
    rng, ended = np.random.default_rng(seed), False
    actions: list[int] = []
    seen: list[Any] = []
    while not ended:
        seen.append({key: obs[key].copy() for key in SHOWN})
        actions.append(int(rng.integers(len(data.pool))))
        obs, _, terminated, truncated, info = env.step(actions[-1])
        ended = terminated or truncated
    return luck, actions, seen, bool(info["is_success"])


def execute(
    live: Dataset,
    workflow: Workflow,
    workers: Sequence[SimulatedWorker],
    chooser: Witness,
    rules: Mapping[str, Any],
) -> ExecutionRecord:
    """Executes the workflow in virtual time."""
    by_name = {each.name: each for each in workers}
    for each in workers:
        each.qualities = workers[0].qualities  # all see what the others have made

    async def main() -> ExecutionRecord:
        ledger = Ledger()
        caller = caller_of(
            *workers,
            ledger=ledger,
            cost_usd=lambda name, usage: by_name[name].costs[usage.output_tokens],
        )
        clock = asyncio.get_running_loop().time
        orchestrator = Orchestrator(
            live,
            planner=AnnotatedPlanner([workflow], live.task_types),
            chooser=chooser,
            means=Means(caller=caller, check=as_simulated, ledger=ledger, clock=clock),
            settings=OrchestratorSettings(rules=EpisodeRules(**rules), weights=WEIGHTS),
        )
        record, _ = await orchestrator.execute_async(workflow.instruction)
        return record

    return virtual_time.run(main())


@settings(max_examples=25, deadline=None)
@given(
    drawn=st.lists(WORKER, min_size=1, max_size=4),
    turned=st.randoms(use_true_random=False),
    seed=st.integers(0, 2**32),
    max_attempts=st.integers(1, 3),
    deadline_ms=st.sampled_from([None, 3_000.0, 300_000.0]),
)
def test_chooser_of_a_calibrated_simulator_sees_the_same_of_live_workers(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: list[dict[str, Any]],
    turned: Any,
    seed: int,
    max_attempts: int,
    deadline_ms: float | None,
) -> None:
    specs = [worker(f"w{k}", **given) for k, given in enumerate(drawn)]
    path = calibrated(tmp_path_factory.mktemp("pool"), *specs, retry_correlation=0.5)
    known, names = known_workers(path), [spec["name"] for spec in specs]
    turned.shuffle(names)  # the user's file may have another order
    (workflow,) = builtin_workflows(1, seed, known.task_types)
    size = len(workflow.subtasks) + 2
    table = WorkflowTable.from_workflows([workflow], task_types=known.task_types, max_subtasks=size)
    simulated = known.with_workflows(table).with_workers(names)
    rules = {"max_attempts": max_attempts, "deadline_ms": deadline_ms}
    luck, actions, expected, succeeds = play_simulated(simulated, seed, rules)

    workers = [SimulatedWorker(name, simulated, workflow, luck) for name in names]
    chooser = Witness(actions)
    live = live_workflows(live_pool(*names), [workflow], known, max_subtasks=size)
    record = execute(live, workflow, workers, chooser, rules)

    assert record.success == succeeds
    assert len(chooser.seen) == len(expected)
    for seen, shown in zip(chooser.seen, expected, strict=True):
        for key in SHOWN:
            np.testing.assert_allclose(seen[key], shown[key], atol=1e-5, err_msg=key)
    predicted = expected[0]["workers"][:, WORKER_FEATURES.index("predicted_success")]
    assert predicted.max() > 0.0
