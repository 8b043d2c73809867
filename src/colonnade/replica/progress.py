"""Health as progress: steps must move while work is in flight. Pure.

How long a step may take is learned: ten times the slowest of late, at least 5 s, at most what the settings allow.
"""

from __future__ import annotations

LEAST = 5.0
_PATIENCE = 10.0
_MEMORY = 0.99
"""The slowest step's share that is kept with each step: it counts for some hundred steps."""


class Progress:
    """All times in seconds of one clock."""

    def __init__(self, limit: float, now: float) -> None:
        self._limit = limit
        self._since = now  # the last step, or when work came in
        self._slowest = 0.0
        self.steps = 0
        self.in_flight = 0

    def stepped(self, steps: int, now: float) -> None:
        """The engine reported: `steps` is its counter."""
        if steps == self.steps:
            return
        if self.in_flight:
            self._slowest = max((now - self._since) / max(steps - self.steps, 1), self._slowest * _MEMORY)
        self.steps = steps
        self._since = now

    def carries(self, in_flight: int, now: float) -> None:
        """How many submissions the engine has."""
        if not self.in_flight and in_flight:
            self._since = now
        self.in_flight = in_flight

    @property
    def threshold(self) -> float:
        return min(max(LEAST, _PATIENCE * self._slowest), max(LEAST, self._limit))

    def quiet(self, now: float) -> float:
        """Seconds without a step while work is in flight; 0 when idle."""
        return now - self._since if self.in_flight else 0.0

    def stalled(self, now: float) -> bool:
        return self.quiet(now) > self.threshold
