"""Frames: how the bytes between two steps are cut. Bytes in, frames out; any split of the bytes gives the same frames.

    head   16 bytes, little endian: length of the body (u32), kind (u8), mark (u8), parts (u16), stream (u32),
           length of the meta (u32)
    body   the lengths of the parts (u32 each), the meta, then each part on the next multiple of 16

The meta is MessagePack. Parts are raw: what an array or a blob holds travels as it lies in memory, and is received into
the memory where it stays. A long frame may come in pieces, so that others come between: its head then has the mark CUT
and no body, which follows in frames of the kind MORE, of any length; the next frame of its stream begins when it is
whole. What a reader holds that is not whole is bounded in all.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from colonnade.wire.errors import InvalidRequest, ReplicaLost

Buffer: TypeAlias = "bytes | bytearray | memoryview[int]"
Parts = Sequence[Buffer]

HEAD = struct.Struct("<IBBHII")
MARK, CUT = 0xC7, 0xC8
ALIGN = 16
SCRATCH = 64 << 10
"""Bytes read at once. A frame that is longer than half of it gets memory of its own."""
LIMIT = 1 << 30
"""Bytes of the longest frame, and of all together that are not whole."""


class Kind(IntEnum):
    HELLO = 1
    CALL = 2
    ITEM = 3
    END = 4
    FAIL = 5
    CREDIT = 6
    CANCEL = 7
    MORE = 8


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


@dataclass
class _Half:
    """A frame of which `have` bytes are here."""

    head: tuple[int, ...]
    body: bytearray
    have: int = 0


class FrameReader:
    """`buffer` is where the next bytes belong, `advance` says how many came. Raises ReplicaLost (`garbled`)."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._scratch = bytearray(SCRATCH)
        self._view = memoryview(self._scratch)
        self._filled = 0
        self._halves: dict[int, _Half] = {}
        self._into: _Half | None = None
        self._left = 0

    def buffer(self) -> memoryview[int]:
        """Never empty."""
        if self._into is None:
            return self._view[self._filled :]
        return memoryview(self._into.body)[self._into.have : self._into.have + self._left]

    def advance(self, count: int) -> list[Frame]:
        if self._into is None:
            self._filled += count
            return self._cut()
        return self._more(self._into, count, self._left - count)

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
            half = self._half(head)
            if half is None and at + HEAD.size + head[0] <= self._filled:
                start, at = at + HEAD.size, at + HEAD.size + head[0]
                frames.append(_parse(head, bytearray(self._view[start:at])))
            elif half is not None:
                at = self._receive(half, at + HEAD.size, 0 if head[2] == CUT else head[0], frames)
            else:
                break
        rest = self._filled - at
        if at and rest:
            self._view[:rest] = bytes(self._view[at : self._filled])
        self._filled = rest
        return frames

    def _half(self, head: tuple[int, ...]) -> _Half | None:
        """The memory that the bytes after this head belong into; None for a frame that is read in one go."""
        length, kind, mark, _, stream, _ = head
        known = self._halves.get(stream)
        if mark not in (MARK, CUT) or not Kind.HELLO <= kind <= Kind.MORE:
            raise garbled("what came is no frame")
        if kind == Kind.MORE:
            if known is None or mark == CUT or not 0 < length <= len(known.body) - known.have:
                raise garbled("a piece that belongs to no frame")
            return known
        if known is not None:
            raise garbled("a frame came before the one ahead of it was whole")
        if length > self._limit - sum(len(half.body) for half in self._halves.values()):
            raise garbled(f"a frame of {length} bytes is announced, the limit is {self._limit}")
        if mark == CUT:
            return self._begun(head)
        return _Half(head, bytearray(length)) if length > SCRATCH // 2 else None

    def _begun(self, head: tuple[int, ...]) -> _Half:
        if not head[0]:
            raise garbled("nothing is announced to come in pieces")
        half = self._halves[head[4]] = _Half(head, bytearray(head[0]))
        return half

    def _receive(self, half: _Half, start: int, length: int, frames: list[Frame]) -> int:
        """`length` bytes from `start` of what was read, as far as they are here: where those end."""
        here = min(length, self._filled - start)
        half.body[half.have : half.have + here] = self._view[start : start + here]
        frames += self._more(half, here, length - here)
        return start + here

    def _more(self, half: _Half, count: int, left: int) -> list[Frame]:
        """`count` bytes are in their place, `left` more go there before the next head."""
        half.have += count
        self._into, self._left = (half, left) if left else (None, 0)
        if half.have < len(half.body):
            return []
        self._halves.pop(half.head[4], None)
        return [_parse(half.head, half.body)]


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
