"""Text that comes in pieces, cut where a speaker would breathe. Pure."""

from __future__ import annotations

import re

_BREATH = re.compile(r"(?<=[.?!,;:])\s+")


class Clauses:
    """`feed` gives the clauses that are whole, `rest` the last one."""

    def __init__(self) -> None:
        self._text = ""

    def feed(self, piece: str) -> list[str]:
        *whole, self._text = _BREATH.split((self._text + piece).lstrip())
        return whole

    def rest(self) -> list[str]:
        text, self._text = self._text.strip(), ""
        return [text] if text else []
