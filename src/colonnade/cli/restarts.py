"""When a child that ended is started again. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Restarts:
    """Delays in seconds: none for the first restart, then from `first` doubling up to `limit`; a life of `reset`
    seconds forgets the failures before it."""

    first: float
    limit: float
    reset: float
    failures: int = 0
    total: int = 0

    def after(self, lived: float) -> float:
        """How long to wait, after a life of `lived` seconds has ended."""
        self.failures = 1 if lived >= self.reset else self.failures + 1
        self.total += 1
        if self.failures == 1:
            return 0.0
        return min(self.limit, self.first * 2.0 ** min(self.failures - 2, 32))
