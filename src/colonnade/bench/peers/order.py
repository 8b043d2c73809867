"""Who runs when. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def turns(entries: Sequence[T], rounds: int) -> Iterator[tuple[int, T]]:
    """(round, entry): each entry once a round, and each round begins with another and goes the other way around.

    So a machine that grows slower or faster meanwhile does so for all of them.
    """
    for number in range(rounds):
        first = number % len(entries) if entries else 0
        turned = [*entries[first:], *entries[:first]]
        yield from ((number, entry) for entry in (reversed(turned) if number % 2 else turned))
