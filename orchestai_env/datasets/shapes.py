"""DAG shapes: sizes and links without content, recorded or drawn at random."""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from orchestai_env.errors import ConfigError, DataError, MissingFileError, WorkflowError
from orchestai_env.workflow import read_json_lines
from orchestai_env.workflow_table import WorkflowTable, sorted_links

Int32Array = npt.NDArray[np.int32]
Links = tuple[tuple[int, int], ...]
Shape = tuple[int, Links]
"""(number of subtasks, sorted links that point forward)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShapeTable:
    """S different shapes of at most N subtasks, with how often each occurs; padding holds -1."""

    count: npt.NDArray[np.int64]
    """int64 (S,), >= 1; occurrences, the weight of the shape in a draw."""
    num_subtasks: Int32Array
    """int32 (S,), 1..N."""
    num_parents: Int32Array
    """int32 (S, N)."""
    parents: Int32Array
    """int32 (S, N, P); see WorkflowTable."""
    num_children: Int32Array
    """int32 (S, N)."""
    children: Int32Array
    """int32 (S, N, C); see WorkflowTable."""

    def __len__(self) -> int:
        """Returns the number of different shapes."""
        return len(self.num_subtasks)

    @property
    def max_subtasks(self) -> int:
        """N, the size of the largest shape."""
        return int(self.num_parents.shape[1])

    @classmethod
    def from_shapes(cls, shapes: Iterable[Shape] | Mapping[Shape, int]) -> Self:
        """Builds the table from shapes; one that comes several times has that weight.

        Raises:
            DataError: there is no shape.
            WorkflowError: a link does not point forward within its shape.
        """
        counts = sorted(collections.Counter(shapes).items())
        if not counts:
            raise DataError("expected at least one DAG shape, got none")
        num_subtasks = np.array([size for (size, _), _ in counts], np.int32)
        links = [link for (_, links), _ in counts for link in links]
        owner = [s for s, ((_, links), _) in enumerate(counts) for _ in links]
        blank = np.full((len(counts), int(num_subtasks.max())), -1, np.int32)
        table = WorkflowTable.from_links(
            task_types=(),
            num_subtasks=num_subtasks,
            task_type=blank,
            query=blank,
            links=np.array(links, np.int32).reshape(-1, 2),
            link_owner=np.array(owner, np.int32),
        )
        return cls(
            count=np.array([count for _, count in counts], np.int64),
            num_subtasks=num_subtasks,
            num_parents=table.num_parents,
            parents=table.parents,
            num_children=table.num_children,
            children=table.children,
        )

    def shapes(self) -> dict[Shape, int]:
        """Returns each shape with its count, in table order."""
        return {
            (int(self.num_subtasks[s]), self._links(s)): int(self.count[s])
            for s in range(len(self))
        }

    def _links(self, s: int) -> Links:
        return tuple(
            (i, int(j))
            for i in range(int(self.num_subtasks[s]))
            for j in self.children[s, i, : self.num_children[s, i]]
        )


def read_shapes(folder: str | Path, min_subtasks: int, max_subtasks: int) -> ShapeTable:
    """Reads the DAG shapes of recorded plans, as often as they occur.

    Args:
        folder: holds *.jsonl.gz, one plan a line; lines without `subtasks` and `links` are
            something else and are passed over.
        min_subtasks: smallest size kept.
        max_subtasks: largest size kept.
    Raises:
        MissingFileError: the folder is missing or holds no *.jsonl.gz.
        DataError: a line is malformed, or no plan has a size in the range.
        ConfigError: the range is empty.
    """
    _check_range(min_subtasks, max_subtasks)
    folder = Path(folder)
    paths = sorted(folder.glob("*.jsonl.gz"))
    if not paths:
        raise MissingFileError(
            f"{folder}: no plans (*.jsonl.gz) there; fetch them, or set `shapes: random`"
        )
    counts: collections.Counter[Shape] = collections.Counter()
    for path in paths:
        for number, plan in read_json_lines(path):
            if not (isinstance(plan, dict) and "subtasks" in plan and "links" in plan):
                continue
            shape = _shape_of(plan, f"{path}:{number}")
            if min_subtasks <= shape[0] <= max_subtasks:
                counts[shape] += 1
    if not counts:
        raise DataError(
            f"{folder}: no plan has {min_subtasks} to {max_subtasks} subtasks; widen min_subtasks "
            "and max_subtasks, or set `shapes: random`"
        )
    return ShapeTable.from_shapes(counts)


def _shape_of(plan: Mapping[str, Any], where: str) -> Shape:
    """Reads {subtasks: [...], links: [[i, j], ...]} as a shape."""
    try:
        size = len(plan["subtasks"])
        links = [(i, j) for i, j in plan["links"]]
    except (TypeError, ValueError):
        raise DataError(
            f"{where}: expected subtasks as a list and links as [[from, to], ...], got others; "
            "repair or remove the line"
        ) from None
    for link in links:
        if not all(type(end) is int and 0 <= end < size for end in link):
            raise DataError(
                f"{where}: link {list(link)} leaves the subtasks 0..{size - 1}; repair or remove "
                "the line"
            )
    try:
        return size, sorted_links(size, links)
    except WorkflowError as error:
        raise DataError(f"{where}: {error}") from None


def random_shapes(
    rng: np.random.Generator, n: int, min_subtasks: int, max_subtasks: int
) -> ShapeTable:
    """Draws shapes: chain, fork, join, diamond, independent or layered at random, evenly mixed.

    Args:
        rng: source of randomness.
        n: number of shapes drawn, >= 1.
        min_subtasks: smallest size; sizes are uniform.
        max_subtasks: largest size.
    Raises:
        ConfigError: the range of sizes is empty, or n < 1.
    """
    _check_range(min_subtasks, max_subtasks)
    if n < 1:
        raise ConfigError(f"n: expected at least 1 shape to draw, got {n}")
    sizes = rng.integers(min_subtasks, max_subtasks, size=n, endpoint=True)
    names = [*REGULAR_SHAPES, OTHER]
    kinds = rng.integers(len(names), size=n)
    return ShapeTable.from_shapes(
        (size, shape_links(rng, names[kind], size))
        for size, kind in zip(sizes.tolist(), kinds.tolist(), strict=True)
    )


def shape_links(rng: np.random.Generator, name: str, size: int) -> Links:
    """Returns the sorted links of a shape; those of OTHER are layered at random.

    Args:
        rng: source of randomness of OTHER.
        name: a key of REGULAR_SHAPES, or OTHER.
        size: number of subtasks; of a few, the links may be those of another name too.
    """
    links = REGULAR_SHAPES[name](size) if name in REGULAR_SHAPES else _layered(rng, size)
    return tuple(sorted(links))


def shape_name(size: int, links: Links) -> str:
    """Returns the first name in REGULAR_SHAPES whose links these are, else OTHER."""
    names = (name for name, of_size in REGULAR_SHAPES.items() if sorted(of_size(size)) == [*links])
    return next(names, OTHER)


def _check_range(min_subtasks: int, max_subtasks: int) -> None:
    if not 1 <= min_subtasks <= max_subtasks:
        raise ConfigError(
            f"expected 1 <= min_subtasks <= max_subtasks, got {min_subtasks} and {max_subtasks}"
        )


def _chain(size: int) -> list[tuple[int, int]]:
    return [(i, i + 1) for i in range(size - 1)]


def _fork(size: int) -> list[tuple[int, int]]:
    return [(0, j) for j in range(1, size)]


def _join(size: int) -> list[tuple[int, int]]:
    return [(i, size - 1) for i in range(size - 1)]


def _diamond(size: int) -> list[tuple[int, int]]:
    """Links the first subtask to all inner ones and those to the last; a chain below 4."""
    if size < 4:
        return _chain(size)
    inner = range(1, size - 1)
    return [(0, j) for j in inner] + [(i, size - 1) for i in inner]


def _independent(size: int) -> list[tuple[int, int]]:
    return []


REGULAR_SHAPES: Mapping[str, Callable[[int], list[tuple[int, int]]]] = {
    "chain": _chain,
    "fork": _fork,
    "join": _join,
    "diamond": _diamond,
    "independent": _independent,
}
"""Name -> function of the size that returns the links."""

OTHER = "other"
"""Name of the shapes that have none of the names above."""


def _layered(rng: np.random.Generator, size: int) -> list[tuple[int, int]]:
    """Puts subtasks into layers; each needs 1 or more, at random, of the layer before."""
    layer = np.sort(rng.integers(max(2, size // 2 + 1), size=size))
    links: list[tuple[int, int]] = []
    for j in range(size):
        before = np.flatnonzero(layer < layer[j])
        if len(before):
            parents = before[layer[before] == layer[before[-1]]]
            needed = parents[rng.random(len(parents)) < 0.5]
            chosen = needed if len(needed) else rng.choice(parents, size=1)
            links.extend((int(i), j) for i in chosen)
    return links


def write_shapes(path: Path, shapes: ShapeTable) -> None:
    """Writes shapes and counts as JSON, one shape a line."""
    lines = (
        json.dumps({"num_subtasks": size, "links": links, "count": count})
        for (size, links), count in shapes.shapes().items()
    )
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def load_shapes(path: Path) -> ShapeTable:
    """Reads what `write_shapes` wrote.

    Raises:
        MissingFileError: there is no such file.
        DataError: a line is malformed, or there is none.
    """
    counts: collections.Counter[Shape] = collections.Counter()
    for number, data in read_json_lines(path):
        try:
            size, links, count = data["num_subtasks"], data["links"], data["count"]
            plan = {"subtasks": range(size), "links": links}
            valid = size >= 1 and type(count) is int and count >= 1
        except (TypeError, KeyError):
            valid = False
        if not valid:
            raise DataError(
                f"{path}:{number}: expected {{num_subtasks, links, count}} with counts >= 1, got "
                f"{str(data)[:80]}; import the data set again"
            )
        counts[_shape_of(plan, f"{path}:{number}")] += count
    if not counts:
        raise DataError(f"{path}: expected at least one DAG shape, got none; import it again")
    return ShapeTable.from_shapes(counts)
