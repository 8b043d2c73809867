"""Why a replica is of no use to a request: what it says itself, and what the client is told. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

from colonnade.wire.errors import ReplicaLost

OTHER = 409
"""To a replay: its numerics are others."""
ELSEWHERE = (502, 503)
"""What a replica says when another one may do better: its engine is gone; it drains, or is full."""
_LEAVING = ("draining", "not_ready", "asleep")
"""Of these: nothing was asked of it, and it will not do better soon."""

Turn = Literal["other", "leaving", "lost", "moves", "full", "final"]
"""Its numerics are others; it leaves; its engine is lost; it refuses what had begun; it is full; it will not do it."""


def turned(status: int, code: str, *, begun: bool) -> Turn:
    """What it means that a replica answers this instead of what was asked. `begun`: the client has a part already."""
    if status == OTHER:
        return "other"
    if status not in ELSEWHERE:
        return "final"
    if code in _LEAVING:
        return "leaving"
    if code == "replica_lost":
        return "lost"
    return "moves" if begun else "full"


class _Envelope(msgspec.Struct):
    """Of an error, what the gateway reads."""

    code: str = ""
    message: str = "it said no more"


class _Enveloped(msgspec.Struct):
    error: _Envelope | str = msgspec.field(default_factory=_Envelope)
    code: str = ""


def refusal(body: bytes) -> tuple[str, str]:
    """Code and message of an error's body; of anything else, none."""
    try:
        said = msgspec.json.decode(body, type=_Enveloped)
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = _Enveloped()
    if isinstance(said.error, str):  # a package's
        return said.code, said.error
    return said.error.code, said.error.message


def lost(reason: str) -> ReplicaLost:
    return ReplicaLost(f"the replica was lost: {reason}", hint="send it again; `colonnade ps` says why it went")
