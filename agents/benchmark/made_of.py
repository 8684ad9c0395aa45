"""What the runs of an output folder are made of, so that runs of other settings never mix in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agents.benchmark.trained import agent_settings
from agents.checkpoint import write_whole
from agents.config import ExperimentSettings, profile_weights
from orchestai_env.datasets.folder import DESCRIPTION
from orchestai_env.errors import ConfigError, DataError

MADE_OF = "made_of.json"
"""File of an output folder: part of it -> hash of what the part is made of."""
_ALL_RUNS = "*/seed*"
_RESULTS = ("result.json", "*_last.*", "tables.json")
"""Files of runs that a repeated call would take up."""


class Part(NamedTuple):
    """Some runs of an output folder."""

    name: str
    runs: str
    """Their folders or files, as a glob pattern relative to the output folder."""
    made_of: str
    """Hash of what decides them."""


def parts_of(config: ExperimentSettings, path: Path) -> list[Part]:
    """Returns the parts of a benchmark's output folder; its data comes apart, see `data_part`.

    Where training runs, `system.device` and `num_threads`, is left out: it is the same training.

    Args:
        config: the experiment.
        path: its file.
    Raises:
        OrchestAIError: a profile or the changes of a trained agent are wrong.
    """
    phase1, phase2 = config.training.phase1_supervised, config.training.phase2_rl
    shared = config.model_dump(
        mode="json",
        exclude={"benchmark": True, "training": True, "system": {"device", "num_threads"}},
    )
    sizes = [phase1.train_data_size, phase1.synthetic_augmentations]
    rules = config.rules().model_dump(mode="json")
    tables = [config.benchmark.table_workflows, phase2.evaluation_workflows]
    parts = [
        Part("workers, data and rules", _ALL_RUNS, _hash([shared, rules, sizes])),
        Part("tables", "*/seed*/tables.json", _hash(tables)),
    ]
    for name in config.benchmark.profiles:
        weights = profile_weights(config, path, name).model_dump(mode="json")
        parts.append(Part(f"profile {name}", f"{name}/seed*", _hash(weights)))
    return parts + _agent_parts(config, path)


def _agent_parts(config: ExperimentSettings, path: Path) -> list[Part]:
    found: dict[str, str] = {}
    for name, settings in agent_settings(config, path).items():
        agent = config.benchmark.trained[name]
        training = settings.training.model_dump(mode="json")
        del training["phase2_rl" if agent.phase == 1 else "phase1_supervised"]
        found[name] = _hash([agent.phase, found.get(agent.start_from or ""), training])
    return [Part(f"agent {name}", f"*/seed*/{name}", made) for name, made in found.items()]


def data_part(folder: Path) -> Part:
    """Returns the data of an output folder: that of an imported data set."""
    made_of = hashlib.sha256((folder / DESCRIPTION).read_bytes()).hexdigest()
    return Part("imported data", _ALL_RUNS, made_of)


def claim_parts(folder: Path, parts: Sequence[Part]) -> None:
    """Notes what parts of an output folder are made of; parts noted before stay noted.

    Raises:
        ConfigError: there are runs of a part that were made of something else.
        DataError: the note is broken.
    """
    path = folder / MADE_OF
    noted = _read(path)
    for part in parts:
        differs = noted.get(part.name, part.made_of) != part.made_of
        if differs and any(_holds_results(path) for path in folder.glob(part.runs)):
            raise ConfigError(
                f"{folder}: holds runs of other settings or data, which would be reused "
                f"({part.name}); name another --output_dir, or remove {folder / part.runs}"
            )
    text = json.dumps({**noted, **{part.name: part.made_of for part in parts}}, indent=1) + "\n"
    write_whole(path, lambda partial: partial.write_text(text))


def _holds_results(path: Path) -> bool:
    return path.is_file() or any(any(path.rglob(result)) for result in _RESULTS)


def _read(path: Path) -> Mapping[str, str]:
    if not path.is_file():
        return {}
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        noted = None
    if not isinstance(noted, dict):
        raise DataError(
            f"{path}: expected hashes as JSON, got text that breaks; its runs cannot be told "
            "from others: name another --output_dir"
        )
    return noted


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
