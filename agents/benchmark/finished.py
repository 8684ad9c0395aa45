"""Finished evaluations of a comparison, kept on disk, so that a repeated call takes them up."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

FILE = "comparison.jsonl"
"""One line per agent and evaluation, in the folder of a profile."""
_WEIGHTS = (".json", ".npz", ".pth", ".zip", ".pkl")
_SOURCES = (".py", *_WEIGHTS, ".npy", ".pt", ".onnx", ".safetensors", ".joblib")


class Finished:
    """Results by agent and evaluation; a line counts as long as what it was made of is the same."""

    def __init__(self, path: Path, made_of: Mapping[str, str]) -> None:
        """Reads what is there.

        Args:
            path: file of lines {agent, evaluation, made_of, found}; made when the first is added.
            made_of: agent -> hash of its settings and weights.
        """
        self._path, self._made_of = path, made_of
        self._found: dict[tuple[str, str], Any] = {}
        for line in _whole_lines(path):
            if made_of.get(line["agent"]) == line["made_of"]:
                self._found[line["agent"], line["evaluation"]] = line["found"]

    def __contains__(self, key: tuple[str, str]) -> bool:
        """Returns whether the evaluation (agent, name) is done."""
        return key in self._found

    def __getitem__(self, key: tuple[str, str]) -> Any:
        """Returns what the evaluation (agent, name) found."""
        return self._found[key]

    def add(self, agent: str, evaluation: str, found: Any) -> None:
        """Keeps a result; `found` is anything that JSON holds."""
        line = {
            "agent": agent,
            "evaluation": evaluation,
            "made_of": self._made_of[agent],
            "found": found,
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # A line that a kill cut short ends here, so that it does not swallow this one.
        start = "\n" if _ends_amid_a_line(self._path) else ""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(start + json.dumps(line) + "\n")
        self._found[agent, evaluation] = found


def _whole_lines(path: Path) -> Iterable[dict[str, Any]]:
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as file:
        for text in file:
            try:
                line = json.loads(text)
            except ValueError:  # cut short by a kill; it is evaluated again
                continue
            if isinstance(line, dict) and {"agent", "evaluation", "made_of", "found"} <= set(line):
                yield line


def _ends_amid_a_line(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) != b"\n"


def hash_of(*parts: str | Path) -> str:
    """Returns a hash of texts and of files; of a folder, of all weights and tables in it."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            digest.update(part.encode() + b"\0")
            continue
        for path in sorted(_files(part)):
            digest.update(str(path.relative_to(part.parent)).encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def source_of(module: str) -> list[Path]:
    """Returns the file of an importable module, and the code and weights that lie beside it."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return []
    beside = Path(spec.origin).parent.iterdir()
    return sorted(path for path in beside if path.suffix in _SOURCES and path.is_file())


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return [p for p in path.rglob("*") if p.suffix in _WEIGHTS and p.is_file()]
    return [path] if path.is_file() else []
