"""One request on a connection of its own: for what is asked rarely, off the way of requests."""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import urlsplit

from colonnade.gateway.upstream import Pool, Upstream
from colonnade.wire.errors import BadSetting

LIMIT = 64 << 20
"""Bytes of an answer; more is not taken."""


class FetchFailed(Exception):
    """The other side could not be reached, broke off, or sent too much."""


class _Waiting:
    """The `Receiver` of one answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.body = b""
        self.done: asyncio.Future[int] = loop.create_future()

    def on_answer(self, upstream: Upstream) -> None:
        self.body += upstream.take()
        if len(self.body) > LIMIT:
            self.on_lost(upstream, f"its answer is larger than {LIMIT} bytes")
        elif upstream.ended and not self.done.done():
            self.done.set_result(upstream.status)

    def on_lost(self, upstream: Upstream, reason: str) -> None:
        if not self.done.done():
            self.done.set_exception(FetchFailed(reason))


async def get(url: str, seconds: float, bearer: str = "") -> tuple[int, bytes]:
    """Status and body. Raises FetchFailed, BadSetting for what is no URL."""
    return await _ask("GET", url, seconds, bearer, b"")


async def post(url: str, seconds: float, bearer: str, body: bytes) -> tuple[int, bytes]:
    """The same with a body of JSON."""
    return await _ask("POST", url, seconds, bearer, body)


async def _ask(method: str, url: str, seconds: float, bearer: str, body: bytes) -> tuple[int, bytes]:
    loop = asyncio.get_running_loop()
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    pool = Pool(f"http://{parts.netloc}", loop)
    port = parts.port or (443 if secure else 80)
    waiting = _Waiting(loop)
    upstream: Upstream | None = None
    if bearer and not bearer.isprintable():
        raise BadSetting("the token holds characters that cannot be sent", hint="--token-file names the file")
    try:
        async with asyncio.timeout(seconds):
            context = ssl.create_default_context() if secure else None
            _, upstream = await loop.create_connection(lambda: Upstream(pool), pool.host, port, ssl=context)
            upstream.send(waiting, _request(method, url, bearer, len(body)), body, loop.time())
            return await waiting.done, waiting.body
    except TimeoutError:
        raise FetchFailed(f"no answer within {seconds:g} s") from None
    except OSError as error:
        raise FetchFailed(str(error)) from error
    finally:
        if upstream is not None:
            upstream.drop()


def _request(method: str, url: str, bearer: str, length: int) -> bytes:
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close"]
    if length:
        lines += ["Content-Type: application/json", f"Content-Length: {length}"]
    if bearer:
        lines.append(f"Authorization: Bearer {bearer}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
