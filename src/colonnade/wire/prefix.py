"""What a request begins with, as hashes, without tokenising: chained by message, then by block within one. Pure.

Gateway and replica hash the same bytes of the same body, so that a replica can say what it holds of a conversation in
words that the gateway understands:

    tenant, model, tools ── message 0 ─┬─ its first 1024 bytes ── its first 2048 bytes ── all of it ── message 1 ...
                                       one link each: the hash of everything up to there

A message is the JSON that the client wrote: what it writes again, turn after turn, is the same bytes. Two that differ
in their bytes alone get different hashes, which costs a hit and never gives a false one. Keyed by tenant and model (so
by adapter, where adapters have names): hashes of two tenants never meet. A weight version is an epoch of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

BLOCK = 1024
"""Bytes of a message to a block."""
MOST = 1024
"""Links of a request: a mebibyte of it in blocks; what is behind that is not hashed."""
WHOLE = -1


class Link(NamedTuple):
    """A prefix of a request. `size` in bytes, over all messages; `cut` in bytes of the last message, or WHOLE."""

    digest: bytes
    size: int
    message: int
    cut: int


_NONE = Link(b"", 0, 0, WHOLE)


class _Body(msgspec.Struct):
    model: Any = ""
    messages: list[msgspec.Raw] = []
    prompt: msgspec.Raw = msgspec.Raw(b"")
    tools: msgspec.Raw = msgspec.Raw(b"")
    system: msgspec.Raw = msgspec.Raw(b"")
    tool_choice: Any = None
    prompt_cache_key: Any = None
    user: Any = None


_decode = msgspec.json.Decoder(_Body).decode


class Asked(NamedTuple):
    """`parts`: the messages, or the prompt, as the client wrote them. `session`: what the conversation is known by."""

    links: list[Link]
    parts: list[bytes]
    session: bytes


def links(body: bytes, tenant: str) -> list[Link]:
    """Of a chat or completion request; of any other body, none."""
    return read(body, tenant).links


def read(body: bytes, tenant: str) -> Asked:
    try:
        asked = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Asked([], [], b"")
    prompt = bytes(asked.prompt)
    parts = [bytes(each) for each in asked.messages] or ([prompt] if prompt else [])
    tools = b"" if asked.tool_choice == "none" else bytes(asked.tools)
    tools += bytes(asked.system)
    found = chain(tenant, f"{asked.model}", tools, parts)
    named = asked.prompt_cache_key or asked.user
    return Asked(found, parts, f"{tenant}/{named}".encode("utf-8", "replace") if named else _session(found))


def _session(found: Sequence[Link]) -> bytes:
    """The first two messages: what most systems say first, and what this user did."""
    return max((link for link in found if link.message < 2), key=lambda link: link.size, default=_NONE).digest


def chain(tenant: str, model: str, tools: bytes, messages: Sequence[bytes]) -> list[Link]:
    state = blake2b(digest_size=16)
    for part in (tenant.encode(), model.encode("utf-8", "replace"), tools):
        state.update(b"%d:%b" % (len(part), part))
    found: list[Link] = []
    size = 0
    for number, message in enumerate(messages):
        start = 0
        while len(message) - start > BLOCK and len(found) < MOST:
            state.update(message[start : start + BLOCK])
            start += BLOCK
            found.append(Link(state.copy().digest(), size + start, number, start))
        if len(found) >= MOST:
            break
        size += len(message)
        state.update(message[start:])
        state.update(b"\0")  # a message's end is not a cut in a longer one
        found.append(Link(state.copy().digest(), size, number, WHOLE))
    return found
