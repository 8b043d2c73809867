"""The bytes between a stream's making and its reading: bounded, and kept for a reader that comes back. No I/O.

A slow reader holds bytes here, never keys and values in the engine. What has been delivered is dropped, unless the
stream can be resumed: then it stays as long as it fits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import takewhile

from colonnade.replica.writer import Written


def _nothing() -> None:
    """No reader is there to be woken."""


class Spool:
    """Offsets count bytes from the stream's beginning. `wake` is called after each change."""

    def __init__(self, limit: int | None, *, keep: bool) -> None:
        self._limit = limit
        self._keep = keep
        self._chunks: deque[tuple[int, Written]] = deque()  # with the offset at which each begins
        self._marks: dict[str, int] = {}
        self._before = ""  # id of the last chunk that was dropped: a reader may still go on from its end
        self._delivered = 0
        self.start = 0
        self.end = 0
        self.begun = False
        """The answer's head has been sent: from now on an error is an event of the stream."""
        self.ended = False
        self.wake: Callable[[], None] = _nothing

    def append(self, written: Written) -> bool:
        """False when the reader has fallen too far behind: the stream is then to be cut."""
        assert not self.ended
        self._push(written)
        self._forget()
        self.wake()
        return self._limit is None or self.end - self._delivered <= self._limit

    def close(self) -> None:
        """Nothing more will come."""
        self.ended = True
        self.wake()

    def cut(self, last: list[Written]) -> None:
        """Drop what was not delivered, and end with `last`. No reader can resume after it."""
        while self._chunks and self._chunks[-1][0] >= self._delivered:
            self._chunks.pop()
        self.end = self._delivered
        self._marks.clear()
        for written in last:
            self._push(Written(written.data))
        self.close()

    def take(self, offset: int) -> bytes:
        """All from `offset` on, which is where a chunk begins or ends."""
        assert self.start <= offset <= self.end
        newest = takewhile(lambda chunk: chunk[0] >= offset, reversed(self._chunks))
        return b"".join(reversed([written.data for _, written in newest]))

    def deliver(self, offset: int) -> None:
        """The reader has all up to `offset`; or, coming back, has no more than that."""
        self._delivered = offset
        self._forget()

    def find(self, event_id: str) -> int | None:
        """Where a reader goes on that has seen this event; None when it is unknown or too old.

        Of two events with one id (the last text and the usage chunk after it) the first: a block may then be read
        twice, but none is missed."""
        offset = self._marks.get(event_id)
        return offset if offset is not None and offset >= self.start else None

    def _push(self, written: Written) -> None:
        self._chunks.append((self.end, written))
        self.end += len(written.data)
        if written.id and self._keep:
            self._marks.setdefault(written.id, self.end)

    def _forget(self) -> None:
        while self._chunks and self._is_spare():
            begin, written = self._chunks.popleft()
            self.start = begin + len(written.data)
            if self._marks.get(self._before, self.start) < self.start:
                del self._marks[self._before]
            self._before = written.id

    def _is_spare(self) -> bool:
        begin, written = self._chunks[0]
        if begin + len(written.data) > self._delivered:
            return False
        return not self._keep or (self._limit is not None and self.end - self.start > self._limit)
