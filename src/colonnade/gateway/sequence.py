"""Events with numbers: which are new, which are old, and when some were missed. Pure."""

from __future__ import annotations

from typing import Literal

Verdict = Literal["next", "gap", "old", "foreign"]


class Sequence:
    """The numbers of one epoch. `gap`: the event is new and of use, but a snapshot is wanted for what was missed."""

    __slots__ = ("_epoch", "_last")

    def __init__(self, epoch: str) -> None:
        self._epoch = epoch
        self._last: int | None = None

    def take(self, epoch: str, seq: int) -> Verdict:
        if epoch != self._epoch:
            return "foreign"
        last = self._last
        if last is not None and seq <= last:
            return "old"
        self._last = seq
        return "next" if last is not None and seq == last + 1 else "gap"

    def at(self, epoch: str, seq: int) -> bool:
        """A snapshot was taken at `seq`. False: it says less than what is known, or is of another life."""
        if epoch != self._epoch or (self._last is not None and seq < self._last):
            return False
        self._last = seq
        return True
