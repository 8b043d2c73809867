"""Where a request is: the replica that has it, the connection to it, those that had it, and for a moment a second one.

A stream that is late to begin is hedged (`gateway.hedging`): another replica is asked as well, whichever begins first
has the stream, and the other's connection ends, and so its work. Both got the same id and seed: the client cannot tell.
"""

from __future__ import annotations

from collections.abc import Callable

from colonnade.gateway.delivery import Client
from colonnade.gateway.errand import Errand, Sender
from colonnade.gateway.hedge import Hedge
from colonnade.gateway.http1 import Head
from colonnade.gateway.placement import Placement
from colonnade.gateway.plane import Plane
from colonnade.gateway.target import Target
from colonnade.gateway.upstream import Upstream
from colonnade.wire.errors import ColonnadeError


class Carriage:
    """Of one request. `tried`: replicas that had it and have it no more."""

    __slots__ = ("_head", "_hedge", "_plane", "errand", "place", "tried")

    def __init__(self, plane: Plane, client: Client, head: Head, body: bytes) -> None:
        self._plane = plane
        self._head = head
        self._hedge: Hedge | None = None
        self.place = Placement(plane, body)
        self.errand = Errand(plane, client, head, body)
        self.tried: tuple[Target, ...] = ()

    @property
    def met(self) -> tuple[Target, ...]:
        """Those that had it, and the one that has it."""
        return (*self.tried, self.place.target) if self.place.target else self.tried

    def choose(self, model: str, fingerprint: str, *, stream: bool, late: bool) -> None:
        """Raises what `Table.choose` raises."""
        epoch = self._head.last_event_id.partition(b"/")[0].decode("latin-1") if self._head.last_event_id else ""
        self.place.choose(model, self.tried, epoch, fingerprint, stream=stream, late=late)

    def go(self, sender: Sender) -> None:
        """To the replica that was chosen."""
        assert self.place.target is not None
        self.errand.carry(self.place.target, sender)

    def began(self) -> None:
        """The first of a stream is here."""
        self.place.began()
        self.unhedge()

    def let_go(self) -> None:
        """Of the replica that has it."""
        self.unhedge()
        self.errand.upstream = None
        self.tried = self.met
        self.place.release()

    # --- a second replica

    def hedge(self, model: str, won: Callable[[Upstream], None]) -> None:
        """Ask another one too, if the stream is late, there is one, and nobody waits for it. Not for a stream that goes
        on, nor for one that would outlive its connection. `won`: it has begun first, and is this request's now."""
        plane, head = self._plane, self._head
        if self._hedge is not None or not plane.hedging.late(model, self.place.waited):
            return
        bound = head.last_event_id or b"colonnade-resume:" in head.forward.lower()
        if bound or plane.lobby.crowded(model):
            return
        place = self.place.another()
        try:
            place.choose(model, self.met, "", "", stream=True, late=True)
        except ColonnadeError:
            return
        plane.hedging.spend()
        plane.stats.hedged += 1
        self._hedge = Hedge(place, self.errand.another(), lambda hedge, upstream: self._switch(hedge, upstream, won))
        self._hedge.begin()

    def _switch(self, hedge: Hedge, upstream: Upstream, won: Callable[[Upstream], None]) -> None:
        plane, model = self._plane, self.place.model
        self._hedge = None
        plane.stats.hedges_won += 1
        plane.hedging.began(model, self.place.waited)
        self.errand.drop()
        self.errand.end()
        self.place.release()
        self.place, self.errand = hedge.place, hedge.errand
        won(upstream)

    def unhedge(self) -> None:
        hedge, self._hedge = self._hedge, None
        if hedge is not None:
            hedge.drop()
