"""Frames: how the bytes between two steps are cut. Bytes in, frames out; any split of the bytes gives the same frames.

    head   16 bytes, little endian: length of the body (u32), kind (u8), mark (u8), parts (u16), stream (u32),
           length of the meta (u32)
    body   the lengths of the parts (u32 each), the meta, then each part on the next multiple of 16

The meta is MessagePack. Parts are raw: what an array or a blob holds travels as it lies in memory, and is received into
the memory where it stays. A reader holds one frame at most that is not whole.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from colonnade.wire.errors import InvalidRequest, ReplicaLost

Buffer: TypeAlias = "bytes | bytearray | memoryview[int]"
Parts = Sequence[Buffer]

HEAD = struct.Struct("<IBBHII")
MARK = 0xC7
ALIGN = 16
SCRATCH = 64 << 10
"""Bytes read at once. A frame that is longer than half of it gets memory of its own."""
LIMIT = 1 << 30
"""Bytes of the longest frame."""


class Kind(IntEnum):
    HELLO = 1
    CALL = 2
    ITEM = 3
    END = 4
    FAIL = 5
    CREDIT = 6
    CANCEL = 7


class Frame(NamedTuple):
    kind: int
    stream: int
    meta: Buffer
    parts: Parts


def encode(kind: int, stream: int, meta: Buffer = b"", parts: Parts = ()) -> list[Buffer]:
    """Buffers to be sent one after another; the parts are among them, not copied. Raises InvalidRequest."""
    lengths = [len(part) for part in parts]
    out: list[Buffer] = [b"", meta]
    at = 4 * len(lengths) + len(meta)
    for part, length in zip(parts, lengths, strict=True):
        if gap := -at % ALIGN:
            out.append(bytes(gap))
        out.append(part)
        at += gap + length
    if at > LIMIT or len(lengths) > 0xFFFF:
        raise InvalidRequest(f"a message of {at} bytes in {len(lengths)} parts is too large", hint="send it in pieces")
    out[0] = HEAD.pack(at, kind, MARK, len(lengths), stream, len(meta)) + struct.pack(f"<{len(lengths)}I", *lengths)
    return out


def garbled(what: str) -> ReplicaLost:
    return ReplicaLost(f"the other side does not speak the protocol of chains: {what}", code="garbled")


class FrameReader:
    """`buffer` is where the next bytes belong, `advance` says how many came. Raises ReplicaLost (`garbled`)."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._scratch = bytearray(SCRATCH)
        self._view = memoryview(self._scratch)
        self._filled = 0
        self._head: tuple[int, ...] = ()
        self._body = bytearray()
        self._have = 0

    def buffer(self) -> memoryview[int]:
        """Never empty."""
        return memoryview(self._body)[self._have :] if self._body else self._view[self._filled :]

    def advance(self, count: int) -> list[Frame]:
        if not self._body:
            self._filled += count
            return self._cut()
        self._have += count
        if self._have < len(self._body):
            return []
        body, self._body = self._body, bytearray()
        return [_parse(self._head, body)]

    def feed(self, data: Buffer) -> list[Frame]:
        """For those who have the bytes already."""
        frames: list[Frame] = []
        rest = memoryview(data)
        while rest:
            room = self.buffer()
            count = min(len(room), len(rest))
            room[:count] = rest[:count]
            frames += self.advance(count)
            rest = rest[count:]
        return frames

    def _cut(self) -> list[Frame]:
        frames: list[Frame] = []
        at = 0
        while self._filled - at >= HEAD.size:
            head = HEAD.unpack_from(self._scratch, at)
            self._check(head)
            start = at + HEAD.size
            end = start + head[0]
            if end > self._filled:
                if head[0] > SCRATCH // 2:
                    self._begin(head, start)
                    at = self._filled
                break
            frames.append(_parse(head, bytearray(self._view[start:end])))
            at = end
        rest = self._filled - at
        if at and rest:
            self._view[:rest] = bytes(self._view[at : self._filled])
        self._filled = rest
        return frames

    def _begin(self, head: tuple[int, ...], start: int) -> None:
        """A long frame: what is here of it moves into memory of its own, the rest is received there."""
        self._head = head
        self._body = bytearray(head[0])
        self._have = self._filled - start
        self._body[: self._have] = self._view[start : self._filled]

    def _check(self, head: tuple[int, ...]) -> None:
        length, kind, mark, _, _, _ = head
        if mark != MARK or not Kind.HELLO <= kind <= Kind.CANCEL:
            raise garbled("what came is no frame")
        if length > self._limit:
            raise garbled(f"a frame of {length} bytes is announced, the limit is {self._limit}")


def _parse(head: tuple[int, ...], body: bytearray) -> Frame:
    length, kind, _, count, stream, meta_length = head
    at = 4 * count + meta_length
    if at > length:
        raise garbled("a frame is shorter than it says")
    view = memoryview(body)
    meta = view[4 * count : at]
    parts: list[Buffer] = []
    for size in struct.unpack_from(f"<{count}I", body):
        at += -at % ALIGN
        parts.append(view[at : at + size])
        at += size
    if at != length:
        raise garbled("the parts of a frame do not fill it")
    return Frame(kind, stream, meta, parts)
