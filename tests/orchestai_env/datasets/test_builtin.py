"""The built-in data set: sources, balance, splits and reproducibility."""

import collections
import re

import numpy as np
import pytest

from orchestai_env.datasets.builtin import (
    NUM_WORKFLOWS,
    SYNTHETIC_AUGMENTATIONS,
    builtin_dataset,
    builtin_pool,
    builtin_workflows,
)
from orchestai_env.datasets.builtin_plans import MAX_SUBTASKS, MIN_SUBTASKS
from orchestai_env.datasets.splits import SPLITS, check_splits, normalised
from orchestai_env.errors import ConfigError
from orchestai_env.outcomes.simulated import SimulationSettings
from orchestai_env.workers import KINDS, TaskSkill, WorkerPool, WorkerSpec
from orchestai_env.workflow import is_valid_dag

TASK_TYPES = builtin_pool()[1]
CITED = re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{7}, [\w/]+/.+/[\w*-]+( \(.+\))?(; .+ assumed)?")


def skills():
    pool, _ = builtin_pool()
    return [
        (worker, kind, skill) for worker in pool.workers for kind, skill in worker.skills.items()
    ]


def default_workflows(split):
    variants = SYNTHETIC_AUGMENTATIONS if split == "train" else 0
    return builtin_workflows(
        NUM_WORKFLOWS[split], 0, TASK_TYPES, split=split, synthetic_augmentations=variants
    )


def custom_pool():
    skill = TaskSkill(success=0.5, output_tokens=100.0, source="assumed")
    return WorkerPool(
        (
            WorkerSpec(name="a", skills={"tea_making": skill, "planning": skill}),
            WorkerSpec(name="b", skills={"tea_making": skill}),
        )
    )


def test_pool_has_every_kind_and_is_read_once():
    pool, task_types = builtin_pool()
    assert builtin_pool()[0] is pool
    assert collections.Counter(worker.kind for worker in pool.workers) == {
        kind: 3 if kind == "llm" else 1 for kind in KINDS
    }
    assert len(task_types) == len(set(task_types)) == 10
    assert all(1 <= worker.concurrency <= 4 for worker in pool.workers)


def test_pool_has_two_workers_or_more_per_type_and_one_generalist():
    pool, task_types = builtin_pool()
    count = collections.Counter(kind for _, kind, _ in skills())
    assert set(count) == set(task_types)
    assert min(count.values()) >= 2
    assert sum(set(worker.skills) == set(task_types) for worker in pool.workers) == 1


def test_pool_cites_or_says_assumed():
    for worker, kind, skill in skills():
        assert skill.source == "assumed" or CITED.fullmatch(skill.source), (worker.name, kind)
    for worker in builtin_pool()[0].workers:
        assert worker.source.startswith("prices "), worker.name
        assert re.search(r"speed (assumed|\S+@[0-9a-f]{7}, )", worker.source), worker.name


def test_pool_trades_price_against_success():
    """On no task type is the surest worker also both the cheapest and the quickest."""
    statistics = builtin_dataset("validation").statistics
    capable = builtin_dataset("validation").outcomes.capable > 0
    for t, kind in enumerate(TASK_TYPES):
        surest = np.argmax(np.where(capable[t], statistics.success[t], -1.0))
        cheapest = np.argmin(np.where(capable[t], statistics.cost_usd[t], np.inf))
        quickest = np.argmin(np.where(capable[t], statistics.latency_ms[t], np.inf))
        assert not surest == cheapest == quickest, kind


def test_pool_specialists_lead_among_workers_of_their_price():
    """A specialist is the surest on its own kind of task, save for dearer workers."""
    pool, _ = builtin_pool()
    own = {
        "vision": "image_understanding",
        "audio": "speech_transcription",
        "code": "code_generation",
        "document": "document_generation",
        "data": "data_analysis",
    }
    for worker in pool.workers:
        if worker.kind in own:
            kind = own[worker.kind]
            rivals = [
                other
                for other in pool.workers
                if kind in other.skills
                and other.output_usd_per_mtok <= 4.0 * worker.output_usd_per_mtok
            ]
            best = max(rivals, key=lambda other: other.skills[kind].success)
            assert best.name == worker.name


def test_default_splits_have_documented_sizes():
    sizes = {split: len(builtin_dataset(split).workflows) for split in SPLITS}
    assert sizes == {"train": 1300, "validation": 200, "test": 500}


