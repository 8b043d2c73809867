"""A virtual clock: what was asked for at a time happens then, in the order in which it was asked for."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        """Seconds."""
        self._ahead: list[tuple[float, int, Callable[[], None]]] = []
        self._asked = 0

    def at(self, time: float, do: Callable[[], None]) -> None:
        """A time that is past is now."""
        self._asked += 1
        heapq.heappush(self._ahead, (max(time, self.now), self._asked, do))

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        self.at(self.now + seconds, do)

    def run(self) -> None:
        """Until nothing is left to happen."""
        while self._ahead:
            self.now, _, do = heapq.heappop(self._ahead)
            do()
