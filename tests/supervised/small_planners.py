"""Planners that are trained in seconds: a grammar of instructions, encoders, small networks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from orchestai_env.workflow import Subtask, Workflow
from supervised.fit import Fit, FitSettings, Losses
from supervised.planner.inputs import RequestReader
from supervised.planner.learner import PlannerLearner, PlannerLearnerSettings
from supervised.planner.model import PlannerModel
from supervised.planner.network import PlannerShape
from supervised.plans.dataset import PlanTarget, WorkflowDataset
from supervised.plans.library import PlanLibrary
from supervised.texts.encoder import TextEncoder
from tests.supervised.tiny_encoders import save_tiny_encoder

TINY_VERBS = {"draw": "draw", "add": "math", "write": "write"}
"""Verb -> task type; the tiny encoder knows these words."""
TINY_OBJECTS = ("a map", "two numbers", "a poem")
VERBS = {"fetch": "get", "buy": "get", "wash": "make", "slice": "make", "cook": "make"}
OBJECTS = tuple(f"the {word}" for word in ("apples", "pears", "plums", "beans", "leeks", "figs"))
_UNTOLD = frozenset("the then and".split())
"""Words that say nothing of what a text is about."""


class WordBag:
    """Encodes a text by its words alone, each of them a direction of its own; costs nothing."""

    name, max_tokens, dim = "word bag", 64, 32

    def __init__(self, broken: str | None = None) -> None:
        """Takes a text whose encoding is to be no number."""
        self._broken = broken
        words = [*VERBS, *[word for text in OBJECTS for word in text.split()], "then", "and"]
        self._place = {word: k for k, word in enumerate(dict.fromkeys(words))}

    def embed(self, texts: list[str]) -> np.ndarray:
        """Returns float32 (n, 32), rows of length 1."""
        return self.encode(texts)[1]

    def encode(self, texts: list[str]) -> tuple[list[Tensor], np.ndarray]:
        """Returns n tensors float16 (L, 32) and float32 (n, 32), rows of length 1."""
        states, embeddings = [], np.zeros((len(texts), self.dim), np.float32)
        for row, text in enumerate(texts):
            words = text.replace(",", " ,").split()
            places = [self._place.get(word, self.dim - 1) for word in words]
            states.append(torch.eye(self.dim)[places].half())
            told = [k for word, k in zip(words, places, strict=True) if word not in _UNTOLD]
            np.add.at(embeddings[row], told, 1.0)
            if text == self._broken:
                states[-1][0] = torch.nan
        return states, embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


def tiny_encoder(folder: Path) -> TextEncoder:
    """Returns an encoder with random weights, of 32 numbers and at most 48 tokens."""
    return TextEncoder.load(save_tiny_encoder(folder / "encoder"))


def grammar(
    count: int,
    seed: int,
    *,
    verbs: dict[str, str] = VERBS,
    objects: Sequence[str] = OBJECTS,
    avoid: WorkflowDataset | None = None,
    workers: Sequence[str | None] = (None,),
) -> WorkflowDataset:
    """Draws workflows of 2 to 4 subtasks: "a and b, then c" has two, then one that needs both.

    Args:
        count: workflows, with different instructions.
        seed: of the draw.
        verbs: verb -> task type.
        objects: what the verbs are about.
        avoid: none of its instructions is drawn.
        workers: the k-th verb is done by the worker k modulo their number.
    """
    rng = np.random.default_rng(seed)
    texts = [f"{verb} {what}" for verb in verbs for what in objects]
    seen = {flow.instruction for flow in avoid.workflows} if avoid else set()
    plans: list[PlanTarget] = []
    while len(plans) < count:
        stages = ((1, 1), (1, 2), (2, 1), (1, 1, 1), (1, 2, 1), (1, 1, 2))[rng.integers(6)]
        names = rng.choice(texts, size=sum(stages), replace=False).tolist()
        ends = np.cumsum(stages)
        parts = [range(end - size, end) for size, end in zip(stages, ends.tolist(), strict=True)]
        instruction = ", then ".join(" and ".join(names[k] for k in part) for part in parts)
        if instruction in seen:
            continue
        seen.add(instruction)
        kinds = [name.split()[0] for name in names]
        flow = Workflow(
            id=f"flow{len(plans)}",
            instruction=instruction,
            subtasks=tuple(
                Subtask(name=name, type=verbs[kind])
                for name, kind in zip(names, kinds, strict=True)
            ),
            links=tuple(
                (i, j) for one, other in itertools.pairwise(parts) for i in one for j in other
            ),
        )
        chosen = tuple(workers[list(verbs).index(kind) % len(workers)] for kind in kinds)
        plans.append(PlanTarget(workflow=flow, workers=chosen))
    vocabulary = None if avoid is None else avoid.vocabulary
    return WorkflowDataset.from_plans(plans, vocabulary=vocabulary)


def tiny_grammar(count: int, seed: int, **changes: Any) -> WorkflowDataset:
    """Draws workflows whose words the tiny encoder knows."""
    return grammar(count, seed, verbs=TINY_VERBS, objects=TINY_OBJECTS, **changes)


def small_planner(
    train: WorkflowDataset,
    encoder: Any,
    *,
    num_neighbours: int = 3,
    max_spans: int = 8,
    fine_tune: bool = False,
    **shape: Any,
) -> PlannerModel:
    """Makes a network of 16 numbers, the same weights each time."""
    reader = RequestReader(
        encoder,
        PlanLibrary.of(train, encoder),
        num_neighbours=num_neighbours,
        max_spans=max_spans,
    )
    sizes = PlannerShape(**{"hidden": 16, "num_layers": 1, "num_heads": 2, "dropout": 0.1} | shape)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PlannerModel(reader, train.vocabulary, sizes, fine_tune=fine_tune)


def small_fit(
    model: PlannerModel,
    train: WorkflowDataset,
    held_out: WorkflowDataset,
    *,
    max_epochs: int = 3,
    **settings: Any,
) -> Fit:
    """Returns the training of a network, in batches of 8."""
    how = PlannerLearnerSettings(**{"batch_size": 8, "learning_rate": 3.0e-3} | settings)
    learner = PlannerLearner(model, train, held_out, how)
    return Fit(learner, FitSettings(max_epochs=max_epochs, patience=max_epochs, seed=how.seed))


def history(fit: Fit) -> list[dict[str, Losses]]:
    """Trains to the end and returns the losses of each epoch."""
    epochs = []
    while not fit.is_done:
        epochs.append(fit.run_epoch())
    return epochs
