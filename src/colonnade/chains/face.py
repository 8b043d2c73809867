"""The HTTP face of a chain: `POST /run_remote` calls its entry with a JSON object, `GET /` says what it is.

An answer that is a stream comes as newline-delimited JSON, or as server-sent events where the client accepts them. Its
last line says that it is whole, or carries the error: a stream without one was cut off. A client that goes cancels.
`WS /run_remote` calls it over a websocket.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import msgspec

from colonnade.chains.client import Client
from colonnade.chains.handles import Root
from colonnade.chains.notes import Report, Span
from colonnade.chains.reports import status_of
from colonnade.chains.values import outward
from colonnade.chains.waterfall import plain, waterfall
from colonnade.chains.websocket import NORMAL, Hung, Talking, check_origin, close_code, text_of
from colonnade.wire.errors import BodyTooLarge, ColonnadeError, Internal, InvalidRequest, MethodNotAllowed, NotFound

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
PATH = "/run_remote"
BODY_LIMIT = 64 << 20


class Gone(Exception):
    """The client left."""


class Face:
    """An ASGI application. `said` is what `GET /` answers; `keep` is given each request's trace."""

    def __init__(
        self,
        client: Client,
        said: Callable[[], dict[str, Any]],
        keep: Callable[[str, Span], None] | None = None,
    ) -> None:
        self._client = client
        self._said = said
        self._keep = keep

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        query = parse_qs(scope["query_string"].decode("latin-1"))
        root = Root(trace=self._keep is not None)
        try:
            if scope.get("type") == "websocket":
                await self._talk(scope, query, receive, send, root)
            else:
                await self._ask(scope, query, receive, send, root)
        finally:
            if self._keep is not None and root.spans:
                self._keep(root.id, root.spans[-1])

    async def _ask(
        self, scope: dict[str, Any], query: dict[str, list[str]], receive: Receive, send: Send, root: Root
    ) -> None:
        reply = _Reply(send, root)
        try:
            if not self._wants_call(scope["path"], scope["method"]):
                await reply.whole(200, self._said())
                return
            body = await _body(receive)
            _asked(root, query)
            await _while_wanted(self._call(body, scope, root, reply), receive)
        except Gone:
            return
        except Exception as error:
            await reply.failed(error)

    async def _talk(
        self, scope: dict[str, Any], query: dict[str, list[str]], receive: Receive, send: Send, root: Root
    ) -> None:
        """What is wrong before the websocket is open is an answer of HTTP, as to any request."""
        await receive()
        try:
            check_origin(dict(scope["headers"]))
            self._wants_call(scope["path"], "POST")
            _asked(root, query)
            arguments = self._client.contract.decode_json(query.get("arguments", ["{}"])[-1].encode())
        except ColonnadeError as error:
            await _Reply(send, root, "websocket.http.response").failed(error)
            return
        named = [(b"colonnade-request-id", root.id.encode())]
        await send({"type": "websocket.accept", "headers": named})
        try:
            await Talking(self._client.contract, receive, send).run(self._client, arguments, root)
            last, code, reason = text_of("end", _trace(root)), NORMAL, ""
        except (Hung, OSError):
            return
        except Exception as error:
            said = _envelope(error, root)["error"]
            last, code, reason = text_of("error", said), close_code(status_of(error)), said["code"]
        with contextlib.suppress(OSError):  # it may have gone meanwhile
            await send({"type": "websocket.send", "text": last})
            await send({"type": "websocket.close", "code": code, "reason": reason})

    def _wants_call(self, path: str, method: str) -> bool:
        """False for what it is. Raises NotFound, MethodNotAllowed."""
        methods = {"/": "GET", PATH: "POST"}
        if path not in methods:
            raise NotFound(f"there is no {path}", hint=f"POST {PATH} calls the chain, GET / says what it is")
        if methods[path] != method:
            raise MethodNotAllowed(f"{path} takes {methods[path]}", hint=_UPGRADE if path == PATH else "")
        return path == PATH

    async def _call(self, body: bytes, scope: dict[str, Any], root: Root, reply: _Reply) -> None:
        contract = self._client.contract
        if contract.signature.feed:
            raise InvalidRequest(
                f"{contract.signature.feed} is a stream, which one JSON body cannot carry",
                hint=f"call it over a websocket, WS {PATH}, or from Python: colonnade.chains.connect",
            )
        started = self._client.start(contract.decode_json(body), None, root)
        if contract.streams:
            accept = dict(scope["headers"]).get(b"accept", b"")
            await reply.stream(started, b"text/event-stream" in accept)
            return
        answer = await started
        await reply.whole(200, {"answer": answer, **_trace(root)} if root.shown else answer)


