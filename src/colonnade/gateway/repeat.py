"""A connection's last head, to know the next one by: nearly always they differ by the length of the body alone. Pure.

What follows the same bytes, but for the digits of the one Content-Length, was read and checked before; all else is for
the parser.
"""

from __future__ import annotations

import re

from colonnade.gateway.http1 import Head

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})(?=\r\n)", re.IGNORECASE)
_DIGITS = 9


class Repeat:
    """Of a request that came in one piece, `head` and `keep` as they were read."""

    __slots__ = ("_after", "_before", "head", "keep")

    def __init__(self, before: bytes, after: bytes, head: Head, keep: bool) -> None:
        self._before = before
        self._after = after
        self.head = head
        self.keep = keep

    def body(self, data: bytes) -> bytes | None:
        """Of `data`, when that is such a request, whole and alone."""
        before, after = self._before, self._after
        if not data.startswith(before):
            return None
        start = len(before)
        end = data.find(b"\r", start, start + _DIGITS + 1)
        digits = data[start:end]
        if end < 0 or not digits.isdigit() or not data.startswith(after, end):
            return None
        start = end + len(after)
        return data[start:] if len(data) - start == int(digits) else None


def learn(data: bytes, head: Head, body: bytes, keep: bool) -> Repeat | None:
    """From a request that the parser has read: `data` is what came in, in one piece."""
    size = len(data) - len(body)
    if head.length is None or head.expects or head.old or not data.startswith(head.method):
        return None
    if data[size - 4 : size] != b"\r\n\r\n" or data.find(b"\r\n\r\n") != size - 4:
        return None
    found = _LENGTH.findall(data, 0, size)
    match = _LENGTH.search(data, 0, size)
    if match is None or len(found) != 1 or int(match[1]) != len(body):
        return None
    return Repeat(data[: match.start(1)], data[match.end(1) : size], head, keep)
