"""One request at another engine's server: its answer, told in our words, into a spool."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
import msgspec

from colonnade.replica.foreign.asking import Asked
from colonnade.replica.foreign.server import Server
from colonnade.replica.foreign.telling import Telling, WholeTelling, failure
from colonnade.replica.identity import Identity
from colonnade.replica.spool import Spool
from colonnade.replica.writer import Written
from colonnade.wire.errors import ColonnadeError, Internal, Overloaded, ReplicaLost
from colonnade.wire.stream import EventReader, event

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Watch:
    """Told of what a relay brings, on the event loop."""

    moved: Callable[[int], None]
    """So many tokens, or events of a stream."""
    over: Callable[[Relay, str], None]
    """It has ended; "ok", "cancelled" or an error's code."""


class Relay:
    """`start` it; `cancel` it. The connection to the server is closed when it ends early, which ends the work there."""

    def __init__(
        self,
        server: Server,
        path: str,
        asked: Asked,
        telling: Telling,
        identity: Identity,
        spool: Spool,
        watch: Watch,
    ) -> None:
        self.identity = identity
        self.spool = spool
        self.asked = asked
        self.path = path
        self.telling = telling
        self.error: ColonnadeError | None = None
        self._server = server
        self._watch = watch
        self._task: asyncio.Task[None] | None = None
        self._over = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"relay of {self.identity.request_id}")

    def cancel(self, error: ColonnadeError | None = None) -> None:
        """The stream ends with `error`, if given."""
        if not self._over:
            self._end("cancelled" if error is None else error.reason, error)
            assert self._task is not None
            self._task.cancel()

    async def _run(self) -> None:
        try:
            async with self._server.post(self.path, self.asked.body) as answer:
                if answer.status != 200:
                    raise failure(await answer.read(), answer.status)
                if isinstance(self.telling, WholeTelling):
                    self._take((await answer.read()).decode("utf-8", "replace"))
                else:
                    await self._stream(answer.content)
            self._end("ok", None)
        except ColonnadeError as error:
            self._fail(error)
        except Exception:
            _log.exception("an answer could not be relayed")
            self._fail(Internal("something went wrong here", hint="the replica's log says what"))

    async def _stream(self, content: aiohttp.StreamReader) -> None:
        events = EventReader()
        async for chunk in content.iter_any():
            for each in events.feed(chunk):
                if each.data and not self.telling.done:
                    self._take(each.data)
            if self._over:
                return
        if not self.telling.done:
            raise ReplicaLost("the engine's stream ended too early", hint="send the request again")

    def _take(self, data: str) -> None:
        before = self.telling.tokens
        fits = [self.spool.append(written) for written in self.telling.take(data)]
        self._watch.moved(max(1, self.telling.tokens - before))
        if not all(fits):
            self._cut()

    def _fail(self, error: ColonnadeError) -> None:
        if not self._over:
            self._end(error.reason, error)

    def _cut(self) -> None:
        error = Overloaded(
            "the reader of this stream fell too far behind",
            code="reader_too_slow",
            hint="read faster, or set spool_limit",
        )
        self.spool.cut([self._told(error)])
        self._end(error.reason, error)

    def _end(self, outcome: str, error: ColonnadeError | None) -> None:
        if self._over:
            return
        self._over = True
        self.error = error
        if not self.spool.ended:
            if error is not None and self.asked.stream and (self.spool.begun or self.spool.end > 0):
                self.spool.append(self._told(error))
            self.spool.close()
        self._watch.over(self, outcome)

    def _told(self, error: ColonnadeError) -> Written:
        return Written(event(msgspec.json.encode(error.envelope(self.identity.request_id))))
