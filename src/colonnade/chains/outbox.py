"""What waits to be sent over one connection: calls take turns, and a long message gives a piece at each of its turns.

So a large value delays the others on its connection by a piece, not by all of itself. What belongs to one call keeps
its order. No socket: `put` takes the buffers of a frame, `next` gives what to write.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from colonnade.chains.frames import CUT, HEAD, LIMIT, MARK, Buffer, Kind

PIECE = 256 << 10
"""Bytes of a message that are sent at once; what is longer is cut."""


@dataclass
class _Message:
    """`length` is how much of a reader's memory it takes before it is whole."""

    pieces: deque[list[Buffer]]
    weight: int
    length: int = 0
    begun: bool = False


class Outbox:
    """`weight` is that of all that waits: bytes, where a long message counts as one piece."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.weight = 0
        self._limit = limit
        self._lines: dict[int, deque[_Message]] = {}
        self._begun = 0

    def put(self, stream: int, buffers: list[Buffer]) -> None:
        message = _message(stream, buffers)
        self._lines.setdefault(stream, deque()).append(message)
        self.weight += message.weight

    def next(self) -> list[Buffer] | None:
        """None when nothing waits."""
        for stream, line in self._lines.items():
            if self._may_go(line[0]):
                return self._turn(stream, line)
        assert not self._lines
        return None

    def _may_go(self, message: _Message) -> bool:
        """What is begun and not whole is in the reader's memory, which has a limit."""
        return message.begun or not self._begun or self._begun + message.length <= self._limit

    def _turn(self, stream: int, line: deque[_Message]) -> list[Buffer]:
        """The call goes to the end of the row with what else it has."""
        message = line[0]
        if not message.begun:
            message.begun = True
            self._begun += message.length
        piece = message.pieces.popleft()
        if not message.pieces:
            line.popleft()
            self._begun -= message.length
            self.weight -= message.weight
        del self._lines[stream]
        if line:
            self._lines[stream] = line
        return piece


def _message(stream: int, buffers: list[Buffer]) -> _Message:
    size = sum(map(len, buffers))
    if size <= PIECE:
        return _Message(deque((buffers,)), size)
    return _Message(deque(_pieces(stream, buffers)), PIECE, size - HEAD.size)


def _pieces(stream: int, buffers: list[Buffer]) -> Iterator[list[Buffer]]:
    length, kind, _, count, _, meta = HEAD.unpack_from(buffers[0])
    lead = HEAD.pack(length, kind, CUT, count, stream, meta)
    for piece in _cut([memoryview(buffers[0])[HEAD.size :], *buffers[1:]]):
        yield [lead + HEAD.pack(sum(map(len, piece)), Kind.MORE, MARK, 0, stream, 0), *piece]
        lead = b""


def _cut(buffers: Iterable[Buffer]) -> Iterator[list[Buffer]]:
    """Nothing is copied."""
    piece: list[Buffer] = []
    room = PIECE
    for buffer in buffers:
        rest = memoryview(buffer)
        while len(rest) >= room:
            piece.append(rest[:room])
            yield piece
            rest = rest[room:]
            piece, room = [], PIECE
        piece.append(rest)
        room -= len(rest)
    if room < PIECE:
        yield piece
