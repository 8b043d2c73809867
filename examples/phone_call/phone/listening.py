"""One turn as it is transcribed. Its frames are kept: a step that is lost is given them again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TypeVar

from colonnade.wire.errors import ReplicaLost

T = TypeVar("T")
TRIES = 3


async def steady(call: Callable[[], AsyncIterator[T]]) -> AsyncIterator[T]:
    """The items of a stream that is the same each time: where its step is lost it is begun again, and what has been
    given is left out. Raises ReplicaLost the third time."""
    given = 0
    for attempt in range(TRIES):
        number = 0
        try:
            async for item in call():
                number += 1
                if number > given:
                    given = number
                    yield item
            return
        except ReplicaLost:
            if attempt + 1 == TRIES:
                raise


class Listening:
    def __init__(
        self, transcribe: Callable[[AsyncIterator[bytes]], AsyncIterator[str]], frames: Iterable[bytes]
    ) -> None:
        self.text = ""
        self._transcribe = transcribe
        self._frames = list(frames)
        self._over = False
        self._more = asyncio.Event()
        self._following = asyncio.create_task(self._follow())

    def put(self, frame: bytes) -> None:
        self._frames.append(frame)
        self._more.set()

    async def whole(self) -> str:
        """The text of all of it. Raises what the step raises."""
        self._over = True
        self._more.set()
        await self._following
        return self.text

    def drop(self) -> None:
        self._following.cancel()

    async def _follow(self) -> None:
        for attempt in range(TRIES):
            try:
                async for text in self._transcribe(self._feed()):
                    self.text = text
                return
            except ReplicaLost:
                if attempt + 1 == TRIES:
                    raise

    async def _feed(self) -> AsyncIterator[bytes]:
        number = 0
        while True:
            while number < len(self._frames):
                yield self._frames[number]
                number += 1
            if self._over:
                return
            self._more.clear()
            await self._more.wait()
