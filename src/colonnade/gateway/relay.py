"""Event streams by the byte: whole events go on, the beginning of the next one waits. Pure; nothing is parsed.

A block ends at an empty line. Line ends are LF, CRLF or CR (HTML standard, section 9.2.6). A CR that is the last byte
seen may be half of a CRLF, so it waits for the next byte.
"""

from __future__ import annotations

import re

_BLANK = re.compile(rb"(?:\A|\r\n|\n|\r(?=[^\n]))(?:\r\n|\n|\r(?=[^\n]))+")
_BLANK_AT_END = re.compile(rb"(?:\A|\r\n|\n|\r)\r\Z")


class EventSplitter:
    """Any split of the bytes gives the same events. Holds at most `limit` bytes of an event that is not whole."""

    __slots__ = ("_limit", "_seen", "_tail")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tail = bytearray()
        self._seen = 0
        """Bytes of the tail that hold no end of a block, whatever follows."""

    def feed(self, data: bytes) -> bytes:
        """The blocks that are whole now, b"" when there are none. Raises EventTooLarge."""
        if not self._tail and data.endswith((b"\n\n", b"\r\n\r\n")):
            return data  # nearly always: a replica writes block by block
        self._tail += data
        end = self._last_end()
        whole = bytes(self._tail[:end])
        if end:
            del self._tail[:end]
        self._seen = max(0, len(self._tail) - 3)
        if len(self._tail) > self._limit:
            raise EventTooLarge
        return whole

    def _last_end(self) -> int:
        """Where the last whole block of the tail ends; 0 when none does. A line end at the very front is an empty line:
        the tail starts where a block ended."""
        tail = self._tail
        if b"\r" not in tail:
            found = tail.rfind(b"\n\n", self._seen)
            return found + 2 if found >= 0 else int(tail.startswith(b"\n"))
        end = 0
        for match in _BLANK.finditer(tail, self._seen):
            end = match.end()
        return end

    def close(self) -> bytes:
        """At the end of the stream: a block that only waited to see whether its CR is a CRLF. The rest is dropped."""
        whole = bytes(self._tail) if _BLANK_AT_END.search(self._tail) else b""
        self._tail.clear()
        return whole

    @property
    def held(self) -> int:
        """Bytes of an event that is not whole."""
        return len(self._tail)


class EventTooLarge(Exception):
    """A replica's event is larger than the gateway holds."""
