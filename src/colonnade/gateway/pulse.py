"""Whether a replica that has work makes progress. Pure: signs of it and `now` come in.

A sign is a step that the replica publishes, or a byte of a stream of its. How long it may be silent is learned: three
times the longest silence of late, at least `LEAST`. One that was thought stalled and was only slow is thereby given
more time.
"""

from __future__ import annotations

LEAST = 2.0
"""Seconds."""
PATIENCE = 3.0
_MEMORY = 0.999
"""The longest silence's share that is kept with each sign: it counts for some thousand."""


class Pulse:
    """All times in seconds of one clock."""

    __slots__ = ("_longest", "_since", "known")

    def __init__(self) -> None:
        self._since = 0.0
        self._longest = 0.0
        self.known = False
        """It publishes its steps: only of such a replica does silence say anything."""

    def begin(self, now: float) -> None:
        """It has work now, and had none before."""
        self._since = now

    def heard(self, now: float, *, busy: bool = True) -> None:
        """`busy`: it has work of ours; the silence of an idle one says nothing."""
        if busy:
            self._longest = max(now - self._since, self._longest * _MEMORY)
        self._since = now

    def forgive(self, seconds: float) -> None:
        """For so long nobody listened."""
        self._since += seconds

    @property
    def threshold(self) -> float:
        return max(LEAST, PATIENCE * self._longest)

    def stalled(self, now: float) -> bool:
        """Of a replica that has work."""
        return self.known and now - self._since > self.threshold
