"""Epochs: names of lives. Short, `[a-z0-9]{11}`, later ones sort higher, and no two alike."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def base36(number: int, width: int) -> str:
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return text.rjust(width, "0")


def epochs() -> Iterator[str]:
    """Milliseconds since 1970 in eight digits (enough until 2059), and three of chance."""
    latest = 0
    while True:
        latest = max(latest + 1, time.time_ns() // 1_000_000)
        yield base36(latest, 8) + base36(secrets.randbelow(36**3), 3)
