"""A simulated data set with all that a simulator may hide of a subtask."""

from __future__ import annotations

from typing import Any

from orchestai_env.dataset import Dataset
from orchestai_env.datasets.builtin import builtin_dataset, builtin_pool
from orchestai_env.outcomes.simulated import SimulationSettings
from orchestai_env.workers import WorkerPool


def hidden_dataset(split: str = "validation", **arguments: Any) -> Dataset:
    """Returns built-in workflows; its workers differ in what difficulty does to them."""
    workers = []
    for place, worker in enumerate(builtin_pool()[0].workers):
        links = {
            "difficulty_spread": 0.5 + 0.2 * place,
            "token_spread": 0.6,
            "tokens_by_difficulty": 0.3,
            "tokens_by_luck": 0.1 * place - 0.4,
        }
        skills = {name: one.model_copy(update=links) for name, one in worker.skills.items()}
        kinship = {"kinship": 0.3 * place - 1.0, "skills": skills}
        workers.append(worker.model_copy(update=kinship))
    settings = SimulationSettings(load_slowdown=0.3, unsolvable_share=0.02)
    return builtin_dataset(split, pool=WorkerPool(tuple(workers)), simulation=settings, **arguments)
