"""One request's way: admission, a replica, the answer back by the byte; another replica when that one is lost.

Until the answer has begun, a failure can become another try, or an error with the right status; after that, a stream
goes on from another replica where the first one left it (`resume`). A request that finds no replica waits for one.
"""

from __future__ import annotations

import time

from colonnade.gateway.account import Account
from colonnade.gateway.admission import Peek, fix, read_body, request_id, timeout, trace
from colonnade.gateway.carriage import Carriage
from colonnade.gateway.delivery import Client, Delivery, fingerprint
from colonnade.gateway.endpoints import UNNAMED
from colonnade.gateway.fairness import Waiting
from colonnade.gateway.http1 import Head, error_answer
from colonnade.gateway.losses import ELSEWHERE, lost, refusal, turned
from colonnade.gateway.patience import Patience, Verdict, not_begun
from colonnade.gateway.plane import Plane
from colonnade.gateway.relay import EventTooLarge
from colonnade.gateway.resume import Again, Finish, GiveUp, GoOn
from colonnade.gateway.target import Target
from colonnade.gateway.upstream import Upstream
from colonnade.wire.errors import ColonnadeError, DeadlineExceeded, Internal, Overloaded

NOBODY = Waiting("", 0.0)
"""Of a request that was not let in."""
_NOT_READ = Peek("")
NEVER = float("inf")


