"""How far a download is, in words, and not too often."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from colonnade.wire import units

Tell = Callable[[str], None]
INTERVAL = 0.5
"""Seconds between two words, at least."""


class Progress:
    def __init__(self, what: str, tell: Tell, clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._tell = tell
        self._clock = clock
        self._total = 0
        self._done = 0
        self._told_at = float("-inf")

    def say(self, text: str) -> None:
        self._tell(f"fetching {self._what}: {text}")
        self._told_at = self._clock()

    def begin(self, total: int) -> None:
        """Bytes that are to come."""
        self._total, self._done = total, 0
        self._told_at = float("-inf")
        self.add(0)

    def add(self, count: int) -> None:
        self._done += count
        self._maybe("", self._done, self._total)

    @contextmanager
    def comparing(self, size: int) -> Iterator[Callable[[int], None]]:
        """Gives what hears the bytes that were compared."""
        read = 0

        def told(count: int) -> None:
            nonlocal read
            read += count
            self._maybe("comparing digests, ", read, size)

        yield told

    def _maybe(self, doing: str, done: int, total: int) -> None:
        if self._clock() - self._told_at >= INTERVAL:
            share = f" ({100 * done // total} %)" if total else ""
            self.say(f"{doing}{units.rounded_bytes(done)} of {units.rounded_bytes(total)}{share}")
