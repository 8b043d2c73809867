"""What has gone to the client of one answer, whichever replicas it came from: the head once, whole events, the end."""

from __future__ import annotations

from typing import Protocol

import msgspec

from colonnade.gateway.admission import Badge
from colonnade.gateway.http1 import LAST_CHUNK, Answer, Headers, chunk, relayed_head
from colonnade.gateway.relay import EventSplitter
from colonnade.gateway.resume import Finish, GoOn, Instruction, Passage
from colonnade.gateway.usage import Usage, in_body
from colonnade.wire.errors import ColonnadeError
from colonnade.wire.stream import event

_FINGERPRINT = b"colonnade-fingerprint"


class Client(Protocol):
    """Where the answer goes."""

    paused: bool
    badge: Badge

    def send(self, data: bytes) -> None: ...

    def finished(self, *, keep: bool) -> None:
        """The answer is whole; `keep`: the connection may carry another request."""
        ...

    def abort(self) -> None:
        """Close at once: the answer is cut off, and the client must see that it is."""
        ...


class Bounds(Protocol):
    """Bytes that are held."""

    @property
    def event(self) -> int: ...

    @property
    def whole(self) -> int: ...


class Shared(Protocol):
    """Of the plane, what a delivery needs."""

    @property
    def limits(self) -> Bounds: ...

    def now(self) -> float: ...


class Delivery:
    """An answer's head waits for its first bytes; of a stream, for the first whole event; one that is no stream is
    held until it is whole, up to `limit` bytes: until something has gone out, every failure can be mended."""

    __slots__ = (
        "_answer",
        "_client",
        "_events",
        "_held",
        "_partial",
        "_passage",
        "_plane",
        "_whole",
        "begun",
        "fingerprint",
        "first_at",
    )

    def __init__(self, client: Client, plane: Shared, now: float, *, partial: bool) -> None:
        self._client = client
        self._plane = plane
        self._answer: Answer | None = None
        self._events: EventSplitter | None = None
        self._partial = partial
        self._passage: Passage | None = None
        self._held = self._whole = b""
        self.begun = False
        self.first_at = now
        self.fingerprint = ""
        """Of the replica that the answer began with."""

    @property
    def streams(self) -> bool:
        return self._events is not None

    def open(self, status: int, headers: Headers, request_id: bytes, seen: str, *, old: bool, close: bool) -> None:
        """The head that the client gets. When the answer has begun it has one, and only events follow. `seen`: the
        replica's fingerprint."""
        if not self.begun:
            self._answer = relayed_head(status, headers, request_id, old=old, close=close)
            self.fingerprint = seen
            self._held = b""
        assert self._answer is not None
        self._events = EventSplitter(self._plane.limits.event) if self._answer.events else None

    def feed(self, data: bytes, *, ended: bool) -> str:
        """Pass on what can be; "" or why the replica is lost, if its stream says so. Raises EventTooLarge."""
        if self._events is None:
            self._hold(data, ended=ended)
            return ""
        data = self._events.feed(data)
        if ended:
            data += self._events.close()
        why = ""
        if data:
            data, why = self._way().take(data)
            self._send(data)
        return "its stream ended too early" if ended and not why and self._ended_early() else why

    def _ended_early(self) -> bool:
        """Another replica could go on with it."""
        passage = self._way()
        return not passage.whole and isinstance(passage.plan(self.fingerprint), GoOn | Finish)

    def _way(self) -> Passage:
        """Made when there is something to remember: answers that are no streams have nothing."""
        if self._passage is None:
            self._passage = Passage(partial=self._partial)
        return self._passage

    def _hold(self, data: bytes, *, ended: bool) -> None:
        if self.begun:
            self._send(data)
            return
        self._held += data
        if ended or len(self._held) > self._plane.limits.whole:
            self._whole = self._held if ended else b""
            self._send(self._held)
            self._held = b""

    def _send(self, data: bytes) -> None:
        assert self._answer is not None
        if not data:
            return
        if self._answer.chunked:
            data = chunk(data)
        self._client.send(data if self.begun else self._head() + data)

    def _head(self) -> bytes:
        assert self._answer is not None
        self.begun = True
        self.first_at = self._plane.now()
        return self._answer.head

    def used(self) -> Usage | None:
        """What the answer cost, as far as it was delivered; None where that was not said."""
        return in_body(self._whole) if self._events is None else self._way().used()

    def lost(self, *, stalled: bool = False) -> Instruction | None:
        """What to do when the replica is lost; None: half of an answer that is no stream has gone out."""
        if self.begun and self._events is None:
            return None
        self._held = b""
        return self._way().lost(self.fingerprint, stalled=stalled)

    def finish(self, data: bytes = b"") -> bool:
        """`data` and the end; whether the connection can be kept."""
        assert self._answer is not None
        self._send(data)
        end = b"" if self.begun else self._head()
        if self._answer.chunked:
            end += LAST_CHUNK
        if end:
            self._client.send(end)
        return not self._answer.close

    def fail(self, error: ColonnadeError, request_id: bytes, path: bytes) -> None:
        """After it has begun: the error as a last event, or as a connection that breaks off."""
        assert self._answer is not None
        if self._events is None:
            self._client.abort()
            return
        said = error.enveloped(path.decode("latin-1"), request_id.decode("latin-1"))
        last = event(msgspec.json.encode(said), name="error" if said.get("type") == "error" else "")
        self._client.send(chunk(last) + LAST_CHUNK if self._answer.chunked else last)
        self._client.finished(keep=False)


def fingerprint(headers: Headers) -> str:
    """A replica's, "" where it says none."""
    for name, value in headers:
        if len(name) == len(_FINGERPRINT) and name.lower() == _FINGERPRINT:
            return value.decode("latin-1")
    return ""
