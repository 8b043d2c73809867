"""When a second replica is asked for a stream's beginning, and how often. Pure: times come in.

    late    = it has not begun for longer than all but `share` of the streams of its model took to begin
    budget += share for each stream, -= 1 for each second ask; never more than `SAVED`, and none to begin with

After Dean and Barroso, "The Tail at Scale" (CACM 2013): by the first rule few are asked for twice as long as all is as
usual, by the second never more than their share, when nothing is.
"""

from __future__ import annotations

from colonnade.gateway.routing import RetryBudget

SAVED = 10.0
"""Second asks that may be made at once, after a time in which none was needed."""
ENOUGH = 50
"""Streams of a model before anything is called late."""
STEP = 0.05
"""How fast the quantile follows, as a share of itself."""


class Quantile:
    """The value that `level` of what is seen does not exceed, followed in constant space: it goes up by each that
    exceeds it and down by each that does not, so that both cancel where it is right (Robbins and Monro, 1951)."""

    __slots__ = ("_down", "_up", "seen", "value")

    def __init__(self, level: float) -> None:
        self._up, self._down = 1 + STEP * level, 1 - STEP * (1 - level)
        self.seen = 0
        self.value = 0.0

    def see(self, value: float) -> None:
        self.seen += 1
        if not self.value:
            self.value = value
        else:
            self.value *= self._up if value > self.value else self._down


class Hedging:
    """Of one gateway. `share` 0: nothing is asked twice."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._budget = RetryBudget(share, SAVED, 0.0)
        self._usual: dict[str, Quantile] = {}

    def began(self, model: str, seconds: float) -> None:
        """A stream began after so long; of one that began elsewhere first, at least so long."""
        usual = self._usual.get(model)
        if usual is None:
            usual = self._usual[model] = Quantile(1 - self._share)
        usual.see(seconds)
        self._budget.earn()

    def late(self, model: str, seconds: float) -> bool:
        """Whether one that was sent so long ago, and has not begun, is worth a second ask, and there is one left."""
        usual = self._usual.get(model)
        if usual is None or usual.seen < ENOUGH:
            return False
        return seconds > usual.value and self._budget.left()

    def spend(self) -> None:
        self._budget.spend()
