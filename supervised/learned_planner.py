"""LearnedPlanner: the trained network as a planner of the library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from orchestai_env.errors import PlanningError
from orchestai_env.planning import Plan
from supervised.planner.checkpoint import load_planner
from supervised.planner.inputs import collate_requests
from supervised.planner.model import PlannerModel
from supervised.planner.search import NUM_SAMPLES, find_plans
from supervised.texts.encoder import MemoEncoder


class LearnedPlanner:
    """Plans with a network that phase 1 trained; implements `orchestai_env.planning.Planner`.

    The text of a planned subtask is that of a training subtask or a part of the instruction. A
    plan's confidence is its expected mean of subtask F1 and link F1, see planner/search.py; join
    it with another planner by `orchestai_env.planning.FallbackPlanner`.
    """

    name = "learned"

    def __init__(
        self, model: PlannerModel, *, num_samples: int = NUM_SAMPLES, seed: int = 0
    ) -> None:
        """Takes a trained network; plans depend on it, the seed and the instruction alone."""
        self.model = model
        self.task_types = model.vocabulary.task_types
        self._num_samples, self._seed = num_samples, seed

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        task_types: Sequence[str] | None = None,
        workers: Sequence[str] | None = None,
        device: str = "cpu",
        encoder: MemoEncoder | None = None,
    ) -> Self:
        """Reads a checkpoint of phase 1; arguments and errors are those of `load_planner`."""
        model = load_planner(
            Path(path), task_types=task_types, workers=workers, device=device, encoder=encoder
        )
        return cls(model)

    def plan(self, instructions: Sequence[str]) -> list[Plan]:
        """Returns one plan per instruction: a valid DAG of 1..max_subtasks subtasks."""
        return [
            Plan(
                workflow=found.workflow,
                planner=self.name,
                confidence=found.confidence,
                instruction_embedding=found.instruction_embedding,
                subtask_embeddings=found.embeddings,
            )
            for found in find_plans(
                self.model, instructions, num_samples=self._num_samples, seed=self._seed
            )
        ]

    def link_probabilities(self, instruction: str, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Returns how likely each link between given subtasks is.

        Args:
            instruction: the request.
            texts: of n subtasks, at most max_subtasks, in any order.
        Returns:
            float32 (n, n), 0..1; [i, j] = chance that subtask j depends on i.
        Raises:
            PlanningError: there are no texts, or more than max_subtasks.
        """
        model = self.model
        if not 1 <= len(texts) <= model.shape.max_subtasks:
            raise PlanningError(
                f"texts: expected 1..{model.shape.max_subtasks} subtasks, got {len(texts)}; "
                "train a planner with a larger planner.max_subtasks"
            )
        requests = model.reader.read([instruction])
        inputs = collate_requests(requests, model.reader.library).to(model.device)
        embeddings = torch.from_numpy(model.reader.encoder.embed(list(texts))).to(model.device)
        counts = torch.tensor([len(texts)], device=model.device)
        with torch.no_grad():
            states = model.write(model.read(inputs, requests), embeddings[None, None])[:, 0]
            outputs = model.heads(states, embeddings[None], counts)
        n = len(texts)
        chances: npt.NDArray[np.float32] = (
            outputs["workflow_graph"]["adjacency"][0, :n, :n].float().cpu().numpy()
        )
        return chances
