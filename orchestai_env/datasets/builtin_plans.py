"""Built-in workflows without words: shapes, sizes and task types, each dealt out evenly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

import numpy as np

from orchestai_env.datasets.builtin_phrases import stage
from orchestai_env.datasets.shapes import Links, shape_links, shape_name

MIN_SUBTASKS, MAX_SUBTASKS = 2, 6
"""Sizes of the built-in workflows."""

SMALLEST = {"chain": 2, "fork": 3, "join": 3, "diamond": 4, "independent": 2, "other": 4}
"""Shape -> its smallest size; a smaller one would have the links of another shape.

"other" is a random layered DAG with none of the five names. Half of the recorded public plans of 4
to 6 subtasks are such (700 of 1,403 in AsyncHow, NESTFUL, Seal-Tools and WorfBench), so it has the
same share as each name.
"""

Plan = tuple[tuple[str, ...], Links]
"""Task type of every subtask, and the links between them."""

Card = TypeVar("Card")


class Deck(Generic[Card]):
    """Deals cards from a shuffled deck, which is shuffled again whenever it runs out."""

    def __init__(self, rng: np.random.Generator, cards: Sequence[Card]) -> None:
        """Takes the cards; they are shuffled when they are needed."""
        self._rng, self._cards = rng, tuple(cards)
        self._left: list[Card] = []

    def hand(self, size: int) -> list[Card]:
        """Deals cards: none twice before all others; a card that has to wait comes next."""
        hand: list[Card] = []
        while len(hand) < size:
            held = hand[len(hand) // len(self._cards) * len(self._cards) :]
            place = next((n for n, card in enumerate(self._left) if card not in held), None)
            if place is None:
                order = self._rng.permutation(len(self._cards)).tolist()
                self._left.extend(self._cards[n] for n in order)
            else:
                hand.append(self._left.pop(place))
        return hand

    def deal(self) -> Card:
        """Deals one card."""
        return self.hand(1)[0]


class Planner:
    """Draws plans one after the other, so that the first ones do not depend on how many follow."""

    def __init__(
        self, rng: np.random.Generator, task_types: Sequence[str], max_subtasks: int
    ) -> None:
        """Makes the decks.

        Args:
            rng: source of randomness.
            task_types: vocabulary.
            max_subtasks: largest size; below 4 there are fewer shapes.
        """
        smallest = {"independent": 1} if max_subtasks < MIN_SUBTASKS else SMALLEST
        largest = min(MAX_SUBTASKS, max_subtasks)
        possible = {name: size for name, size in smallest.items() if size <= largest}
        self._rng = rng
        self._types = Deck(rng, task_types)
        self._shapes = Deck(rng, tuple(possible))
        self._sizes = {name: Deck(rng, range(size, largest + 1)) for name, size in possible.items()}

    def base(self, number: int) -> Iterator[Plan]:
        """Yields plans of the next shapes, sizes and task types."""
        for _ in range(number):
            shape = self._shapes.deal()
            size = self._sizes[shape].deal()
            yield self._draw_types(size), self._draw_links(shape, size)

    def variants(self, base: Sequence[Plan], number: int) -> Iterator[Plan]:
        """Yields plans with the links of others; see `builtin_workflows`."""
        for i in range(number):
            types, links = base[i % len(base)]
            is_redrawn = (i // len(base)) % 2 == 1
            yield self._draw_types(len(types)) if is_redrawn else types, links

    def _draw_types(self, size: int) -> tuple[str, ...]:
        """Deals types in the order of work: what reads material first, what concludes last."""
        return tuple(sorted(self._types.hand(size), key=stage))

    def _draw_links(self, shape: str, size: int) -> Links:
        while True:
            links = shape_links(self._rng, shape, size)
            if size < MIN_SUBTASKS or shape_name(size, links) == shape:
                return links
