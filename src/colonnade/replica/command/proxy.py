"""Requests passed on to the package's own server, and its answers back, as they come."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable

import aiohttp
from starlette.websockets import WebSocket, WebSocketDisconnect
from yarl import URL

from colonnade.replica.connection import Message, Receive, Send
from colonnade.replica.package.refusals import Refused
from colonnade.replica.package.watching import until_gone

_HOPS = frozenset(
    (
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer"),
        *(b"transfer-encoding", b"upgrade", b"host"),
    )
)
"""Headers of one connection, not of the message."""
SILENT = "The package's server does not answer."


async def relay(
    session: aiohttp.ClientSession, url: str, body: bytes, scope: Message, receive: Receive, send: Send
) -> None:
    """Raises Refused before anything is sent; breaks the connection off where the server does."""
    headers = [(key.decode("latin-1"), value.decode("latin-1")) for key, value in _passed(scope["headers"])]
    query = scope["query_string"].decode("latin-1")
    target = URL(f"{url}?{query}" if query else url, encoded=True)
    unasked = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")
    async with until_gone(receive):
        try:
            answer = await session.request(
                scope["method"], target, headers=headers, data=body or None, allow_redirects=False,
                skip_auto_headers=unasked,
            )  # fmt: skip
        except (aiohttp.ClientError, OSError) as error:
            raise Refused(502, SILENT, "600", retry_after=1) from error
        async with _closed(answer):
            await send({"type": "http.response.start", "status": answer.status, "headers": _passed(answer.raw_headers)})
            async for chunk in answer.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


@contextlib.asynccontextmanager
async def _closed(answer: aiohttp.ClientResponse) -> AsyncGenerator[None]:
    """Its connection goes with a client that goes."""
    try:
        yield
    except BaseException:
        answer.close()
        raise
    answer.release()


def _passed(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Without those of the connection."""
    return [(key, value) for key, value in headers if key.lower() not in _HOPS]


async def relay_socket(session: aiohttp.ClientSession, url: str, socket: WebSocket) -> None:
    """Both ways until either side closes."""
    try:
        async with session.ws_connect(url, max_msg_size=100 << 20) as server:
            await socket.accept()
            up = asyncio.create_task(_up(socket, server))
            try:
                await _down(server, socket)
            finally:
                up.cancel()
                await asyncio.gather(up, return_exceptions=True)
            if socket.application_state.name == "CONNECTED" and socket.client_state.name == "CONNECTED":
                await socket.close(server.close_code or 1000)
    except (aiohttp.ClientError, OSError):
        await socket.close(1013, SILENT)


async def _up(socket: WebSocket, server: aiohttp.ClientWebSocketResponse) -> None:
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                break
            if (text := message.get("text")) is not None:
                await server.send_str(text)
            else:
                await server.send_bytes(message["bytes"])
    finally:
        await server.close()


async def _down(server: aiohttp.ClientWebSocketResponse, socket: WebSocket) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        async for message in server:
            if message.type is aiohttp.WSMsgType.TEXT:
                await socket.send_text(message.data)
            elif message.type is aiohttp.WSMsgType.BINARY:
                await socket.send_bytes(message.data)
