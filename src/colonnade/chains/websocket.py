"""The entry of a chain over a websocket: `WS /run_remote`, items both ways for as long as both sides like.

A binary message is an item of bytes; any other item is text, `{"item": ...}`. Each direction has one end,
`{"end": {}}`, or from the chain `{"error": {...}}`, after which it closes. The step reads what it takes and no faster:
a message that it has not taken stays with the client. A client that closes, or goes, cancels.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec

from colonnade.chains.client import Client
from colonnade.chains.contract import Contract
from colonnade.chains.handles import Root
from colonnade.wire.errors import ColonnadeError, InvalidRequest, Unauthenticated

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
NORMAL, REFUSED, FAILED = 1000, 1008, 1011
"""Codes of the close: at the end, of an error that the client can mend, of any other."""
LOCAL = {"localhost", "127.0.0.1", "::1"}
_END = object()


class Hung(Exception):
    """The client closed, or is gone."""


class Talking:
    """One websocket that was accepted. Nothing is read ahead but one message, so that its end is seen in time."""

    def __init__(self, contract: Contract, receive: Receive, send: Send) -> None:
        self._contract = contract
        self._receive = receive
        self._send = send
        self._items: asyncio.Queue[Any] = asyncio.Queue(1)

    async def run(self, client: Client, arguments: Any, root: Root) -> None:
        """Raises Hung when the client goes, and what the chain raises; its work is cancelled then."""
        work = asyncio.ensure_future(self._answer(client, arguments, root))
        hearing = asyncio.ensure_future(self._hear())
        try:
            await asyncio.wait((work, hearing), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                hearing.result()
            await work
        finally:
            work.cancel()
            hearing.cancel()
            await asyncio.wait((work, hearing))
            _seen(work, hearing)

    async def _answer(self, client: Client, arguments: Any, root: Root) -> None:
        feed = self._feed() if self._contract.signature.feed else None
        started = client.start(arguments, feed, root)
        if not self._contract.streams:
            await self._put(await started)
            return
        async with contextlib.aclosing(started) as items:
            async for item in items:
                await self._put(item)

    async def _put(self, item: Any) -> None:
        if isinstance(item, (bytes, bytearray, memoryview)):
            await self._send({"type": "websocket.send", "bytes": bytes(item)})
        else:
            await self._send({"type": "websocket.send", "text": text_of("item", item)})

    async def _feed(self) -> AsyncIterator[Any]:
        while (item := await self._items.get()) is not _END:
            if isinstance(item, ColonnadeError):
                raise item
            yield item

    async def _hear(self) -> None:
        """Until the client goes: raises Hung."""
        ended = not self._contract.signature.feed
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                raise Hung
            if ended:
                raise InvalidRequest("a message came after the end, or to a step that takes no stream")
            item = self._item(message)
            ended = item is _END
            await self._items.put(item)

    def _item(self, message: dict[str, Any]) -> Any:
        if (data := message.get("bytes")) is not None:
            return self._contract.item_of_bytes(data)
        try:
            said = msgspec.json.decode(message["text"], type=dict[str, msgspec.Raw])
        except msgspec.DecodeError as error:
            raise InvalidRequest(f"a message is no JSON object: {error}", code="invalid_json") from error
        if list(said) == ["end"]:
            return _END
        if list(said) != ["item"]:
            raise InvalidRequest('a message is {"item": ...} or {"end": {}}', code="invalid_json")
        return self._contract.item_of_json(said["item"])


def text_of(kind: str, value: Any) -> str:
    from colonnade.chains.values import outward

    return msgspec.json.encode({kind: value}, enc_hook=outward).decode()


def check_origin(headers: dict[bytes, bytes]) -> None:
    """A page of another site may open a websocket to this machine: none but local pages may. Raises Unauthenticated."""
    origin = headers.get(b"origin", b"").decode("latin-1")
    if origin and urlsplit(origin).hostname not in LOCAL:
        raise Unauthenticated(f"pages of {origin} may not call this chain", code="other_origin")


def close_code(status: int) -> int:
    return FAILED if status >= 500 else REFUSED


def _seen(*tasks: asyncio.Future[Any]) -> None:
    """One of their errors is raised; the other's came of the cancellation."""
    for task in tasks:
        if not task.cancelled():
            task.exception()