def test_dataset_is_labelled_and_padded():
    dataset = builtin_dataset(num_workflows=7, max_subtasks=9)
    assert (dataset.name, dataset.latency_label) == ("builtin", "simulated")
    assert dataset.workflows.task_type.shape == (7, 9)
    assert dataset.task_types == TASK_TYPES
    assert dataset.pool is builtin_pool()[0]


def test_seeds_reproduce_and_differ():
    first = builtin_workflows(40, 3, TASK_TYPES, synthetic_augmentations=20)
    assert builtin_workflows(40, 3, TASK_TYPES, synthetic_augmentations=20) == first
    other = builtin_workflows(40, 4, TASK_TYPES)
    assert not {w.instruction for w in other} & {w.instruction for w in first}


def test_first_workflows_do_not_depend_on_how_many_follow():
    many = builtin_workflows(40, 3, TASK_TYPES, synthetic_augmentations=20)
    assert builtin_workflows(15, 3, TASK_TYPES) == many[:15]
    assert builtin_workflows(40, 3, TASK_TYPES, synthetic_augmentations=7) == many[:47]


def test_instructions_are_unique_over_all_splits():
    workflows = [workflow for split in SPLITS for workflow in default_workflows(split)]
    assert len(workflows) == 2000
    assert len({normalised(workflow.instruction) for workflow in workflows}) == 2000
    assert len({workflow.id for workflow in workflows}) == 2000
    assert not [w.id for w in workflows if "(Request " in w.instruction]


def test_splits_share_no_text():
    texts = [
        (f"{split} {seed} {k}", text, split)
        for split in SPLITS
        for seed in range(3)
        for workflow in builtin_workflows(200, seed, TASK_TYPES, split=split)
        for k, text in enumerate([workflow.instruction, *(s.name for s in workflow.subtasks)])
    ]
    check_splits((f"{n} {name}", text, split) for n, (name, text, split) in enumerate(texts))


def test_workflows_are_valid_distinct_dags_within_size():
    for split in SPLITS:
        workflows = builtin_workflows(300, 0, TASK_TYPES, split=split, synthetic_augmentations=300)
        assert all(is_valid_dag(workflow) for workflow in workflows)
        assert all(i < j for workflow in workflows for i, j in workflow.links)
        assert {len(w.subtasks) for w in workflows} == set(range(MIN_SUBTASKS, MAX_SUBTASKS + 1))
        assert len({w.instruction for w in workflows}) == len({w.id for w in workflows}) == 600


def test_instruction_says_steps_and_links():
    workflow = next(w for w in builtin_workflows(100, 0, TASK_TYPES) if w.links == ((0, 2), (1, 2)))
    client, first = workflow.subtasks[0].name.split(": ")
    assert client in workflow.instruction
    assert f"Step 1: {first}. Step 2: " in workflow.instruction
    assert "Step 3, with the results of steps 1 and 2: " in workflow.instruction


def test_steps_read_material_or_name_the_results_that_they_need():
    """A step with one parent names its result; one with several names "these results"."""
    results = {
        "speech_transcription": "the transcript",
        "image_understanding": "the picture notes",
        "text_extraction": "the list",
        "translation": "the translation",
        "question_answering": "the answer",
        "data_analysis": "the analysis",
        "summarization": "the summary",
        "code_generation": "the new script",
        "planning": "the plan",
        "document_generation": "the draft",
    }
    assert set(results) == set(TASK_TYPES)
    for workflow in default_workflows("train"):
        for j, subtask in enumerate(workflow.subtasks):
            parents = [workflow.subtasks[i].type for i, child in workflow.links if child == j]
            if len(parents) == 1:
                assert results[parents[0]] in subtask.name
            assert ("these results" in subtask.name) == (len(parents) > 1), subtask.name


@pytest.mark.parametrize("split", SPLITS)
def test_base_types_come_equally_often(split):
    base = default_workflows(split)[: NUM_WORKFLOWS[split]]
    count = collections.Counter(s.type for w in base for s in w.subtasks)
    assert set(count) == set(TASK_TYPES)
    assert max(count.values()) - min(count.values()) <= 1


def test_all_types_come_equally_often():
    count = collections.Counter(s.type for w in default_workflows("train") for s in w.subtasks)
    assert set(count) == set(TASK_TYPES)
    assert max(count.values()) <= 1.02 * min(count.values())


