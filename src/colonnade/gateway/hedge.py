"""A second replica that was asked for a stream: its answer, until it has begun."""

from __future__ import annotations

from collections.abc import Callable

from colonnade.gateway.errand import Errand
from colonnade.gateway.placement import Placement
from colonnade.gateway.target import Target
from colonnade.gateway.upstream import Upstream


class Hedge:
    """`begin` it; it tells when it has `won`, and is done with when it came to nothing."""

    __slots__ = ("_won", "errand", "place")

    def __init__(self, place: Placement, errand: Errand, won: Callable[[Hedge, Upstream], None]) -> None:
        """`place` has chosen a replica."""
        self.place = place
        self.errand = errand
        self._won = won

    def begin(self) -> None:
        assert self.place.target is not None
        self.errand.carry(self.place.target, self)

    def on_answer(self, upstream: Upstream) -> None:
        if not upstream.head_seen:
            return
        if upstream.status == 200 and b"\n\n" in upstream.peek():
            self._won(self, upstream)
        elif upstream.status != 200 or upstream.ended:
            self.drop()

    def on_lost(self, upstream: Upstream, reason: str) -> None:
        self.errand.upstream = None
        self.drop()

    def on_unreached(self, target: Target, reason: str) -> None:
        self.drop()

    def drop(self) -> None:
        self.errand.drop()
        self.errand.end()
        self.place.release()
