"""The same without a wire: values are encoded and decoded as between processes, and errors are reported the same way.

Only the socket is missing. A stream holds one item, so neither side runs ahead of the other.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator

from colonnade.chains.frames import Parts
from colonnade.chains.host import Host
from colonnade.chains.notes import Closing, Order
from colonnade.chains.peer import Inbox
from colonnade.chains.reports import error_of, report_of
from colonnade.chains.values import blobbed


class InlineLink:
    keeps_time = True

    def __init__(self, host: Host) -> None:
        self._host = host

    async def open(self, order: Order, parts: Parts, feed: AsyncIterator[Parts] | None) -> InlineTalk:
        return InlineTalk(self._host, order, blobbed(parts), feed)

    async def close(self) -> None:
        """Nothing is held."""


class InlineTalk:
    def __init__(self, host: Host, order: Order, parts: Parts, feed: AsyncIterator[Parts] | None) -> None:
        self.closing = Closing()
        self._host = host
        self._order = order
        self._parts = parts
        self._feed = feed
        self._callers = contextvars.copy_context()
        self._taken = asyncio.Event()
        self._inbox = Inbox(lambda _: self._taken.set())
        self._task: asyncio.Task[None] | None = None

    async def result(self) -> tuple[Parts, Closing]:
        """Runs in the caller's own task: what cancels the caller cancels the step."""
        answer, closing = await self._host.answer(self._order, self._parts, self._receive, self._send)
        return (blobbed(answer) if answer else answer), closing

    async def next(self) -> Parts | None:
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await self._inbox.next()

    def abandon(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            _, self.closing = await self._host.answer(self._order, self._parts, self._receive, self._send)
        finally:
            self._inbox.close()

    async def _receive(self) -> Parts | None:
        if self._feed is None:
            return None
        try:
            return await asyncio.create_task(_next(self._feed), context=self._callers)
        except Exception as error:
            raise error_of(report_of(error, "the caller")) from None

    async def _send(self, parts: Parts) -> None:
        self._taken.clear()
        self._inbox.put(blobbed(parts), 0)
        await self._taken.wait()


async def _next(feed: AsyncIterator[Parts]) -> Parts | None:
    parts = await anext(feed, None)
    return None if parts is None else blobbed(parts)
