"""Seeded choices, and the line between what training may see and what is kept for the score.

A text is *reserved* when its checksum says so. Training draws never contain a reserved name, date, sum or topic;
held-out draws always do. The split therefore needs no list, and holds for names that are made up on the fly.
"""

import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from colonnade_tiny import words

RESERVED_SHARE = 10
LISTED = 0.25
"""Share of the names in training that are on the lists. Callers have more such; but names are copied, not known."""

T = TypeVar("T")


def reserved(text: str) -> bool:
    """Whether `text` is kept out of training: one text in ten, whatever its letter case."""
    return zlib.crc32(text.lower().encode()) % RESERVED_SHARE == 0


@dataclass(frozen=True)
class Draw:
    """A source of choices for one example, on one side of the split."""

    rng: random.Random
    heldout: bool = False

    def pick(self, options: Sequence[T]) -> T:
        """One of `options`, each as likely."""
        return options[self.rng.randrange(len(options))]

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.rng.random() < probability

    def number(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return self.rng.randint(low, high)

    def fresh(self, make: Callable[[], str]) -> str:
        """A made text on this draw's side of the split."""
        while True:
            text = make()
            if reserved(text) == self.heldout:
                return text

    def name(self) -> str:
        """A person's name in one of the ways people give theirs."""
        while True:
            name = self._any_name()
            is_reserved = reserved(name) or any(reserved(part) for part in name.split())
            if is_reserved == self.heldout:
                return name

    def _any_name(self) -> str:
        kind = self.rng.random()
        if kind < 0.80:
            return f"{self._first()} {self._last()}"
        if kind < 0.92:
            return self._first()
        return f"{self.pick(words.TITLES)} {self._last()}"

    def _first(self) -> str:
        kind = self.rng.random()
        if kind < (0.55 if self.heldout else LISTED):
            return self.pick(words.FIRST_NAMES)
        return self.made_up(1, 2) if kind < 0.95 else self.pick(words.ODD_FIRST_NAMES)

    def _last(self) -> str:
        kind = self.rng.random()
        if kind < (0.50 if self.heldout else LISTED):
            return self.pick(words.LAST_NAMES)
        return self.made_up(1, 3) if kind < 0.93 else self.pick(words.ODD_LAST_NAMES)

    def made_up(self, low: int, high: int) -> str:
        """A word that reads like a name and was most likely never written before: of syllables, or of two names."""
        if self.chance(0.25):
            return self._spliced()
        stem = "".join(self.pick(words.SYLLABLES) for _ in range(self.number(low, high)))
        return (stem + self.pick(words.SYLLABLE_ENDS)).capitalize()

    def _spliced(self) -> str:
        """The beginning of one name and the end of another, so that every letter and piece of the lists is copied."""
        names = words.FIRST_NAMES + words.LAST_NAMES + 4 * (words.ODD_FIRST_NAMES + words.ODD_LAST_NAMES)
        first, last = self.pick(names), self.pick(names)
        return first[: self.number(1, len(first) - 1)] + last[self.number(1, len(last) - 1) :]
