"""One replica as its events tell of it: what is new is taken over, what was missed is asked for. Pure.

take(event)     true when a snapshot is wanted: a number was missed, or an earlier snapshot never came
mend(snapshot)  the whole, unless it is older than what is known
"""

from __future__ import annotations

from typing import Protocol

from colonnade.gateway.affinity import Index
from colonnade.gateway.sequence import Sequence
from colonnade.gateway.target import Target
from colonnade.wire.messages import Envelope, Load, LoadChanged, Marked, MarksChanged, Phase

AGAIN = 1.0
"""Seconds between two asks for a snapshot, where the first one did not come."""


class Whole(Protocol):
    """Of a snapshot, what a gateway takes over."""

    epoch: str
    seq: int
    phase: str
    load: Load
    marks: list[Marked]


class View:
    """`whole`: nothing was missed since the last snapshot."""

    def __init__(self, target: Target, index: Index) -> None:
        self.target = target
        self.whole = False
        self._index = index
        self._numbers = Sequence(target.route.epoch)
        self._asked_at = float("-inf")
        self._stepped_at: float | None = None

    def asked(self, now: float) -> None:
        """A snapshot was asked for."""
        self._asked_at = now

    def take(self, said: Envelope, now: float) -> bool:
        """Whether to ask for a snapshot."""
        verdict = self._numbers.take(said.epoch, said.seq)
        if verdict in ("old", "foreign"):
            return False
        match said.event:
            case LoadChanged(load):
                self._load(load, now)
            case Phase(name):
                self._phase(name)
            case MarksChanged(changes):
                self._index.apply(said.epoch, changes)
            case _:
                pass  # changes of the cache in tokens: marks say what they mean here
        if verdict == "gap":
            self.whole = False
            return True
        return not self.whole and now - self._asked_at >= AGAIN

    def mend(self, snapshot: Whole) -> bool:
        """Whether it was of use."""
        if not self._numbers.at(snapshot.epoch, snapshot.seq):
            return False
        self.target.load = snapshot.load
        self.target.pulse.known = True
        self._phase(snapshot.phase)
        self._index.replace(snapshot.epoch, snapshot.marks)
        self.whole = True
        return True

    def _load(self, load: Load, now: float) -> None:
        target, before = self.target, self.target.load
        if load.steps != before.steps:
            target.pulse.known = True
            target.pulse.heard(now, busy=target.in_flight > 0)
            if self._stepped_at is not None and before.running and not before.prefill and not load.prefill:
                target.rates.stepped(load.running, load.steps - before.steps, now - self._stepped_at)
            self._stepped_at = now
        target.load = load

    def _phase(self, name: str) -> None:
        self.target.leaving = name in ("updating", "asleep", "draining", "failed")
