"""Waiting for a server to say that it is ready, with an eye on what could make the waiting vain."""

from __future__ import annotations

import asyncio
import http.client
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import msgspec

from colonnade.wire.errors import DeadlineExceeded, SetupError

INTERVAL = 0.05
"""Seconds between two looks."""
PAUSE = 2.0
"""Seconds between two words of how far something is."""
LONGEST = 64 << 10
"""Bytes read of an answer."""


def _nothing(_text: str = "") -> str:
    return ""


async def until_ready(
    url: str,
    within: float,
    doom: Awaitable[str],
    what: str,
    tell: Callable[[str], object] = _nothing,
    doing: Callable[[], str] = _nothing,
) -> None:
    """Returns when GET `url`/ready answers 200. `doom` ends when there is nothing left to wait for, with the reason.

    While a model is being fetched, as the answer or `doing` says, no time counts, and `tell` hears how far it is.
    Raises SetupError with doom's reason, or DeadlineExceeded after `within` seconds.
    """
    looking = asyncio.create_task(_look(url, within, what, Slowly(tell), doing))
    ending = asyncio.ensure_future(doom)
    try:
        done, _ = await asyncio.wait((looking, ending), return_when=asyncio.FIRST_COMPLETED)
        if ending in done:
            raise SetupError(f"{what} failed: {ending.result()}", code="start_failed")
        await looking
    finally:
        looking.cancel()
        ending.cancel()
        await asyncio.gather(looking, ending, return_exceptions=True)


class Slowly:
    """Tells what changes quickly, but for the first word of all only each PAUSE seconds."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        self._tell = tell
        self._last = ""
        self._at = float("-inf")

    def say(self, text: str, now: float) -> None:
        if text and text != self._last and now - self._at >= PAUSE:
            self._last, self._at = text, now
            self._tell(text)


async def _look(url: str, within: float, what: str, slowly: Slowly, doing: Callable[[], str]) -> None:
    deadline = time.monotonic() + within
    while True:
        status, said = await asyncio.to_thread(look_at, url)
        if status == 200:
            return
        now = time.monotonic()
        busy = said or doing()
        slowly.say(busy, now)
        if busy:
            deadline = now + within
        if now > deadline:
            answers = f"answers {status}" if status else "does not answer"
            raise DeadlineExceeded(
                f"{what} is not ready after {within:.0f} s: {url}/ready {answers}",
                hint="fleet.start_timeout is how long to wait; `colonnade logs` shows what it says",
                code="start_timeout",
            )
        await asyncio.sleep(INTERVAL)


def look_at(url: str) -> tuple[int, str]:
    """The status of `url`/ready, and what a replica that starts is doing."""
    status, body = _get(url, "/ready")
    try:
        answer = msgspec.json.decode(body, type=_Ready)
    except msgspec.DecodeError:
        return status, ""
    return status, answer.reason if answer.phase == "starting" else ""


class _Ready(msgspec.Struct):
    phase: str = ""
    reason: str = ""


def status_of(url: str, path: str) -> int:
    """The status of a GET, 0 where nothing answers."""
    return _get(url, path)[0]


def _get(url: str, path: str) -> tuple[int, bytes]:
    """Status 0 where nothing answers."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(LONGEST)
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()
