"""Search for the plan that is expected to be closest to the right one.

The network writes its likeliest plan and samples others; the plans of similar training workflows
join them. Each is scored against the samples and the similar plans as if one of those were right,
and the best on average wins: minimum Bayes risk. Its mean score is the planner's confidence.

Source: S. Kumar and W. Byrne, "Minimum Bayes-risk decoding for statistical machine translation",
    NAACL 2004.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from orchestai_env.workflow import Subtask, Workflow, topological_order
from supervised.planner.inputs import Request, collate_requests
from supervised.planner.network import Memory, PlannerNetwork
from supervised.planner.writing import Likeliest, Sampled, Written, write_plans
from supervised.plans.library import Links
from supervised.plans.metrics import score_plan

NUM_SAMPLES = 12
TEMPERATURE = 0.7
"""Of sampled texts; chosen with NUM_SAMPLES on training workflows, see docs/lab-notes.md."""
_BATCH = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draft:
    """A plan that might be chosen."""

    texts: tuple[str, ...]
    embeddings: npt.NDArray[np.float32]
    """float32 (n, D), of the texts."""
    task_types: tuple[int, ...]
    """Index into the vocabulary."""
    links: Links


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoundPlan:
    """The plan of one instruction."""

    workflow: Workflow
    """A valid DAG in topological order."""
    embeddings: npt.NDArray[np.float32]
    """float32 (n, D), of the subtasks' names."""
    instruction_embedding: npt.NDArray[np.float32]
    """float32 (D,)."""
    confidence: float
    """0..1; expected mean of the F1 of subtasks and the F1 of links."""


@torch.no_grad()
def find_plans(
    model: PlannerNetwork,
    instructions: Sequence[str],
    *,
    num_samples: int = NUM_SAMPLES,
    seed: int = 0,
) -> list[FoundPlan]:
    """Plans instructions.

    Args:
        model: trained; it is put into evaluation mode.
        instructions: texts.
        num_samples: >= 1; plans that are sampled for each.
        seed: of the samples, which depend on it and on their instruction alone.
    """
    model.eval()
    found: list[FoundPlan] = []
    for start in range(0, len(instructions), _BATCH):
        requests = model.reader.read(instructions[start : start + _BATCH])
        inputs = collate_requests(requests, model.reader.library).to(model.device)
        memory = model.read(inputs, requests)
        likeliest = _drafts(model, memory, requests, write_plans(model, memory, Likeliest()))
        chooser = Sampled(
            [request.instruction for request in requests],
            num_plans=num_samples,
            max_subtasks=model.shape.max_subtasks,
            temperature=TEMPERATURE,
            seed=seed,
        )
        samples = _drafts(model, memory, requests, write_plans(model, memory, chooser))
        for b, request in enumerate(requests):
            similar = [_stored(model, row) for row in request.neighbours.tolist()]
            draft, confidence = best_draft(likeliest[b] + samples[b] + similar, samples[b], similar)
            found.append(_found(model, request, draft, confidence))
    return found


def best_draft(
    drafts: Sequence[Draft], samples: Sequence[Draft], similar: Sequence[Draft]
) -> tuple[Draft, float]:
    """Returns the draft of the best expected score, and that score, 0..1.

    Args:
        drafts: those to choose from; the first of the best is taken.
        samples: plans that may be right, together as likely as `similar` are together.
        similar: likewise.
    """
    total = np.zeros(len(drafts))
    groups = [group for group in (samples, similar) if group]
    for group in groups:
        scores = [[_agreement(draft, right) for right in group] for draft in drafts]
        total += np.mean(scores, axis=1) / len(groups)
    best = int(total.argmax())
    return drafts[best], float(total[best])


def _agreement(draft: Draft, right: Draft) -> float:
    score = score_plan(draft.embeddings @ right.embeddings.T, draft.links, right.links)
    return (score.node_f1 + score.edge_f1) / 2


def acyclic_links(chances: npt.NDArray[np.floating], threshold: float = 0.5) -> Links:
    """Returns the links above a threshold, the likeliest first, leaving out what closes a cycle.

    Args:
        chances: float (n, n); [i, j] = chance that subtask j depends on i.
        threshold: links have more than it.
    """
    n = len(chances)
    reaches = np.eye(n, dtype=bool)
    links = []
    for flat in np.argsort(-chances, axis=None, kind="stable").tolist():
        i, j = divmod(flat, n)
        if not chances[i, j] > threshold:
            break
        if reaches[j, i]:
            continue
        links.append((i, j))
        reaches |= reaches[:, [i]] & reaches[j]
    return tuple(sorted(links))


def _drafts(
    model: PlannerNetwork, memory: Memory, requests: Sequence[Request], written: Written
) -> list[list[Draft]]:
    """Returns the S plans of each instruction, with types and links."""
    batch, plans, _ = written.texts.shape
    states = model.write(memory, written.embeddings).flatten(0, 1)
    counts = written.num_subtasks.flatten()
    outputs = model.heads(states, written.embeddings.flatten(0, 1), counts)
    chances = outputs["workflow_graph"]["adjacency"].float().cpu().numpy()
    task_types = outputs["task_types"].argmax(dim=-1).tolist()
    texts, embeddings = written.texts.flatten(0, 1).tolist(), written.embeddings.flatten(0, 1)
    vectors = embeddings.cpu().numpy()
    library = model.reader.library.texts
    drafts: list[list[Draft]] = [[] for _ in range(batch)]
    for row, n in enumerate(counts.tolist()):
        spans = requests[row // plans].spans
        words = [library[k] if k < len(library) else spans[k - len(library)] for k in texts[row]]
        drafts[row // plans].append(
            Draft(
                texts=tuple(words[:n]),
                embeddings=vectors[row, :n],
                task_types=tuple(task_types[row][:n]),
                links=acyclic_links(chances[row, :n, :n]),
            )
        )
    return drafts


def _stored(model: PlannerNetwork, row: int) -> Draft:
    library = model.reader.library
    plan = library.plans[row]
    return Draft(
        texts=tuple(library.texts[text] for text in plan.texts),
        embeddings=library.text_embeddings[list(plan.texts)].numpy(),
        task_types=plan.task_types,
        links=plan.links,
    )


def _found(model: PlannerNetwork, request: Request, draft: Draft, confidence: float) -> FoundPlan:
    """Makes a draft a workflow, at most max_subtasks long."""
    n = min(len(draft.texts), model.shape.max_subtasks)
    words = model.vocabulary.task_types
    subtasks = [
        Subtask(name=text, type=words[kind])
        for text, kind in zip(draft.texts[:n], draft.task_types, strict=False)
    ]
    links = tuple((i, j) for i, j in draft.links if i < n and j < n)
    workflow = Workflow(
        id="planned", instruction=request.instruction, subtasks=tuple(subtasks), links=links
    )
    order = topological_order(n, links)
    return FoundPlan(
        workflow=workflow.topologically_sorted(),
        embeddings=draft.embeddings[order],
        instruction_embedding=request.embedding.numpy(),
        confidence=confidence,
    )
