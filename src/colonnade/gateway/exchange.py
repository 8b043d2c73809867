"""One request's way: admission, a replica, the answer back by the byte; another replica if that one fails too early.

Nothing is sent to the client before the answer's head and, of a stream, one whole event are there: until then a failure
can still become another try, or an error with the right status.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

import msgspec

from colonnade.gateway.admission import Badge, Peek, Ticket, fix, read_body, request_id
from colonnade.gateway.endpoints import named_in
from colonnade.gateway.http1 import LAST_CHUNK, Answer, Head, chunk, error_answer, relayed_head
from colonnade.gateway.plane import Access, Plane
from colonnade.gateway.relay import EventSplitter, EventTooLarge
from colonnade.gateway.routing import Target
from colonnade.gateway.upstream import Pool, Upstream
from colonnade.wire.errors import ColonnadeError, DeadlineExceeded, Internal, Overloaded, ReplicaLost
from colonnade.wire.stream import event

_ELSEWHERE = (502, 503)
"""What a replica says when another one may do better: its engine is gone; it drains, or is full."""


_NOT_READ = Peek("")


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


class Exchange:
    """A relayed request. `begin` it; `leave` it when the client is gone; `check` it now and then."""

    __slots__ = (
        "_answer",
        "_begun",
        "_body",
        "_client",
        "_connecting",
        "_events",
        "_first_at",
        "_fresh",
        "_head",
        "_keep",
        "_label",
        "_over",
        "_peek",
        "_plane",
        "_probe",
        "_started",
        "_target",
        "_tenant",
        "_ticket",
        "_tried",
        "_upstream",
        "request_id",
    )

    def __init__(self, plane: Plane, client: Client, head: Head, body: bytes, *, keep: bool) -> None:
        self._plane = plane
        self._client = client
        self._head = head
        self._body = body
        self._keep = keep
        self._started = self._first_at = plane.now()
        self._tried: tuple[Target, ...] = ()
        self._target: Target | None = None
        self._upstream: Upstream | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._answer: Answer | None = None
        self._events: EventSplitter | None = None
        self._peek = _NOT_READ
        self._ticket: Ticket
        self._tenant = ""
        self._label = ""  # the model, once a replica was found for it: clients cannot make up metrics' labels
        self._begun = self._over = self._fresh = self._probe = False
        self.request_id = b""

    # --- to a replica

    def begin(self) -> None:
        plane = self._plane
        noise = plane.noise()
        self.request_id = request_id(self._head.request_id, noise)
        try:
            record = self._client.badge.show(plane.keys, self._head.key)
            self._tenant = record.tenant
            named = named_in(self._head.method, self._head.path)
            self._peek = read_body(self._body) if named is None else Peek(named)
            self._ticket = fix(self.request_id, record, time.time(), noise)
            plane.budget.earn()
            self._dispatch()
        except ColonnadeError as error:
            self._refuse(error)

    def _dispatch(self) -> None:
        epoch = self._head.last_event_id.partition(b"/")[0].decode("latin-1")
        target = self._plane.table.choose(self._peek.model, self._plane.now(), self._tried, epoch)
        self._target, self._probe, self._label = target, target.probing, self._peek.model
        pool = self._plane.pool(target)
        upstream = None if self._fresh else pool.take()
        if upstream is None:
            self._connecting = self._plane.loop.create_task(self._connect(pool, target))
        else:
            self._send(upstream, pool)

    async def _connect(self, pool: Pool, target: Target) -> None:
        seconds = self._plane.settings.connect_timeout
        try:
            async with asyncio.timeout(seconds):
                upstream = await pool.connect()
        except (OSError, UnicodeError) as error:  # the latter: a host name that is none
            self._connecting = None
            reason = f"it took no connection within {seconds:g} s" if isinstance(error, TimeoutError) else str(error)
            self._plane.table.unreachable(target, self._plane.now())
            if not self._over:
                self._fail(reason)
            return
        self._connecting = None
        if self._over:
            upstream.drop()
        else:
            self._send(upstream, pool)

    def _send(self, upstream: Upstream, pool: Pool) -> None:
        self._upstream = upstream
        if self._client.paused:
            upstream.pause()
        request = b"%b %b HTTP/1.1\r\nHost: %b\r\nContent-Length: %d\r\n%b%b\r\n" % (
            self._head.method,
            self._head.path,
            pool.authority,
            len(self._body),
            self._ticket.lines,
            self._head.forward,
        )
        upstream.send(self, request, self._body, self._plane.now())

    # --- back to the client

    def on_answer(self, upstream: Upstream) -> None:
        if self._answer is None:
            if not upstream.head_seen:
                return
            if upstream.status in _ELSEWHERE and self._again():
                upstream.drop()
                return
            self._open(upstream)
        data = upstream.take()
        if self._events is not None:
            try:
                data = self._events.feed(data)
            except EventTooLarge:
                upstream.drop()
                self._upstream = None
                self._end_badly(Internal(f"an event of the replica is larger than {self._plane.limits.event} bytes"))
                return
        if upstream.ended:
            self._close(upstream, data)
        elif data:
            self._client.send(self._framed(data))

    def _open(self, upstream: Upstream) -> None:
        """The head makes sense, and is the one that the client gets."""
        assert self._target is not None
        self._plane.table.reached(self._target)
        self._keep = self._keep and not self._plane.draining
        self._answer = relayed_head(
            upstream.status, upstream.headers, self.request_id, old=self._head.old, close=not self._keep
        )
        if self._answer.events:
            self._events = EventSplitter(self._plane.limits.event)

    def _framed(self, data: bytes) -> bytes:
        """`data` as it goes to the client, behind the head if that has not gone yet."""
        assert self._answer is not None
        if data and self._answer.chunked:
            data = chunk(data)
        if self._begun:
            return data
        self._begun = True
        self._first_at = self._plane.now()
        return self._answer.head + data

    def _close(self, upstream: Upstream, data: bytes) -> None:
        assert self._answer is not None
        if self._events is not None:
            data += self._events.close()
        data = self._framed(data)
        status = upstream.status
        self._upstream = None
        upstream.done()
        self._client.send(data + LAST_CHUNK if self._answer.chunked else data)
        self._over_with(status)
        self._client.finished(keep=self._keep and not self._answer.close)

    # --- failures

    def on_lost(self, upstream: Upstream, reason: str) -> None:
        self._upstream = None
        if upstream.served > 1 and not upstream.head_seen:
            # A kept connection that the replica closed as we wrote to it: the request was most likely never read.
            self._fresh = True
            self._release()
            self._try_there_again(reason)
        else:
            self._fail(reason)

    def _try_there_again(self, reason: str) -> None:
        """On a fresh connection, which happens once: `_fresh` stays."""
        try:
            self._dispatch()
        except ColonnadeError:
            self._end_badly(_lost(reason))

    def _fail(self, reason: str) -> None:
        """The replica is of no use to this request any more."""
        if self._begun or not self._again():
            self._end_badly(_lost(reason))

    def _again(self) -> bool:
        """Another replica works on it now. False: there is none, or enough was tried; nothing has changed."""
        tried = (*self._tried, self._target) if self._target else self._tried
        plane = self._plane
        if len(tried) >= plane.limits.tries or not plane.table.others(self._peek.model, plane.now(), tried):
            return False
        if not plane.budget.spend():
            return False
        plane.stats.retries[self._peek.model] += 1
        self._tried = tried
        self._answer = self._events = self._upstream = None
        self._release()
        self._dispatch()
        return True

    def _end_badly(self, error: ColonnadeError) -> None:
        """The client gets the error: as a status, as a last event, or as a connection that breaks off."""
        if not self._begun:
            self._refuse(error)
            return
        assert self._answer is not None
        self._plane.stats.broken += 1
        self._over_with(error.status)
        if self._events is None:
            self._client.abort()
            return
        last = event(msgspec.json.encode(error.envelope(self.request_id.decode("latin-1"))))
        self._client.send(chunk(last) + LAST_CHUNK if self._answer.chunked else last)
        self._client.finished(keep=False)

    def _refuse(self, error: ColonnadeError) -> None:
        self._plane.stats.refused[error.reason] += 1
        keep = self._keep and not self._plane.draining
        self._first_at = self._plane.now()
        self._over_with(error.status)
        self._client.send(error_answer(error, self.request_id, close=not keep))
        self._client.finished(keep=keep)

    # --- what else happens to it

    def pause(self) -> None:
        """The client takes nothing now: neither do we."""
        if self._upstream is not None:
            self._upstream.pause()

    def resume(self) -> None:
        if self._upstream is not None:
            self._upstream.heard_at = self._plane.now()
            self._upstream.resume()

    def leave(self) -> None:
        """The client is gone. A resumable stream is not an exception: its replica knows from the request's header
        that it goes on, and begins to count when this connection ends."""
        if self._over:
            return
        self._plane.stats.left += 1
        if self._upstream is not None:
            self._upstream.drop()
            self._upstream = None
        self._over_with(499)

    def cut(self) -> None:
        """The gateway shuts down."""
        if self._upstream is not None:
            self._upstream.drop()
            self._upstream = None
        self._end_badly(Overloaded("the gateway shuts down", hint="send the request again", code="draining"))

    def check(self, now: float) -> None:
        upstream = self._upstream
        if upstream is None or self._client.paused:
            return
        patience = self._patience()
        if now - upstream.heard_at <= patience:
            return
        assert self._target is not None
        upstream.drop()
        self._upstream = None
        self._plane.table.unreachable(self._target, now)
        if self._answer is None and self._peek.stream is not True:
            self._end_badly(DeadlineExceeded(f"no answer within {patience:g} s", hint="ask for a stream"))
        else:
            self._fail(f"not a byte of it for {patience:g} s")

    def _patience(self) -> float:
        """Streams have keep-alives; other answers are silent until they are whole."""
        streams = self._events is not None or (self._answer is None and self._peek.stream is True)
        return self._plane.settings.silence_timeout if streams else self._plane.limits.answer

    def _release(self) -> None:
        if self._target is not None:
            self._plane.table.release(self._target, probe=self._probe)
            self._target = None

    def _over_with(self, status: int) -> None:
        self._over = True
        self._note(status)
        self._release()

    def _note(self, status: int) -> None:
        stats = self._plane.stats
        stats.requests[self._label, status] += 1
        if self._begun:
            stats.took(self._label, self._first_at - self._started, self._plane.now() - self._started)
        if self._plane.access is not None:
            self._plane.access(self._record(status))

    def _record(self, status: int) -> Access:
        return Access(
            request_id=self.request_id.decode("latin-1"),
            path=self._head.path.decode("latin-1"),
            model=self._peek.model,
            tenant=self._tenant,
            replica=self._target.route.replica if self._target else "",
            status=status,
            first_byte_s=round(self._first_at - self._started, 6),
            duration_s=round(self._plane.now() - self._started, 6),
            request_bytes=len(self._body),
        )


def _lost(reason: str) -> ReplicaLost:
    return ReplicaLost(f"the replica was lost: {reason}", hint="send it again; `colonnade ps` says why it went")