class Exchange:
    """A relayed request. `begin` it; `leave` it when the client is gone; `check` it now and then."""

    def __init__(
        self, plane: Plane, client: Client, head: Head, body: bytes, named: str | None = None, *, keep: bool
    ) -> None:
        """`named`: the model, where the path names it."""
        self._plane = plane
        self._client = client
        self._head = head
        self._body = body
        self._keep = keep
        self._named = named
        self._account = Account(plane, head, body)
        self._delivery = Delivery(client, plane, self._account.started, partial=bool(head.last_event_id))
        self._carriage = Carriage(plane, client, head, body)
        self._peek = _NOT_READ
        self._wanted = ""  # the fingerprint that the next replica must have
        self._reason: ColonnadeError | None = None  # why the last replica was lost
        self._until = 0.0  # how long it may wait for another replica; 0: it does not wait
        self._accepted = self._over = False
        self._patience: Patience
        self.standing = NOBODY
        self.request_id = b""
        self.model = ""
        """What was asked for."""

    # --- to a replica

    def begin(self) -> None:
        plane = self._plane
        noise = plane.noise()
        self.request_id = request_id(self._head.request_id, noise)
        try:
            self._admit(noise)
        except ColonnadeError as error:
            self._refuse(error)
            return
        plane.budget.earn()
        plane.rescues.earn()
        if plane.lobby.crowded(self.model) or not self.go():
            self._wait()

    def _wait(self) -> None:
        if self._plane.draining:
            self.give_up()
        else:
            self.standing = self._account.stand()
            self._plane.lobby.enter(self)

    def _admit(self, noise: bytes) -> None:
        """Raises ColonnadeError."""
        plane, account = self._plane, self._account
        record = self._client.badge.show(plane.keys, self._head.key)
        account.tenant = record.tenant
        if self._named is None:
            only = plane.table.only if self._head.path in UNNAMED else ""
            self._peek = read_body(self._body, only)
        else:
            self._peek = Peek(self._named)
        account.model = self.model = str(self._peek.model)
        whose = self._client.badge.lines if self._head.traced else self._client.badge.lines + trace(noise)
        self._carriage.errand.lines = fix(self.request_id, whose, time.time(), noise)
        self._carriage.place.admit(record.tenant, noise)
        late = account.started + timeout(self._head.timeout) if self._head.timeout else NEVER
        settings = plane.settings
        self._patience = Patience(settings.silence_timeout, plane.limits.answer, self._peek.stream is True, late)
        account.admit(record, self._peek, late)

    def go(self) -> bool:
        """To a replica with a slot free, at once or from the lobby. False: there is none."""
        try:
            self._dispatch(late=True)
        except Overloaded:
            return False
        except ColonnadeError as error:
            self._end_badly(error)
        return True

    def give_up(self) -> None:
        """From the lobby: there was no replica for as long as it may wait."""
        self._until = self._plane.now()
        self._seek()

    def refuse(self, error: ColonnadeError) -> None:
        """From the lobby: it waits no longer."""
        self._end_badly(error)

    def _seek(self) -> None:
        """To a replica, whether a slot is free there or not: it was at one before, or none was reached for long."""
        try:
            self._dispatch(late=False)
        except Overloaded as error:
            self._hold(error)
        except ColonnadeError as error:
            self._end_badly(error)

    def _hold(self, error: Overloaded) -> None:
        plane = self._plane
        now = plane.now()
        self._until = self._until or now + plane.settings.hold_timeout
        full = len(plane.held) >= plane.limits.held and self not in plane.held
        if now >= self._until or full or plane.draining:
            self._end_badly(self._reason or error)
        else:
            plane.held[self] = None

    def retry(self) -> None:
        """There may be a replica now for one that was lost with its."""
        self._carriage.tried = ()
        self._seek()

    def _dispatch(self, *, late: bool) -> None:
        plane = self._plane
        stream = self._peek.stream is True
        self._carriage.choose(self.model, self._wanted, stream=stream, late=late)
        if plane.held:
            plane.held.pop(self, None)
        self._account.label = self.model
        self._accepted = False
        self._carriage.go(self)

    def on_unreached(self, target: Target, reason: str) -> None:
        self._move(lost(reason))

    # --- back to the client

    def on_answer(self, upstream: Upstream) -> None:
        if not self._accepted and (not upstream.head_seen or not self._accept(upstream)):
            return
        try:
            why = self._delivery.feed(upstream.take(), ended=upstream.ended)
        except EventTooLarge:
            self._carriage.errand.drop()
            self._end_badly(Internal(f"an event of the replica is larger than {self._plane.limits.event} bytes"))
            return
        self._until = 0.0
        if self._delivery.streams and self._target is not None:
            self._target.pulse.heard(self._plane.now())
            self._carriage.began()
        if why:
            upstream.drop()
            self._fail(why)
        elif upstream.ended:
            self._close(upstream)

    def _accept(self, upstream: Upstream) -> bool:
        """Whether this answer is the one that goes to the client; if not, it is waited for, or another is sought."""
        delivery = self._delivery
        refused = upstream.status in ELSEWHERE or (delivery.begun and upstream.status != 200)
        if refused and (not upstream.ended or self._turned_away(upstream)):
            return False
        assert self._target is not None
        self._plane.table.reached(self._target)
        seen = fingerprint(upstream.headers)
        self._plane.recognise(self._target, seen)
        self._keep = self._keep and not self._plane.draining
        delivery.open(
            upstream.status, upstream.headers, self.request_id, seen, old=self._head.old, close=not self._keep
        )
        self._patience.begins(streams=delivery.streams)
        self._accepted = True
        return True

    def _turned_away(self, upstream: Upstream) -> bool:
        """The replica has answered, whole, that it does not do it. False: the client gets this answer."""
        target = self._target
        assert target is not None
        code, message = refusal(upstream.peek())
        match turned(upstream.status, code, begun=self._delivery.begun):
            case "other":
                target.fingerprint = fingerprint(upstream.headers) or "?"
                self._move(lost(message), upstream)
            case "leaving":
                target.leaving = target.leaving or code == "draining"
                self._move(Overloaded(message, hint="send the request again", code=code), upstream)
            case "lost":
                upstream.drop()
                self._fail(message)
            case "moves":
                self._move(lost(message), upstream)
            case "full":
                return self._again(upstream)
            case "final":
                upstream.drop()
                self._end_badly(lost(f"another refused to go on: {message}"))
        return True

    def _close(self, upstream: Upstream) -> None:
        status = upstream.status
        self._carriage.errand.upstream = None
        upstream.done()
        self._finish(b"", status)

    def _finish(self, data: bytes, status: int) -> None:
        keep = self._delivery.finish(data)
        self._over_with(status)
        self._client.finished(keep=self._keep and keep)

    # --- failures

    def on_lost(self, upstream: Upstream, reason: str) -> None:
        self._carriage.errand.upstream = None
        if upstream.served > 1 and not upstream.head_seen:
            # A kept connection that the replica closed as we wrote to it: the request was most likely never read. It is
            # tried there again on a fresh one, which happens once: `fresh` stays.
            self._carriage.errand.fresh = True
            self._reason = lost(reason)
            self._carriage.unhedge()
            self._carriage.place.release()
            self._seek()
        else:
            self._fail(reason)

    def _fail(self, reason: str, *, stalled: bool = False) -> None:
        """The replica is lost to this request, which goes on elsewhere from where the client stands."""
        plane = self._plane
        self._reason = lost(reason)
        if self._target is not None:
            plane.stats.lost(self._target.route.model, self._target.route.version)
        self._carriage.let_go()
        match self._delivery.lost(stalled=stalled):
            case Finish(data):
                self._finish(data, 200)
                return
            case GoOn(replay, wanted):
                self._carriage.errand.replay, self._wanted = replay, wanted
            case Again():
                self._carriage.errand.replay, self._wanted = b"", ""
            case GiveUp(why):
                self._end_badly(lost(f"{reason}; {why}" if why else reason))
                return
            case None:
                self._end_badly(self._reason)
                return
        if not plane.rescues.spend():
            self._end_badly(self._reason)
            return
        if self._carriage.errand.replay:
            plane.stats.resumed += 1
        self._seek_elsewhere()

    def _move(self, error: ColonnadeError, upstream: Upstream | None = None) -> None:
        """To another replica; nothing was asked of this one, so that it does not count. `error` if there is none."""
        self._reason = error
        if upstream is not None:
            upstream.done()
        self._carriage.let_go()
        self._seek_elsewhere()

    def _seek_elsewhere(self) -> None:
        before = self._plane.stats.retries
        self._seek()
        if self._target is not None and not self._delivery.begun:
            before[self.model] += 1

    def _again(self, upstream: Upstream) -> bool:
        """It is full: another replica works on it now. False: there is none, or enough was tried."""
        plane = self._plane
        tried = self._carriage.met
        if len(tried) >= plane.limits.tries or not plane.table.others(self.model, plane.now(), tried):
            return False
        if not plane.budget.spend():
            return False
        upstream.done()
        self._carriage.let_go()
        self._seek_elsewhere()
        return True

    def _end_badly(self, error: ColonnadeError) -> None:
        """The client gets the error: as a status, as a last event, or as a connection that breaks off."""
        if not self._delivery.begun:
            self._refuse(error)
            return
        self._plane.stats.broken += 1
        self._over_with(error.status)
        self._delivery.fail(error, self.request_id, self._head.path)

    def _refuse(self, error: ColonnadeError) -> None:
        self._plane.stats.refused[error.reason] += 1
        keep = self._keep and not self._plane.draining
        self._delivery.first_at = self._plane.now()
        self._over_with(error.status)
        self._client.send(error_answer(error, self.request_id, path=self._head.path, close=not keep))
        self._client.finished(keep=keep)

    # --- what else happens to it

    def pause(self) -> None:
        self._carriage.errand.pause()

    def resume(self) -> None:
        if self._target is not None and self._target.in_flight == 1:
            self._target.pulse.begin(self._plane.now())
        self._carriage.errand.resume()

    def leave(self) -> None:
        """The client is gone. A resumable stream is not an exception: its replica knows from the request's header
        that it goes on, and begins to count when this connection ends."""
        if self._over:
            return
        self._plane.stats.left += 1
        self._carriage.errand.drop()
        self._over_with(499)

    def cut(self) -> None:
        """The gateway shuts down."""
        self._carriage.errand.drop()
        self._end_badly(Overloaded("the gateway shuts down", hint="send the request again", code="draining"))

    def check(self, now: float) -> None:
        upstream = self._carriage.errand.upstream
        if upstream is None:  # it waits, or a connection is being made
            if self._patience.late(now, begun=self._delivery.begun):
                self._end_badly(not_begun())
            return
        if self._client.paused:
            return
        target = self._target
        assert target is not None
        stalled = target.stalled(now) and self._plane.table.better(self.model, now, target, self._wanted)
        begun = self._delivery.begun
        if verdict := self._patience.verdict(now, upstream.heard_at, begun=begun, stalled=stalled):
            self._carriage.errand.drop()
            self._impatient(verdict, target, now)
        elif not begun and self._peek.stream is True:
            self._carriage.hedge(self.model, self._switch)

    def _impatient(self, verdict: Verdict, target: Target, now: float) -> None:
        if verdict == "late":
            self._end_badly(not_begun())
            return
        plane, seconds = self._plane, self._patience.seconds
        plane.table.unreachable(target, now)
        if verdict == "stalled":
            plane.stats.stalls += 1
            self._fail("it makes no progress", stalled=True)
        elif not self._accepted and self._peek.stream is not True:
            self._end_badly(DeadlineExceeded(f"no answer within {seconds:g} s", hint="ask for a stream"))
        else:
            self._fail(f"not a byte of it for {seconds:g} s")

    @property
    def _target(self) -> Target | None:
        return self._carriage.place.target

    def _switch(self, upstream: Upstream) -> None:
        """A second replica has begun first."""
        self._accepted = False
        upstream.hand_to(self)
        self.on_answer(upstream)

    def _over_with(self, status: int) -> None:
        self._over = True
        self._carriage.unhedge()
        self._carriage.errand.end()
        if self._plane.held:
            self._plane.held.pop(self, None)
        if self.standing is not NOBODY:
            self._plane.lobby.leave(self.standing, self.model)
        self._account.close(self.request_id, status, self._delivery, self._target, sent=self._carriage.errand.sent)
        self._carriage.place.release()
