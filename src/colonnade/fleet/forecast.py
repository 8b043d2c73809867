"""What the shape of the days before says of the demand to come. Pure.

The mean in flight of each ten minutes of the day is remembered for a week. What is usual at a time of day is the median
over the days; what is to come is the most that is usual between now and the horizon, times how the last hour was
against what was usual then. A day on which nothing was heard, or too much, moves a median little.
"""

from __future__ import annotations

from collections import deque
from statistics import median

SLOT_S = 600.0
SLOTS = 144
DAYS = 7
LEAST_DAYS = 2
"""Before so many were seen nothing is usual."""
HOUR = 6
"""Slots."""
LEVELS = (0.5, 1.5)
"""How far a last hour that was unusual counts."""


class Shape:
    """Of one deployment. `observe` in order of time; Unix seconds."""

    def __init__(self) -> None:
        self._days: tuple[deque[float], ...] = tuple(deque[float](maxlen=DAYS) for _ in range(SLOTS))
        self._levels: deque[float] = deque(maxlen=HOUR)
        self._slot = 0
        self._sum = 0.0
        self._count = 0

    def observe(self, at: float, in_flight: float) -> None:
        slot = int(at // SLOT_S)
        if slot != self._slot:
            if self._count:
                self._close()
            self._slot, self._sum, self._count = slot, 0.0, 0
        self._sum += in_flight
        self._count += 1

    def _close(self) -> None:
        mean, usual = self._sum / self._count, self._usual(self._slot)
        if usual:
            self._levels.append(mean / usual)
        self._days[self._slot % SLOTS].append(mean)

    def _usual(self, slot: int) -> float:
        seen = self._days[slot % SLOTS]
        return median(seen) if len(seen) >= LEAST_DAYS else 0.0

    def ahead(self, now: float, horizon: float) -> float:
        """In flight, at most, from now until then; 0 where nothing is usual."""
        first, last = int(now // SLOT_S), int((now + horizon) // SLOT_S)
        most = max(self._usual(slot) for slot in range(first, last + 1))
        level = median(self._levels) if most and self._levels else 1.0
        return most * min(max(level, LEVELS[0]), LEVELS[1])
