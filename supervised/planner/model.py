"""PlannerModel: instruction -> subtasks, their types, workers and links."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from orchestai_env.workflow import Workflow
from supervised.planner.inputs import collate_requests
from supervised.planner.network import Outputs, PlannerNetwork
from supervised.planner.search import find_plans
from supervised.planner.writing import Likeliest, write_plans


class PlannerModel(PlannerNetwork):
    """Plans instructions; see `PlannerNetwork` for its parts and arguments."""

    def forward(self, instructions: Sequence[str]) -> Outputs:
        """Plans B instructions, the likeliest text at every place.

        Returns:
            subtask_embeddings (B, N, H), task_types logits (B, N, K), model_selections logits
            (B, N, W), workflow_graph {edge_logits (B, N, N), adjacency (B, N, N), the sigmoid of
            them, where [i, j] is the chance that j depends on i and 0 outside the plan},
            stop_logits (B, N), of the plan ending before place i; N is max_subtasks. Beyond that
            num_subtasks int64 (B,), the places before the plan ends.
        """
        requests = self.reader.read(instructions)
        inputs = collate_requests(requests, self.reader.library).to(self.device)
        memory = self.read(inputs, requests)
        with torch.no_grad():
            written = write_plans(self, memory, Likeliest())
        texts, num_subtasks = written.embeddings[:, 0], written.num_subtasks[:, 0]
        outputs = self.heads(self.write(memory, texts[:, None])[:, 0], texts, num_subtasks)
        return outputs | {"num_subtasks": num_subtasks}

    def decode(self, instructions: Sequence[str]) -> list[Workflow]:
        """Returns one workflow per instruction: a valid DAG of 1..max_subtasks subtasks."""
        return [found.workflow for found in find_plans(self, instructions)]
