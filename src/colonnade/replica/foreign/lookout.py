"""Looks at another engine's server: until it takes requests, and then twice a second until it is gone."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import zmq
import zmq.asyncio

from colonnade.replica.foreign.cache_events import CacheEvents
from colonnade.replica.foreign.loads import READERS, Seen
from colonnade.replica.foreign.server import Served, Server, Slow, Unreachable
from colonnade.replica.foreign.vitals import Vitals
from colonnade.wire.errors import BadSetting
from colonnade.wire.messages import CacheChange, Load

INTERVAL = 0.5
"""Seconds between two looks: gateways take two seconds without a sign for a stall."""


class Lookout:
    """`load` is what the engine last told of itself, None where it tells nothing."""

    def __init__(self, server: Server, vitals: Vitals, changed: Callable[[list[CacheChange]], None]) -> None:
        self.load: Load | None = None
        self._server = server
        self._vitals = vitals
        self._changed = changed

    async def until_ready(self, tell: Callable[[str], None]) -> list[Served]:
        """Its models, once it takes requests. `tell` hears why it does not yet."""
        while True:
            try:
                if await self._server.healthy():
                    return await self._server.models()
                tell(f"{self._server.kind.health} of the engine is not well yet")
            except (Unreachable, Slow) as error:
                tell(f"the engine at {self._server.url} does not answer yet: {error}")
            await asyncio.sleep(INTERVAL)

    async def run(self) -> None:
        """Until the engine is gone."""
        while not self._vitals.gone:
            await asyncio.sleep(INTERVAL)
            await self.look()

    async def look(self) -> None:
        try:
            seen = await self._see()
        except Unreachable as error:
            self._vitals.refused(str(error))
        except Slow:
            self._vitals.silent(time.monotonic())
        else:
            self.load = self.load if seen is None else seen.load
            self._vitals.looked(None if seen is None else seen.work, time.monotonic())
        self._changed([])

    async def _see(self) -> Seen | None:
        """A server without such a page is looked at by its health. Raises Unreachable, Slow."""
        read = READERS.get(self._server.kind.name)
        if read is not None:
            with contextlib.suppress(Slow):
                return read(await self._server.metrics())
        await self._server.healthy()
        return None

    async def listen(self, endpoint: str, events: CacheEvents) -> None:
        """To its cache events, for good."""
        context = zmq.asyncio.Context()
        try:
            with context.socket(zmq.SUB) as socket:
                socket.linger = 0
                socket.subscribe(b"")
                socket.connect(endpoint)
                while True:
                    self._changed(events.take(await socket.recv_multipart()))
        finally:
            context.destroy(linger=0)


def check_endpoint(endpoint: str) -> None:
    """Raises BadSetting."""
    if endpoint and not endpoint.startswith(("tcp://", "ipc://")):
        raise BadSetting(f"engine_events {endpoint!r} is no endpoint", hint="write it as tcp://HOST:PORT")


def chosen(models: list[Served], wanted: str) -> Served:
    """The model that is meant: the one of that name, or the only one. Raises BadSetting."""
    found = [each for each in models if each.name == wanted] or (models if len(models) == 1 else [])
    if len(found) == 1 and wanted in ("", found[0].name):
        return found[0]
    names = ", ".join(each.name for each in models) or "none"
    raise BadSetting(f"the engine does not serve {wanted or 'one model alone'!r}", hint=f"it serves: {names}")
