"""One life of a replica, and all that this gateway knows of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from colonnade.gateway.pulse import Pulse
from colonnade.gateway.rates import Rates
from colonnade.wire.messages import Load
from colonnade.wire.routes import Route

AT_FIRST = 16
"""Requests that a replica gets before it has said how many it computes at a time: it may just have started, and many
may wait for it."""
AHEAD, STEPS = 0.02, 2.0
"""Seconds, and steps, of computing prompts that a replica is given ahead where others wait: enough that it is never
idle and fills its steps, and no more, since who comes next waits for all of it."""


@dataclass(slots=True, eq=False)
class Target:
    """`backlog`: prompt tokens that this gateway sent and that no answer has begun for, less what was cached."""

    route: Route
    in_flight: int = 0
    load: Load = field(default_factory=Load)
    leaving: bool = False
    """It said that it drains or has failed."""
    ejected_until: float = 0.0
    probing: bool = False
    turn: int = 0
    fingerprint: str = ""
    """Of its numerics, once an answer has told it."""

    pulse: Pulse = field(default_factory=Pulse)
    backlog: float = 0.0
    due: float = 0.0
    """When it will have computed the backlog, as reckoned."""
    unbegun: int = 0
    """Streams of the backlog: their beginning will be heard, that of other answers not."""
    recent: float = 0.0
    """What `backlog` got of late, fading: it fills the cache there, and what fills evicts."""
    rates: Rates = field(default_factory=Rates)

    def stalled(self, now: float) -> bool:
        """It has work of ours and makes no progress."""
        return self.in_flight > 0 and self.pulse.stalled(now)

    def left(self, now: float) -> float:
        """Of the backlog, tokens that are not computed yet, as reckoned."""
        return min(self.backlog, max(0.0, self.due - now) * self.rates.prefill)

    def fits(self, fingerprint: str) -> bool:
        """Whether it may be of this fingerprint; "" is any."""
        return not fingerprint or self.fingerprint in ("", fingerprint)

    def open(self, now: float) -> bool:
        return not self.leaving and not self.probing and now >= self.ejected_until

    def room(self, slots: int, now: float) -> bool:
        """Whether it takes one more at once: a slot is free, and its turn to be computed comes soon. Where nothing
        would correct the reckoning, it is not gone by."""
        soon = not self.unbegun or self.due - now <= max(AHEAD, STEPS * self.rates.step)
        return soon and self._slot(slots)

    def _slot(self, slots: int) -> bool:
        """`slots`: what it is held to; 0: what it says of itself, and an eighth, so that the next one is there when a
        slot frees. One that will say, and has not yet, gets a few."""
        if not slots and not self.load.slots and self.route.events and not self.pulse.known:
            return self.in_flight < AT_FIRST
        slots = slots or self.load.slots + self.load.slots // 8
        return not slots or self.in_flight < slots

    def rank(self) -> tuple[int, int, int]:
        load = self.load
        return (self.in_flight + load.running + load.waiting, load.tokens, self.turn)
