"""Where one request is, for routing: what it asks for, the replica that has it, what that has to compute for it."""

from __future__ import annotations

from colonnade.gateway.ask import NOTHING, Ask
from colonnade.gateway.plane import Plane
from colonnade.gateway.routing import Charge
from colonnade.gateway.target import Target
from colonnade.wire import prefix

SLACK = 0.05
"""Seconds that a replica takes besides computing."""


class Placement:
    """`target` has the request now. Its body is hashed only where there is a choice that depends on it."""

    __slots__ = (
        "_ask",
        "_at",
        "_body",
        "_chance",
        "_charge",
        "_noise",
        "_plane",
        "_probe",
        "_tenant",
        "model",
        "target",
    )

    def __init__(self, plane: Plane, body: bytes) -> None:
        self._plane = plane
        self._body = body
        self._ask = NOTHING
        self._tenant = ""
        self._noise = b""
        self._chance = 0.0
        self._charge: Charge | None = None
        self._probe = False
        self.model = ""
        self._at = 0.0
        self.target: Target | None = None

    def admit(self, tenant: str, noise: bytes) -> None:
        """`noise`: random bytes, of which the last four are for this."""
        self._tenant = tenant
        self._noise = noise

    def another(self) -> Placement:
        """For the same request."""
        other = Placement(self._plane, self._body)
        other.admit(self._tenant, self._noise)
        return other

    def choose(
        self, model: str, tried: tuple[Target, ...], epoch: str, fingerprint: str, *, stream: bool, late: bool
    ) -> Target:
        """Raises what `Table.choose` raises."""
        plane = self._plane
        table, now = plane.table, plane.now()
        if self._ask is NOTHING:
            self._read(model, stream=stream)
        target = table.choose(model, now, tried, epoch, fingerprint, self._ask, self._chance, late=late)
        self.target, self._probe = target, target.probing
        self.model, self._at = model, now
        if self._ask is not NOTHING:
            charge = self._charge = table.charge(target, self._ask, now, heard=stream)
            if not stream:  # it says nothing until it is whole: reckon with what is known of the replica
                plane.loop.call_later(charge.work / target.rates.prefill + SLACK, self._settle, charge)
        return target

    def _read(self, model: str, *, stream: bool) -> None:
        """Of the request, as far as it matters now: what it begins with, or, where others wait, its size."""
        table = self._plane.table
        if table.asks(model):
            read = prefix.read(self._body, self._tenant)
            self._ask = Ask(read.links, read.session)
            self._chance = int.from_bytes(self._noise[-4:], "big") / 2**32
        elif stream and self._plane.lobby.crowded(model):
            self._ask = Ask(tokens=len(self._body) * table.index.tokens_per_byte)

    def began(self) -> None:
        """The first of a stream is here: its prompt is computed."""
        if self._at:
            self._plane.hedging.began(self.model, self.waited)
            self._at = 0.0
        charge = self._charge
        if charge is not None:
            charge.target.rates.began(charge.work, self._plane.now() - charge.at)
            self._settle(charge)
            self._plane.lobby.wake()

    @property
    def waited(self) -> float:
        """Seconds since the replica got it, of one that has not begun; else 0."""
        return self._plane.now() - self._at if self._at else 0.0

    def release(self) -> None:
        """The replica has it no longer."""
        if self.target is not None:
            if self._charge is not None:
                self._settle(self._charge)
            self._plane.table.release(self.target, probe=self._probe)
            self.target = None
            self._plane.lobby.wake()

    def _settle(self, charge: Charge) -> None:
        if charge is self._charge:
            self._charge = None
            self._plane.table.settle(charge, self._plane.now())