def shape_name(workflow):
    """Names the shape; two subtasks in a row are a chain, and a diamond has four or more."""
    last = len(workflow.subtasks) - 1
    inner = range(1, last)
    regular = {
        "independent": set(),
        "chain": {(i, i + 1) for i in range(last)},
        "fork": {(0, j) for j in range(1, last + 1)},
        "join": {(i, last) for i in range(last)},
        "diamond": {(0, j) for j in inner} | {(i, last) for i in inner},
    }
    found = (name for name, links in regular.items() if links == set(workflow.links))
    return next(found, "other")


@pytest.mark.parametrize("split", SPLITS)
def test_base_shapes_come_equally_often(split):
    base = default_workflows(split)[: NUM_WORKFLOWS[split]]
    count = collections.Counter(map(shape_name, base))
    assert set(count) == {"chain", "fork", "join", "diamond", "independent", "other"}
    assert max(count.values()) - min(count.values()) <= 1


def test_all_shapes_come_equally_often():
    count = collections.Counter(map(shape_name, default_workflows("train")))
    assert len(count) == 6
    assert max(count.values()) <= 1.02 * min(count.values())


def test_variants_keep_dags_and_every_other_pass_its_types():
    workflows = builtin_workflows(30, 0, TASK_TYPES, synthetic_augmentations=75)
    base, variants = workflows[:30], workflows[30:]
    for i, variant in enumerate(variants):
        original = base[i % 30]
        assert variant.links == original.links
        assert [s.name for s in variant.subtasks] != [s.name for s in original.subtasks]
        if (i // 30) % 2 == 0:
            assert [s.type for s in variant.subtasks] == [s.type for s in original.subtasks]
    redrawn = [(variants[i], base[i % 30]) for i in range(30, 60)]
    assert any([s.type for s in a.subtasks] != [s.type for s in b.subtasks] for a, b in redrawn)


def test_equal_requests_are_told_apart():
    workflows = builtin_workflows(1500, 0, ["data_analysis"], max_subtasks=1, split="validation")
    assert any("(Request builtin-validation-" in w.instruction for w in workflows)
    assert len({w.instruction for w in workflows}) == 1500


def test_custom_pool_gives_its_own_types():
    dataset = builtin_dataset("test", pool=custom_pool(), num_workflows=20)
    assert dataset.task_types == ("tea_making", "planning")
    assert dataset.outcomes.capable.tolist() == [[1, 1], [1, 0]]
    workflows = builtin_workflows(20, 0, dataset.task_types, split="test")
    tea = [s.name for w in workflows for s in w.subtasks if s.type == "tea_making"]
    assert tea and all("carry out the tea making" in name for name in tea)


def test_custom_pool_without_skills_is_refused():
    with pytest.raises(ConfigError, match="no worker has skills"):
        builtin_dataset(pool=WorkerPool((WorkerSpec(name="a"),)))


def test_small_max_subtasks_makes_small_workflows():
    for largest in (1, 3):
        dataset = builtin_dataset(num_workflows=50, max_subtasks=largest)
        assert dataset.workflows.num_subtasks.max() == largest


def test_simulation_settings_are_passed_on():
    plain = builtin_dataset(num_workflows=1)
    set_ = builtin_dataset(num_workflows=1, simulation=SimulationSettings(load_slowdown=0.5))
    assert plain.outcomes.simulation[4] == 0.0
    assert set_.outcomes.simulation[4] == 0.5


def test_synthetic_augmentations_can_be_set():
    dataset = builtin_dataset("validation", num_workflows=4, synthetic_augmentations=6)
    assert len(dataset.workflows) == 10


def test_unknown_split_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r"unknown split 'tets'\. Did you mean 'test'"):
        builtin_dataset("tets")


@pytest.mark.parametrize(
    ("num_workflows", "seed", "task_types", "variants", "message"),
    [
        (0, 0, TASK_TYPES, 0, "num_workflows >= 1"),
        (5, -1, TASK_TYPES, 0, "seed >= 0"),
        (5, 0, TASK_TYPES, -1, "synthetic_augmentations >= 0"),
        (5, 0, (), 0, "at least one task type"),
    ],
)
def test_wrong_numbers_are_refused(num_workflows, seed, task_types, variants, message):
    with pytest.raises(ConfigError, match=message):
        builtin_workflows(num_workflows, seed, task_types, synthetic_augmentations=variants)


def test_workflows_of_no_subtask_are_refused():
    with pytest.raises(ConfigError, match="max_subtasks >= 1, got 5, 0, 0 and 0"):
        builtin_workflows(5, 0, TASK_TYPES, max_subtasks=0)
