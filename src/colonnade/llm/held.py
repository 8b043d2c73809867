"""A face with its engine and no HTTP in front: requests as bodies, answers as bodies and events. On one event loop."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

import msgspec

from colonnade.replica.bringing_up import BringingUp
from colonnade.replica.exchange import READERS
from colonnade.replica.face import Face
from colonnade.replica.generation import Generation
from colonnade.wire.errors import InvalidRequest, NotFound, SetupError
from colonnade.wire.settings import Resolved
from colonnade.wire.stream import EventReader

STREAMED = ("/v1/chat/completions", "/v1/completions", "/v1/messages", "/generate")


class Held:
    def __init__(self, face: Face) -> None:
        self._face = face

    @classmethod
    async def start(cls, model: str, resolved: Resolved) -> Held:
        """Returns when it takes requests. Raises BadModel, and SetupError with what the engine said."""
        coming = BringingUp(model, secrets.token_hex(4), resolved)
        held = cls(coming.face)
        ready = asyncio.create_task(coming.face.taking.wait())
        try:
            await coming.start()
            await asyncio.wait((ready, coming.face.gone), return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                raise SetupError(f"the engine did not start: {coming.face.gone.result()}")
        except BaseException:
            await coming.face.stop()
            raise
        finally:
            ready.cancel()
        return held

    async def stop(self) -> None:
        """What is in flight gets an Overloaded; the engine's process has ended when this returns."""
        self._face.drain(0.0, "the engine was closed")
        await self._face.gone
        await self._face.stop()

    @property
    def card(self) -> dict[str, object]:
        return self._face.model_card()

    async def ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The whole answer. Raises ColonnadeError."""
        generation = await self._begin(path, {name: value for name, value in body.items() if name != "stream"})
        try:
            await _woken(generation, lambda: generation.spool.ended)
        finally:
            generation.cancel()
        if generation.error is not None:
            raise generation.error
        return msgspec.json.decode(generation.spool.take(0))

    async def flow(self, path: str, body: dict[str, Any]) -> Flow:
        """The answer as it comes. Raises ColonnadeError."""
        if path not in STREAMED:
            raise InvalidRequest(f"{path} is not streamed", hint="ask for the whole answer")
        return Flow(await self._begin(path, body | {"stream": True}))

    async def _begin(self, path: str, body: dict[str, Any]) -> Generation:
        if path not in READERS:
            raise NotFound(f"no such path: {path}", hint=f"one of {', '.join(READERS)}")
        read, endpoint = READERS[path]
        identity = self._face.identify({})
        taken = await read(self._face.open_for_work(), msgspec.json.encode(body), identity)
        return self._face.begin(taken, identity, endpoint)


class Flow:
    """One stream. It may be stopped at any time, by anybody on the loop."""

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self._reader = EventReader()
        self._offset = 0
        self._events: list[dict[str, Any]] = []

    async def next(self) -> dict[str, Any] | None:
        """An event's data; None at the end. Raises the error that ended it."""
        generation = self._generation
        while not self._events:
            await _woken(generation, lambda: generation.spool.ended or generation.spool.end > self._offset)
            if not self._read():
                if generation.error is not None:
                    raise generation.error
                return None
        return self._events.pop(0)

    def _read(self) -> bool:
        """What is there. False at the end."""
        data = self._generation.spool.take(self._offset)
        self._offset += len(data)
        self._generation.spool.deliver(self._offset)
        said = (event.data for event in self._reader.feed(data))
        decoded = [msgspec.json.decode(each) for each in said if each and each != "[DONE]"]
        self._events += [each for each in decoded if "error" not in each]
        return bool(data)

    def stop(self) -> None:
        """Nothing after the end."""
        self._generation.cancel()


async def _woken(generation: Generation, until: Callable[[], bool]) -> None:
    """One reader a spool."""
    woken = asyncio.Event()
    generation.spool.wake = woken.set
    while not until():
        woken.clear()
        await woken.wait()
