"""Cache events of vLLM and SGLang, in both forms that were published, as ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.engine.radix import prefix_digest
from colonnade.replica.foreign.cache_events import Block, CacheEvents, Cleared, Gone, read
from colonnade.wire.messages import Removed, Stored

SPACE = "0:,0:,0:,5:model,"


def frames(number: int, *events: Any, named: bool = False) -> list[bytes]:
    batch = {"ts": 1.5, "events": list(events)} if named else [1.5, list(events), 0]
    return [b"kv-events", number.to_bytes(8, "big", signed=True), msgspec.msgpack.encode(batch)]


def stored(hashes: Sequence[Any], parent: Any, tokens: Sequence[int], size: int = 2, **more: Any) -> dict[str, Any]:
    """As newer versions of vLLM write it: with names."""
    fields = {"block_hashes": hashes, "parent_block_hash": parent, "token_ids": tokens, "block_size": size}
    return {"type": "BlockStored", **fields, "lora_id": None, **more}


def held(tokens: Sequence[int]) -> Stored:
    return Stored(prefix_digest(SPACE, tokens), len(tokens))


def gone(tokens: Sequence[int]) -> Removed:
    return Removed(prefix_digest(SPACE, tokens))


@pytest.mark.parametrize("named", [True, False])
def test_a_chain_of_blocks_is_prefixes(named: bool) -> None:
    events = CacheEvents(SPACE)
    first = stored([11, 12], None, [1, 2, 3, 4]) if named else ["BlockStored", [11, 12], None, [1, 2, 3, 4], 2, None]
    assert events.take(frames(0, first, named=named)) == [held([1, 2]), held([1, 2, 3, 4])]
    assert events.take(frames(1, stored([b"x"], 12, [5, 6]))) == [held([1, 2, 3, 4, 5, 6])]
    removed = {"type": "BlockRemoved", "block_hashes": [12, 99]} if named else ["BlockRemoved", [12, 99], "GPU"]
    assert events.take(frames(2, removed)) == [gone([1, 2, 3, 4])]
    assert events.take(frames(3, stored([13], 12, [7, 8]))) == []  # its parent is not held
    cleared = {"type": "AllBlocksCleared"} if named else ["AllBlocksCleared"]
    assert set(events.take(frames(4, cleared))) == {gone([1, 2]), gone([1, 2, 3, 4, 5, 6])}


def test_what_is_stored_again_is_told_once() -> None:
    events = CacheEvents(SPACE)
    assert events.take(frames(0, stored([1], None, [5, 6]))) == [held([5, 6])]
    assert events.take(frames(1, stored([1, 2], None, [5, 6, 7, 8]))) == [held([5, 6, 7, 8])]


def test_a_number_that_is_missing_takes_everything_back() -> None:
    events = CacheEvents(SPACE)
    events.take(frames(7, stored([1], None, [5, 6])))
    assert events.missed == 0  # it was there before us
    assert events.take(frames(7, stored([2], None, [7, 8]))) == []  # came before
    assert events.take(frames(9, stored([3], None, [9, 9]))) == [gone([5, 6]), held([9, 9])]
    assert events.missed == 1
    assert events.take(frames(0, stored([1], None, [5, 6]))) == [gone([9, 9]), held([5, 6])]  # the engine began anew
    assert events.missed == 1


@pytest.mark.parametrize(
    "event",
    [
        stored([1], None, [1, 2], lora_id=3),
        stored([1], None, [1, 2], lora_name="a"),
        stored([1], None, [1, 2], extra_keys=[["salt"]]),
        stored([1], None, [1, 2], medium="CPU"),
        stored([1], None, [1, 2], group_idx=1),
        stored([1], None, [1]),  # not whole
        stored([1], None, [1, 2], size=0),
        stored([1], None, [1, -2]),
        {**stored([1], None, [1, 2]), "token_ids": "odd"},
        {**stored([1], None, [1, 2]), "block_hashes": 1},
        {"type": "Other"},
        {"type": 3},
        ["BlockStored"],
        [],
        "odd",
    ],
)
def test_what_is_not_surely_a_prefix_here_is_passed_over(event: Any) -> None:
    assert CacheEvents(SPACE).take(frames(0, event)) == []


@pytest.mark.parametrize(
    "message", [[], [b"t", b"short", b""], [b"t", bytes(8), b"\xc1"], [b"t", bytes(8), msgspec.msgpack.encode([1])]]
)
def test_messages_that_are_none(message: list[bytes]) -> None:
    assert CacheEvents(SPACE).take(message) == []


def test_the_events_of_a_batch() -> None:
    batch = [0.1, [["BlockStored", [1], 9, [1], 1, None, "GPU", None, [None], 0], ["BlockRemoved", ["odd", 1]]]]
    assert read(msgspec.msgpack.encode(batch)) == [Block((1,), 9, (1,), 1), Gone((1,))]
    assert read(msgspec.msgpack.encode([0.1, [["AllBlocksCleared"]]])) == [Cleared()]
    assert read(msgspec.msgpack.encode(7)) == read(msgspec.msgpack.encode([1, 2])) == []


@given(st.lists(st.tuples(st.integers(-1, 6), st.integers(0, 6), st.booleans()), max_size=30))
def test_what_is_told_adds_up_to_what_is_held(steps: list[tuple[int, int, bool]]) -> None:
    """A block's hash is its number; each has one parent, and tokens of its own."""
    events, truth, known = CacheEvents(SPACE), dict[int, tuple[int, ...]](), set[bytes]()
    for number, (parent, block, stores) in enumerate(steps):
        if stores and parent < block:
            before = truth.get(parent) if parent >= 0 else ()
            event: Any = stored([block], None if parent < 0 else parent, [block, parent + 1])
            if before is not None and block not in truth:
                truth[block] = (*before, block, parent + 1)
            elif before is not None:
                continue
        else:
            event = ["BlockRemoved", [block]]
            truth.pop(block, None)
        for change in events.take(frames(number, event)):
            known = known | {change.digest} if isinstance(change, Stored) else known - {change.digest}
        if number and not events.missed:
            assert known == {prefix_digest(SPACE, tokens) for tokens in truth.values()}


@given(st.binary(max_size=40))
def test_any_bytes_are_a_message(payload: bytes) -> None:
    assert all(isinstance(each, Stored | Removed) for each in CacheEvents(SPACE).take([b"", bytes(8), payload]))
