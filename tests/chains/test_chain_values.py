"""Values there and back, and what is no value; slots."""

from __future__ import annotations

import asyncio
import datetime
import enum
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any, Literal, NamedTuple, TypedDict

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import BaseModel

from colonnade.chains.contract import Contract, signature_of
from colonnade.chains.slots import Slots
from colonnade.chains.values import ARRAY, BLOB, BLOB_FROM, Blob, Codec, blobbed, inward, outward
from colonnade.wire.errors import InvalidRequest, Overloaded


class Colour(enum.Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: float


class Named(TypedDict):
    name: str


class Model(BaseModel):
    when: datetime.datetime
    inner: list[dict[str, str]]


def back(kind: Any, value: Any) -> Any:
    codec = Codec(kind)
    return codec.decode(blobbed(codec.encode(value)))


NOW = datetime.datetime(2026, 11, 24, 12, tzinfo=datetime.UTC)
VALUES: list[tuple[Any, Any]] = [
    (str, "€"),
    (int, -(2**63)),
    (float, 1.5),
    (complex, 1 + 2j),
    (type(None), None),
    (bytes, b""),
    (bytes, b"x" * BLOB_FROM),
    (list[bytes], [b"a", b"b"]),
    (Colour, Colour.RED),
    (Point, Point(1, 2.0)),
    (Named, {"name": "x"}),
    (Model, Model(when=NOW, inner=[{"name": "x"}])),
    (uuid.UUID, uuid.UUID(int=5)),
    (Decimal, Decimal("1.10")),
    (dict[str, tuple[int, ...]], {"a": (1, 2)}),
    (set[int] | None, {1, 2}),
    (Literal["a", "b"], "b"),
    (datetime.timedelta, datetime.timedelta(seconds=1.5)),
]


@pytest.mark.parametrize(("kind", "value"), VALUES, ids=lambda each: str(each)[:30])
def test_there_and_back(kind: Any, value: Any) -> None:
    found = back(kind, value)
    assert found == value
    assert type(found) is type(value)


shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
dtypes = st.sampled_from(["u1", "<i8", ">f4", "c16", "?", "U3", "S2", "f2"])


@settings(deadline=None)
@given(shapes, dtypes, st.booleans())
def test_arrays(shape: tuple[int, ...], dtype: str, turned: bool) -> None:
    array = np.arange(int(np.prod(shape))).reshape(shape).astype(dtype)
    array = array.T if turned else array
    found = back(np.ndarray, array)
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tolist() == array.tolist()
    assert found.flags.writeable or not found.size
    assert found.flags.aligned


def test_arrays_and_blobs_are_sent_from_where_they_lie() -> None:
    array = np.zeros(100)
    _, part = Codec(np.ndarray).encode(array)
    array[0] = 1
    assert bytes(part[:8]) == np.float64(1).tobytes()
    data = b"x" * BLOB_FROM
    _, part = Codec(bytes).encode(data)
    assert part.obj is data


def ext(code: int, said: object) -> bytes:
    return msgspec.msgpack.encode(msgspec.msgpack.Ext(code, msgspec.msgpack.encode(said)))


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        (int, []),
        (int, [b"\xc1"]),
        (np.ndarray, [ext(ARRAY, (1, "<f8", (2,)))]),
        (np.ndarray, [ext(ARRAY, (0, "<f8", (2,)))]),
        (np.ndarray, [ext(ARRAY, (1, "<f8", (3,))), bytearray(16)]),
        (np.ndarray, [ext(ARRAY, (1, "O", (1,))), bytearray(8)]),
        (np.ndarray, [ext(ARRAY, "x"), bytearray(8)]),
        (np.ndarray, [ext(9, 1)]),
        (bytes, [ext(BLOB, 7)]),
        (bytes, [msgspec.msgpack.encode(5)]),
        (NDArray[np.float32], Codec(np.ndarray).encode(np.zeros(3))),
        (complex, [msgspec.msgpack.encode([1.0])]),
    ],
)
def test_garbage_is_refused(kind: Any, parts: list[Any]) -> None:
    with pytest.raises((msgspec.DecodeError, ValueError, TypeError)) as refused:
        Codec(kind).decode(parts)
    assert not isinstance(refused.value, TypeError)


def test_what_cannot_travel() -> None:
    with pytest.raises(InvalidRequest):
        Codec(np.ndarray).encode(np.array([object()]))
    with pytest.raises(InvalidRequest):
        Codec(int).encode(1 << 70)
    with pytest.raises(InvalidRequest):
        Codec(object).encode(object())
    with pytest.raises(TypeError):
        inward(object, 3)


def test_json_has_what_it_can() -> None:
    values = [np.float32(0.5), 1 + 2j, np.arange(2), Blob(b"ab")]
    assert [outward(each) for each in values] == [0.5, (1.0, 2.0), [0, 1], b"ab"]
    assert inward(NDArray[np.float32], [1, 2]).dtype == np.float32


class Takes:
    async def run_remote(self, numbers: AsyncIterator[int], label: bytes = b"none", more: int = 2) -> int:
        return more


def test_arguments_and_items() -> None:
    contract = Contract(signature_of(Takes.run_remote))
    arguments, feed = contract.bind(("numbers",), {"more": 5})
    assert feed == "numbers"
    assert contract.decode_arguments(contract.encode_arguments(arguments)) == {"label": b"none", "more": 5}
    assert contract.decode_arguments([msgspec.msgpack.encode({})]) == {"label": b"none", "more": 2}
    assert contract.decode_item(contract.encode_item(3)) == 3
    with pytest.raises(InvalidRequest, match="an item of numbers"):
        contract.decode_item(contract.encode_item("x"))
    with pytest.raises(TypeError):
        contract.bind((1, 2, 3, 4), {})


async def test_slots_are_handed_on_in_order() -> None:
    slots = Slots("Step", 1, 2)
    slots.take()
    order: list[int] = []

    async def wait(number: int) -> None:
        await slots.wait()
        order.append(number)

    first, second = asyncio.create_task(wait(1)), asyncio.create_task(wait(2))
    await asyncio.sleep(0)
    assert (slots.waiting, slots.full) == (2, True)
    with pytest.raises(Overloaded):
        await slots.wait()
    slots.give()
    first.cancel()  # it has the slot, and does not know yet
    await asyncio.wait([first, second])
    assert order == [2]
    third = asyncio.create_task(wait(3))
    await asyncio.sleep(0)
    third.cancel()
    await asyncio.wait([third])
    assert slots.waiting == 0
    assert not slots.idle.is_set()
    slots.give()
    assert slots.idle.is_set()


async def test_a_slot_passes_over_who_has_been_cancelled() -> None:
    slots = Slots("Step", 1, 2)
    slots.take()
    task = asyncio.create_task(slots.wait())
    await asyncio.sleep(0)
    task.cancel()
    slots.give()
    await asyncio.wait([task])
    assert slots.running == 0
    two = Slots("Step", 2, 0)
    two.take()
    two.take()
    two.give()
    assert (two.running, two.idle.is_set()) == (1, False)