class _Reply:
    """Of one request: nothing has been sent, a stream has begun, or all is sent."""

    def __init__(self, send: Send, root: Root, kind: str = "http.response") -> None:
        self._send = send
        self._kind = kind
        self._root = root
        self._events: bool | None = None
        """Of a stream that has begun: whether it is of server-sent events."""

    async def whole(self, status: int, value: Any) -> None:
        body = _json(value)
        await self._start(status, b"application/json", (b"content-length", str(len(body)).encode()))
        await self._send({"type": f"{self._kind}.body", "body": body})

    async def stream(self, items: AsyncIterator[Any], events: bool) -> None:
        """The first item or error is waited for, so that an early error has its status."""
        first = await anext(items, _NOTHING)
        self._events = events
        await self._start(200, b"text/event-stream" if events else b"application/x-ndjson")
        if first is not _NOTHING:
            await self._piece("item", first)
            async for item in items:
                await self._piece("item", item)
        await self._piece("end", _trace(self._root), last=True)

    async def failed(self, error: Exception) -> None:
        envelope = _envelope(error, self._root)
        if self._events is None:
            await self.whole(status_of(error), envelope)
        else:
            await self._piece("error", envelope["error"], last=True)

    async def _piece(self, kind: str, value: Any, last: bool = False) -> None:
        if self._events:
            mark = b"" if kind == "item" else b"event: %s\n" % kind.encode()
            body = mark + b"data: " + _json(value) + b"\n\n"
        else:
            body = _json({kind: value}) + b"\n"
        await self._send({"type": f"{self._kind}.body", "body": body, "more_body": not last})

    async def _start(self, status: int, kind: bytes, *more: tuple[bytes, bytes]) -> None:
        named = (b"colonnade-request-id", self._root.id.encode())
        headers = [(b"content-type", kind), named, *more]
        await self._send({"type": f"{self._kind}.start", "status": status, "headers": headers})


_NOTHING = object()
_UPGRADE = "for a websocket this server needs the library: pip install 'colonnade[packages]'"


def _asked(root: Root, query: dict[str, list[str]]) -> None:
    """Raises InvalidRequest."""
    root.shown = query.get("trace", ["0"])[-1] == "1"
    root.trace = root.trace or root.shown
    root.timeout = _timeout(query.get("timeout", [""])[-1])


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value, enc_hook=outward)


def _envelope(error: Exception, root: Root) -> dict[str, Any]:
    """The one envelope; of an error that passed steps also its class's name and which steps, the raising one first."""
    known = error if isinstance(error, ColonnadeError) else Internal(f"{type(error).__name__}: {error}")
    envelope = known.envelope(root.id)
    report = getattr(error, "report", None)
    if isinstance(report, Report):
        envelope["error"] |= {"kind": report.kind, "steps": [each.step for each in report.hops]}
        if root.shown:
            envelope["error"]["stack"] = str(report)
    return envelope


def _trace(root: Root) -> dict[str, Any]:
    if not root.shown or not root.spans:
        return {}
    span = root.spans[-1]
    return {"request_id": root.id, "trace": plain(span), "waterfall": waterfall(span)}


def _timeout(text: str) -> float | None:
    """Raises InvalidRequest."""
    try:
        seconds = float(text) if text else None
    except ValueError:
        seconds = 0.0
    if seconds is not None and not 0 < seconds < float("inf"):
        raise InvalidRequest(f"timeout={text} is no number of seconds", param="timeout")
    return seconds


async def _body(receive: Receive) -> bytes:
    """Raises Gone, BodyTooLarge."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        body += message.get("body", b"")
        if len(body) > BODY_LIMIT:
            raise BodyTooLarge(f"the body is larger than {BODY_LIMIT} bytes", hint="send large values from Python")
        if not message.get("more_body"):
            return bytes(body)


async def _while_wanted(work: Awaitable[None], receive: Receive) -> None:
    """Raises Gone when the client goes first; the work is cancelled then."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(receive())
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Gone
        await task
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.wait((task, gone))
