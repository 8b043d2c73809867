"""The cache events of vLLM and of SGLang, as ours. Pure: messages of their ZeroMQ PUB socket in, cache changes out.

Three frames a message: topic, number (8 bytes, big-endian, growing by one), a batch in MessagePack. A batch is
[time, events, …] or {"events": …}, an event ["BlockStored", hashes, parent, tokens, block_size, adapter, …] or the same
with names: both were published, by versions of vLLM (vllm/distributed/kv_events.py) and by SGLang
(sglang/srt/disaggregation/kv_events.py).

A block's hash says nothing to us, its tokens do: with those of its parents they are a prefix, told by the digest that
our engine uses. A block whose parent was not seen, or that belongs to an adapter, to other memory than the engine's
own, or to a salt, is passed over: a prefix is told only where it is surely held. Where a number was missed, all that
was held is taken back, and filled anew by what comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from colonnade.engine.radix import Chain
from colonnade.replica.foreign.values import fields_of, items_of
from colonnade.wire.messages import CacheChange, Removed, Stored

BlockHash = int | bytes
_MEDIA = (None, "GPU")


@dataclass(frozen=True, slots=True)
class Block:
    """What a BlockStored says. `tokens` are of all its blocks, `size` to a block."""

    hashes: tuple[BlockHash, ...]
    parent: BlockHash | None
    tokens: tuple[int, ...]
    size: int


@dataclass(frozen=True, slots=True)
class Gone:
    hashes: tuple[BlockHash, ...]


@dataclass(frozen=True, slots=True)
class Cleared:
    pass


Event = Block | Gone | Cleared


class CacheEvents:
    """One life of one engine. `namespace`: as `Namespace.key` writes it."""

    def __init__(self, namespace: str) -> None:
        self._root = Chain.of(namespace)
        self._held: dict[BlockHash, Chain] = {}
        self._number = -1
        self.missed = 0
        """Messages that never came."""

    def take(self, frames: Sequence[bytes]) -> list[CacheChange]:
        """Nothing for a message that is none, or that came before."""
        if len(frames) != 3 or len(frames[1]) != 8:
            return []
        number = int.from_bytes(frames[1], "big", signed=True)
        if number <= self._number and number != 0:
            return []
        changes = self._gap(number)
        self._number = number
        for event in read(frames[2]):
            changes += self._apply(event)
        return changes

    def _gap(self, number: int) -> list[CacheChange]:
        """What was held is not known any more, where messages are missing, or where numbers begin again."""
        if number == self._number + 1:
            return []
        self.missed += max(0, number - self._number - 1) if self._number >= 0 else 0
        return self._clear()

    def _apply(self, event: Event) -> list[CacheChange]:
        match event:
            case Block():
                return self._store(event)
            case Gone(hashes):
                lost = [self._held.pop(each) for each in hashes if each in self._held]
                return [Removed(chain.digest) for chain in lost]
            case _:
                return self._clear()

    def _store(self, block: Block) -> list[CacheChange]:
        chain = self._root if block.parent is None else self._held.get(block.parent)
        stored: list[CacheChange] = []
        for place, each in enumerate(block.hashes):
            tokens = block.tokens[place * block.size : (place + 1) * block.size]
            if chain is None or len(tokens) != block.size:
                break
            chain = chain.then(tokens)
            if each not in self._held:
                stored.append(Stored(chain.digest, chain.length))
            self._held[each] = chain
        return stored

    def _clear(self) -> list[CacheChange]:
        held, self._held = self._held, {}
        return [Removed(chain.digest) for chain in held.values()]


def read(payload: bytes) -> list[Event]:
    """The events of a batch that say something to us; none of what is no batch."""
    try:
        batch = msgspec.msgpack.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError):  # the last: keys that are no keys
        return []
    named, listed = fields_of(batch), items_of(batch) or []
    events = items_of(named.get("events") if named else listed[1] if len(listed) > 1 else None) or []
    return [event for each in events if (event := _event(each)) is not None]


_STORED = (
    *("type", "block_hashes", "parent_block_hash", "token_ids", "block_size"),
    *("lora_id", "medium", "lora_name", "extra_keys", "group_idx"),
)
_REMOVED = ("type", "block_hashes", "medium", "group_idx")
_NAMES = {"BlockStored": _STORED, "BlockRemoved": _REMOVED, "AllBlocksCleared": ("type",)}


def _event(each: Any) -> Event | None:
    named, listed = fields_of(each), items_of(each) or [None]
    kind = listed[0] if named is None else named.get("type")
    if not isinstance(kind, str) or kind not in _NAMES:
        return None
    fields = named or dict(zip(_NAMES[kind], listed, strict=False))
    if kind == "AllBlocksCleared":
        return Cleared()
    foreign = fields.get("medium") not in _MEDIA or fields.get("group_idx")  # of groups of layers, the first counts
    told = items_of(fields.get("block_hashes"))
    if foreign or told is None:
        return None
    hashes = tuple(each for each in told if isinstance(each, int | bytes))
    return Gone(hashes) if kind == "BlockRemoved" else _block(hashes, fields)


def _block(hashes: tuple[BlockHash, ...], fields: dict[str, Any]) -> Block | None:
    tokens, size, parent = items_of(fields.get("token_ids")), fields.get("block_size"), fields.get("parent_block_hash")
    if fields.get("lora_id") is not None or fields.get("lora_name") or any(items_of(fields.get("extra_keys")) or ()):
        return None
    if tokens is None or not isinstance(size, int) or size < 1:
        return None
    if not all(isinstance(token, int) and 0 <= token < 1 << 32 for token in tokens):
        return None
    return Block(hashes, parent if isinstance(parent, int | bytes) else None, tuple(tokens), size)
