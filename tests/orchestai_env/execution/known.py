"""Calibrated simulators as files, and the live workers that they know."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestai_env.datasets.calibration.simulated_pool import SimulatedPool, write_simulated_pool
from orchestai_env.execution.workers.worker_settings import LivePool
from orchestai_env.workflow import Subtask, Workflow

TYPES = ("coding", "math", "summary")


def worker(name: str, **given: Any) -> dict[str, Any]:
    """Returns a calibrated worker, as the YAML holds it."""
    skills = given.pop("skills", dict.fromkeys(TYPES, (0.6, 200.0)))
    return {
        "name": name,
        "output_usd_per_mtok": 2.0,
        "first_token_ms": 300.0,
        "skills": {
            kind: {"success": success, "output_tokens": tokens, "source": "test"}
            for kind, (success, tokens) in skills.items()
        },
        **given,
    }


def calibrated(folder: Path, *workers: Mapping[str, Any], **simulation: float) -> Path:
    """Writes a pool as `orchestai calibrate` does."""
    data = {"task_types": TYPES, "simulation": simulation, "workers": workers}
    write_simulated_pool(folder / "simulated.yaml", SimulatedPool.model_validate(data))
    return folder / "simulated.yaml"


def live_pool(*names: str, **settings: Any) -> LivePool:
    """Returns workers that nobody calls in these tests, with the concurrency of the default."""
    spec = {"backend": "function", "function": "unused:unused", **settings}
    return LivePool.model_validate({"specs": tuple({"name": name, **spec} for name in names)})


def one(kind: str) -> Workflow:
    """Returns a workflow of one subtask."""
    return Workflow(id=kind, instruction=kind, subtasks=(Subtask(name=kind, type=kind),), links=())
