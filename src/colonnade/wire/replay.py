"""What was delivered of a stream, for the replica that goes on with it. Pure.

The frozen description is docs/stream-contract.md, "Replay": a request with the header `Colonnade-Replay: LENGTH` has so
many bytes of JSON, this struct, before the body that the client sent.
"""

from __future__ import annotations

import msgspec

HEADER = "Colonnade-Replay"
LIMIT = 64 << 20
"""Bytes; a token takes at most 14 of them."""


class Replay(msgspec.Struct, frozen=True):
    """`lines` are the tokens lines of all whole blocks that were delivered, in order, each with its choice: the pieces
    matter, since they decide what was shown when. `finished` says it of each choice, after the last block. `cached` is
    what the stream's first usage line said. `event` is the last id's: how many events that came of the last tokens were
    delivered before that one."""

    fingerprint: str
    lines: list[tuple[int, list[int]]]
    finished: list[bool]
    cached: int = 0
    event: int = 0


def encode(replay: Replay) -> bytes:
    return msgspec.json.encode(replay)


def decode(data: bytes) -> Replay | None:
    """None for what is not one."""
    try:
        replay = msgspec.json.decode(data, type=Replay)
    except msgspec.DecodeError:
        return None
    choices = len(replay.finished)
    sound = all(0 <= choice < choices and tokens and min(tokens) >= 0 for choice, tokens in replay.lines)
    return replay if sound and choices else None
