"""Endpoints that change what a replica has in memory: other weights, sleep, waking."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from colonnade.replica.caretaker import Caretaker
from colonnade.wire.errors import InvalidRequest

ROUTES: tuple[tuple[str, str, str], ...] = (
    ("POST", "/update_weights_from_disk", "Compute with other weights of the same model, without a restart."),
    ("POST", "/sleep", "Give the memory of keys and values back, at level 2 that of the weights, too."),
    ("POST", "/wake_up", "Take requests again after /sleep."),
    ("GET", "/is_sleeping", "Whether it sleeps."),
)

Change = Callable[[bytes, str], Awaitable[dict[str, Any]]]
"""From body and query to what is said as JSON."""


class Changing:
    """`changes` answer a POST, `pages` a GET."""

    def __init__(self, caretaker: Caretaker) -> None:
        self._caretaker = caretaker
        self.changes: dict[str, Change] = {
            "/update_weights_from_disk": self._update,
            "/sleep": self._sleep,
            "/wake_up": self._wake,
        }
        self.pages: dict[str, Callable[[], tuple[int, Any]]] = {
            "/is_sleeping": lambda: (200, {"is_sleeping": caretaker.level > 0}),
        }

    async def _update(self, body: bytes, query: str) -> dict[str, Any]:
        _asked(query)
        return await self._caretaker.update(body)

    async def _sleep(self, body: bytes, query: str) -> dict[str, Any]:
        asked = _asked(query, "level", "timeout")
        level, seconds = asked.get("level", "1"), asked.get("timeout", "")
        if level not in ("1", "2") or not re.fullmatch(r"[0-9]{0,4}", seconds):
            raise InvalidRequest("level is 1 or 2, timeout a whole number of seconds", param="level")
        await self._caretaker.sleep(int(level), float(seconds) if seconds else None)
        return {"success": True}

    async def _wake(self, body: bytes, query: str) -> dict[str, Any]:
        _asked(query)
        await self._caretaker.wake()
        return {"success": True}


def _asked(query: str, *known: str) -> dict[str, str]:
    """Raises InvalidRequest for a parameter that does not exist."""
    sent = dict(parse_qsl(query, keep_blank_values=True))
    if strange := sent.keys() - set(known):
        raise InvalidRequest(f"unknown parameter {min(strange)}", hint=f"known: {', '.join(known) or 'none'}")
    return sent
