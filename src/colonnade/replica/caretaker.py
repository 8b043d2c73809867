"""Changes to the weights of a replica while it lives: other ones in place, sleep, waking.

    ready ──> updating ──> ready          requests in flight end on the weights that they began with: for as long as the
    ready ──> updating ──> asleep         bound allows, then they are cut off with an error that says: send it again

No request is taken meanwhile, so that no answer is ever computed with two sets of weights.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Literal, Protocol

import msgspec
from msgspec import Meta

from colonnade.wire.errors import ColonnadeError, Conflict, InvalidRequest
from colonnade.wire.messages import Change, Loaded, Phase, Sleep, Update, Wake


class Household(Protocol):
    """What a caretaker needs of the replica's face."""

    @property
    def phase(self) -> Phase: ...

    async def change(self, make: Callable[[int], Change]) -> Loaded:
        """Raises what the engine says against it; ReplicaLost when the engine is gone."""
        ...

    async def close(self, why: str, bound: float) -> None:
        """Take no requests; return when none is in flight, after `bound` seconds by cutting them off."""
        ...

    def open(self, loaded: Loaded | None, version: str = "") -> None:
        """Take requests again: with what is loaded now, or None for what was loaded before."""
        ...

    def rest(self, why: str) -> None:
        """Asleep."""
        ...


class NewWeights(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of /update_weights_from_disk, in SGLang's words. A cache of other weights is never read, so it is always
    flushed; `timeout`: seconds that requests in flight have to end."""

    model_path: Annotated[str, Meta(min_length=1)]
    flush_cache: Literal[True] = True
    abort_all_requests: bool = False
    weight_version: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._:/-]{1,128}\Z")] | None = None
    timeout: Annotated[float, Meta(ge=0, le=3600)] | None = None


class Caretaker:
    """One change at a time. `patience`: seconds that requests in flight have, where the caller names none."""

    def __init__(self, house: Household, patience: float) -> None:
        self._house = house
        self._patience = patience
        self._busy = asyncio.Lock()
        self.level = 0
        """Of its sleep; 0 when it is awake."""

    async def update(self, body: bytes) -> dict[str, Any]:
        """Raises InvalidRequest for a body or weights that cannot be taken, Conflict for one that comes untimely."""
        try:
            wanted = msgspec.json.decode(body, type=NewWeights)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"the body cannot be taken: {error}", hint='{"model_path": FOLDER}') from error
        bound = 0.0 if wanted.abort_all_requests else self._bound(wanted.timeout)
        async with self._turn("ready"):
            await self._house.close(f"new weights from {wanted.model_path}", bound)
            try:
                loaded = await self._house.change(lambda serial: Update(serial, wanted.model_path))
            except InvalidRequest:
                self._house.open(None)
                raise
            self._house.open(loaded, wanted.weight_version or "")
        return {"success": True, "message": f"computing with {wanted.model_path}", "fingerprint": loaded.fingerprint}

    async def sleep(self, level: int, seconds: float | None) -> None:
        """Raises Conflict when the replica is neither ready nor asleep."""
        async with self._turn("ready", "asleep"):
            if level <= self.level:
                return
            if not self.level:
                await self._house.close("it is going to sleep", self._bound(seconds))
            await self._house.change(lambda serial: Sleep(serial, level))
            self.level = level
            self._house.rest(f"level {level}: POST /wake_up wakes it")

    async def wake(self) -> None:
        """Raises InvalidRequest when the weights cannot be read again; the replica sleeps on then."""
        async with self._turn("ready", "asleep"):
            if self.level:
                loaded = await self._house.change(Wake)
                self.level = 0
                self._house.open(loaded)

    def _bound(self, timeout: float | None) -> float:
        return self._patience if timeout is None else timeout

    def _turn(self, *phases: str) -> asyncio.Lock:
        """To be entered at once. Raises Conflict when it is not the time."""
        if self._busy.locked():
            raise Conflict("another change is under way", hint="wait for its answer")
        if self._house.phase.name not in phases:
            raise Conflict(f"the replica is {self._house.phase.name}", hint="GET /ready says when it is ready")
        return self._busy


def refused(message: str, hint: str) -> ColonnadeError:
    """What the engine says against a change, as an error of the request."""
    return InvalidRequest(message, hint=hint, code="weights_refused")
