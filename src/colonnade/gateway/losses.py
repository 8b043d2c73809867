"""Why a replica is of no use to a request: what it says itself, and what the client is told. Pure."""

from __future__ import annotations

import msgspec

from colonnade.wire.errors import ReplicaLost


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
