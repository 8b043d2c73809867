"""Waiting for a server to say that it is ready, with an eye on what could make the waiting vain."""

from __future__ import annotations

import asyncio
import http.client
import time
from collections.abc import Awaitable
from urllib.parse import urlsplit

from colonnade.wire.errors import DeadlineExceeded, SetupError

INTERVAL = 0.05
"""Seconds between two looks."""


async def until_ready(url: str, within: float, doom: Awaitable[str], what: str) -> None:
    """Returns when GET `url`/ready answers 200. `doom` ends when there is nothing left to wait for, with the reason.

    Raises SetupError with that reason, or DeadlineExceeded after `within` seconds.
    """
    looking = asyncio.create_task(_look(url, within, what))
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


async def _look(url: str, within: float, what: str) -> None:
    deadline = time.monotonic() + within
    while True:
        status = await asyncio.to_thread(status_of, url, "/ready")
        if status == 200:
            return
        if time.monotonic() > deadline:
            said = f"answers {status}" if status else "does not answer"
            raise DeadlineExceeded(
                f"{what} is not ready after {within:.0f} s: {url}/ready {said}",
                hint="fleet.start_timeout is how long to wait; `colonnade logs` shows what it says",
                code="start_timeout",
            )
        await asyncio.sleep(INTERVAL)


def status_of(url: str, path: str) -> int:
    """The status of a GET, 0 where nothing answers."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
