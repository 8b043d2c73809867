"""An answer in pieces: generated ahead of its reader, but not without bound, and ended when the reader goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from colonnade.replica.package.refusals import model_failed

AHEAD = 256
"""Pieces that may wait for a slow reader before generation waits too."""

_END = object()


class StreamFailed(Exception):
    """The stream broke off after it had begun: its connection is cut, so that the client sees that it is not whole."""


class Pieces:
    """`done` is called once, when generation has ended: a slow reader of the rest does not hold the model."""

    def __init__(
        self,
        source: AsyncIterator[Any],
        gap: float,
        done: Callable[[], None],
        tell: Callable[[str, BaseException], None],
    ) -> None:
        self._source = source
        self._gap = gap
        self._tell = tell
        self._error: Exception | None = None
        self._queue: asyncio.Queue[Any] = asyncio.Queue(AHEAD)
        self._task = asyncio.create_task(self._generate(), name="pieces of an answer")
        self._task.add_done_callback(lambda _: done())

    async def _generate(self) -> None:
        try:
            async for piece in self._source:
                await self._queue.put(piece if isinstance(piece, bytes) else _bytes(piece))
        except Exception as error:
            self._tell("the stream", error)
            self._error = error
        finally:
            await self._close_source()
        await self._queue.put(_END)

    async def _close_source(self) -> None:
        close = getattr(self._source, "aclose", None)
        if close is not None:
            await close()

    async def first(self) -> bytes | None:
        """The first piece, None for none. Raises Refused where it fails before that."""
        piece = await self._next()
        if piece is _END:
            if self._error is not None:
                raise model_failed()
            return None
        return piece

    async def rest(self) -> AsyncIterator[bytes]:
        """Raises StreamFailed."""
        while (piece := await self._next()) is not _END:
            yield piece
        if self._error is not None:
            raise StreamFailed from self._error

    async def stop(self) -> None:
        """Nobody reads any more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _next(self) -> Any:
        try:
            return await asyncio.wait_for(self._queue.get(), self._gap)
        except TimeoutError as error:
            self._tell("the stream", TimeoutError(f"nothing came for {self._gap:g} s (runtime.streaming_read_timeout)"))
            raise StreamFailed from error


def _bytes(piece: Any) -> bytes:
    return bytes(piece) if isinstance(piece, bytearray | memoryview) else str(piece).encode()
