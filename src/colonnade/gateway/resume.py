"""A stream's way over as many replicas as it takes. Pure: blocks and losses in, what to do next out.

    passage.take(blocks)     what of them goes to the client, and why the replica is lost, if they say so
    passage.lost()           Again | GoOn | Finish | GiveUp

The log is what was delivered, unparsed: bytes are kept, and read only when a replica is lost. Since the client has
whole blocks and each block says which tokens it consumed, those tokens and the last `id:` are all that another replica
needs to go on where the client stands (docs/stream-contract.md, "Replay").
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from colonnade.gateway.usage import Usage
from colonnade.wire.replay import Replay, encode
from colonnade.wire.stream import DONE, EventId

FRUITLESS = 3
"""Replicas lost one after the other, with not one block between: the request itself may be what kills them."""
LOSSES = 64
"""Of one request, in all."""
COMPACT = 64 << 10
"""Bytes of blocks that are kept whole; beyond it only their tokens lines are."""

_ERROR = b'data: {"error":'
"""In JSON text a quote is escaped, so no answer's text can hold this."""
_MOVABLE = frozenset({"replica_lost", "draining"})
"""Errors of a replica that leaves, or whose engine did; others are about the request."""

_TOKENS = re.compile(rb"^: tokens \d{1,9}(?: \d{1,9})+\n", re.MULTILINE)
_USAGE = re.compile(rb"^: usage prompt=(\d+) cached=(\d+) completion=(\d+)$", re.MULTILINE)
_ID = re.compile(rb"^id: ([^\n]*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Again:
    """Nothing was delivered: send the request as it is."""


@dataclass(frozen=True, slots=True)
class GoOn:
    """Send the request behind `replay`, to a replica of this fingerprint."""

    replay: bytes
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Finish:
    """No replica is needed: `data` is all that the client lacks."""

    data: bytes


@dataclass(frozen=True, slots=True)
class GiveUp:
    """`why` it cannot go on; "" where only the patience is at its end."""

    why: str = ""


Instruction = Again | GoOn | Finish | GiveUp


class Passage:
    """One request. `partial`: its stream's beginning went out on another connection, and is not known here."""

    __slots__ = (
        "_cached",
        "_completion",
        "_fruitless",
        "_id",
        "_lines",
        "_losses",
        "_parts",
        "_prompt",
        "_size",
        "_whole",
        "partial",
    )

    def __init__(self, *, partial: bool) -> None:
        self.partial = partial
        self._parts: list[bytes] = []
        self._size = 0
        self._lines = bytearray()
        self._id = b""
        self._cached = -1
        self._prompt = self._completion = -1
        self._fruitless = self._losses = 0
        self._whole = False

    @property
    def whole(self) -> bool:
        """The stream came to its end: [DONE], or an error that stays."""
        return self._whole or (bool(self._parts) and self._parts[-1].endswith(DONE))

    def take(self, blocks: bytes) -> tuple[bytes, str]:
        """What goes to the client, and "" or why the replica that sent them is lost."""
        why = ""
        if _ERROR in blocks:
            blocks, why = self._cut(blocks)
        if blocks:
            self._parts.append(blocks)
            self._size += len(blocks)
            self._fruitless = 0
            if self._size > COMPACT and not self.whole:
                self._compact()
        return blocks, why

    def _cut(self, blocks: bytes) -> tuple[bytes, str]:
        """An error that another replica can mend is not delivered."""
        at = blocks.index(_ERROR)
        end = blocks.find(b"\n", at)
        try:
            error = msgspec.json.decode(blocks[at + 6 : end if end >= 0 else None])["error"]
            mendable, why = error.get("code") in _MOVABLE, str(error.get("message") or "it said so")
        except (msgspec.DecodeError, TypeError, AttributeError):
            mendable, why = False, ""
        if mendable:
            return blocks[: blocks.rfind(b"\n\n", 0, at) + 2] if b"\n\n" in blocks[:at] else b"", why
        self._whole = True
        return blocks, ""

    def lost(self, fingerprint: str, *, stalled: bool = False) -> Instruction:
        """The replica is of no use to this stream any more. `fingerprint`: that of the stream's first replica.
        `stalled`: it may only be slow, which is held against no request."""
        if self.whole:
            return Finish(b"")
        self._fruitless += not stalled
        self._losses += 1
        if self._fruitless >= FRUITLESS or self._losses >= LOSSES:
            return GiveUp()
        return self.plan(fingerprint)

    def plan(self, fingerprint: str) -> Instruction:
        """What it takes from where the client stands."""
        self._compact()
        if not self._id:
            return GiveUp("its events do not say how far they are") if self._size or self.partial else Again()
        if self.partial:
            return GiveUp("its beginning is not known here")
        now = EventId.parse(self._id.decode("latin-1"))
        lines = [_read(line) for line in bytes(self._lines).splitlines()]
        if now is None or not _agree(now, lines):
            return GiveUp("its events do not say which tokens they are of")
        if all(now.finished) and self._completion == sum(now.positions):
            return Finish(DONE)
        if not fingerprint:
            return GiveUp("its replica did not say what it computes with")
        replay = Replay(fingerprint, lines, list(now.finished), max(self._cached, 0), now.event)
        return GoOn(encode(replay), fingerprint)

    def used(self) -> Usage | None:
        """What was delivered cost. The beginning of a stream that a client took up again was counted when it broke off:
        of what follows, the tokens."""
        if self.whole and not self.partial:  # nearly always its last blocks say
            usage = _USAGE.findall(b"".join(self._parts[-2:]))
            if usage:
                return Usage(int(usage[-1][0]), int(usage[-1][2]))
        self._compact()
        told = sum(line.count(b" ") - 2 for line in bytes(self._lines).splitlines())
        if self.partial:
            return Usage(0, told)
        return Usage(self._prompt, max(told, self._completion)) if self._prompt >= 0 else None

    def _compact(self) -> None:
        """Keep of the blocks what a replay needs."""
        if not self._parts:
            return
        text = b"".join(self._parts)
        self._parts = []
        self._size = 1  # not nothing: something was delivered
        self._lines += b"".join(_TOKENS.findall(text))
        if ids := _ID.findall(text):
            self._id = ids[-1]
        if usage := _USAGE.findall(text):
            self._prompt, self._completion = int(usage[-1][0]), int(usage[-1][2])
            self._cached = int(usage[0][1]) if self._cached < 0 else self._cached


def _read(line: bytes) -> tuple[int, list[int]]:
    choice, *tokens = map(int, line.split()[2:])
    return choice, tokens


def _agree(now: EventId, lines: list[tuple[int, list[int]]]) -> bool:
    """The lines are of exactly the tokens that the id counts."""
    counts = [0] * len(now.positions)
    for choice, tokens in lines:
        if choice >= len(counts):
            return False
        counts[choice] += len(tokens)
    return counts == list(now.positions)
