"""How fast a replica is, learned from what was seen of it. Pure: tokens and seconds come in.

    prefill = sum of tokens / sum of seconds       a sample: what an answer waited for, and how long until it began
    step    = base + slope * running               a line through (requests running, seconds a step), least squares

Old samples fade by a share with each new one, so that some `MEMORY` count. What was never seen is a guess, which counts
as much as one second of work.
"""

from __future__ import annotations

PREFILL = 4000.0
"""Tokens a second, before anything was seen."""
STEP = 0.02
"""Seconds a step, likewise."""
COMPANY, SLOWER = 16.0, 0.25
"""Likewise: a step with 16 running takes a quarter longer."""
MEMORY = 64
_FADE = 1 - 1 / MEMORY
LONGEST = 60.0
"""Seconds; a sample that took longer says that something else was wrong."""


class Rates:
    """Of one replica. `round_trip` in seconds and `price` in seconds' worth are what the deployment says of it."""

    __slots__ = ("_n", "_seconds", "_tokens", "_x", "_xx", "_xy", "_y", "price", "round_trip")

    def __init__(self, prefill: float = PREFILL, step: float = STEP) -> None:
        self._tokens, self._seconds = prefill, 1.0
        self._n, self._y = 2.0, (2 + SLOWER) * step  # as if seen alone, and with `COMPANY`
        self._x, self._xx, self._xy = COMPANY, COMPANY**2, COMPANY * (1 + SLOWER) * step
        self.round_trip = 0.0
        self.price = 0.0

    def began(self, tokens: float, seconds: float) -> None:
        """An answer began `seconds` after it was sent, with `tokens` to compute before it, its own included."""
        if tokens > 0 and 0 < seconds <= LONGEST:
            self._tokens = self._tokens * _FADE + tokens
            self._seconds = self._seconds * _FADE + seconds

    def stepped(self, running: int, steps: int, seconds: float) -> None:
        """`steps` took `seconds`, with `running` requests in them."""
        if steps > 0 and 0 < seconds <= LONGEST:
            x, y = float(running), seconds / steps
            self._n = self._n * _FADE + 1
            self._x, self._y = self._x * _FADE + x, self._y * _FADE + y
            self._xx, self._xy = self._xx * _FADE + x * x, self._xy * _FADE + x * y

    @property
    def prefill(self) -> float:
        """Tokens a second."""
        return self._tokens / self._seconds

    @property
    def step(self) -> float:
        """Seconds a step, in the mean."""
        return self._y / self._n

    @property
    def slope(self) -> float:
        """Seconds that one more running request adds to a step; never negative."""
        spread = self._n * self._xx - self._x * self._x
        return max(0.0, (self._n * self._xy - self._x * self._y) / spread) if spread > 1e-9 else 0.0
