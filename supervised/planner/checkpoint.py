"""Checkpoints of a planner: its weights, and all that makes it the same planner again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.checkpoint import read_torch
from orchestai_env.errors import CheckpointError
from supervised.planner.inputs import RequestReader
from supervised.planner.model import PlannerModel
from supervised.planner.network import PlannerShape
from supervised.plans.dataset import PlanVocabulary
from supervised.plans.library import PlanLibrary
from supervised.texts.encoder import MemoEncoder, TextEncoder

PLANNER_KEY = "planner"
"""Key of a checkpoint under which `planner_state` lies."""


def planner_state(model: PlannerModel) -> dict[str, Any]:
    """Returns everything but the weights, as plain values and tensors."""
    reader = model.reader
    return {
        "vocabulary": {
            "task_types": list(model.vocabulary.task_types),
            "workers": list(model.vocabulary.workers),
        },
        "shape": dataclasses.asdict(model.shape),
        "encoder": {"name": reader.encoder.name, "max_tokens": reader.encoder.max_tokens},
        "fine_tune": model.encoder is not None,
        "num_neighbours": reader.num_neighbours,
        "max_spans": reader.max_spans,
        "library": reader.library.state_dict(),
    }


def load_planner(
    path: Path,
    *,
    task_types: Sequence[str] | None = None,
    workers: Sequence[str] | None = None,
    device: str = "cpu",
    encoder: MemoEncoder | None = None,
) -> PlannerModel:
    """Reads a planner.

    Args:
        path: phase1_best.pth, or another checkpoint that holds a planner.
        task_types: refuses a planner of other task types.
        workers: refuses a planner of other workers.
        device: torch device.
        encoder: that of the planner, where it is loaded already.
    Raises:
        MissingFileError: there is no such file.
        CheckpointError: the file is broken, holds no planner, or one of another vocabulary.
        ConfigError: its encoder cannot be loaded here.
    """
    data = read_torch(path)
    state = data.get(PLANNER_KEY) if isinstance(data, dict) else None
    if not state or "model_state_dict" not in data:
        raise CheckpointError(
            f"{path}: holds no planner; train one with `python -m supervised.train_phase1` and "
            "planner.kind: learned"
        )
    _check_words(path, state, {"task_types": task_types, "workers": workers})
    needed = state["encoder"]
    if encoder is not None and (encoder.name, encoder.max_tokens) != tuple(needed.values()):
        raise CheckpointError(
            f"{path}: expected the encoder {needed['name']!r} of {needed['max_tokens']} tokens, "
            f"got {encoder.name!r} of {encoder.max_tokens}"
        )
    try:
        model = build_planner(encoder or TextEncoder.load(**needed), state)
        model.load_state_dict(data["model_state_dict"])
    except (KeyError, RuntimeError, TypeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise CheckpointError(
            f"{path}: its planner cannot be built ({reason}); train it anew with this version"
        ) from None
    return model.to(device).eval()


def build_planner(encoder: TextEncoder | MemoEncoder, state: Mapping[str, Any]) -> PlannerModel:
    """Builds the network that `planner_state` describes, with new weights."""
    reader = RequestReader(
        encoder,
        PlanLibrary.from_state_dict(state["library"]),
        num_neighbours=state["num_neighbours"],
        max_spans=state["max_spans"],
    )
    vocabulary = PlanVocabulary(
        task_types=tuple(state["vocabulary"]["task_types"]),
        workers=tuple(state["vocabulary"]["workers"]),
    )
    return PlannerModel(
        reader, vocabulary, PlannerShape(**state["shape"]), fine_tune=state["fine_tune"]
    )


def check_planner_words(path: Path, data: Mapping[str, Any], words: PlanVocabulary) -> None:
    """Refuses a checkpoint whose planner has another vocabulary.

    Raises:
        CheckpointError: it has; the message names the difference.
    """
    _check_words(path, data[PLANNER_KEY], dataclasses.asdict(words))


def _check_words(
    path: Path, state: Mapping[str, Any], wanted: Mapping[str, Sequence[str] | None]
) -> None:
    for what, words in wanted.items():
        found = state["vocabulary"][what]
        if words is None or list(found) == list(words):
            continue
        strangers = [word for word in found if word not in words]
        missing = [word for word in words if word not in found]
        parts = [f"has {', '.join(strangers)}" if strangers else ""]
        parts += [f"lacks {', '.join(missing)}" if missing else ""]
        difference = " and ".join(filter(None, parts)) or "has another order"
        raise CheckpointError(
            f"{path}: the planner was trained with other {what.replace('_', ' ')}: it "
            f"{difference}; train it anew or use the data it was made for"
        )
