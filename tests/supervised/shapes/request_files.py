"""Files of requests that only their wording tells apart."""

from __future__ import annotations

import json
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

WORDING = {
    "single": "Translate {} {} {} {}.",
    "chain": "Translate {} {} {}, then summarise it as {} and finally print that.",
    "dag": "Translate {} {} {}; also sing {} and show both.",
}

Lines = list[dict[str, Any]]


def request_lines(count: int = 160, shapes: Sequence[str] = ("single", "chain", "dag")) -> Lines:
    """Requests that only their wording tells apart; chains are twice as frequent as others."""
    rng = np.random.default_rng(0)
    letters = list(string.ascii_lowercase)
    result = []
    for i in range(count):
        shape = (*shapes, shapes[len(shapes) // 2])[i % (len(shapes) + 1)]
        words = ["".join(rng.choice(letters, size=6)) for _ in range(4)]
        text = WORDING[shape].format(*words)
        result.append({"instruction": text, "shape": shape, "domain": f"d{i % 2}", "id": str(i)})
    return result


def write(folder: Path, lines: Sequence[object]) -> Path:
    path = folder / "requests.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
