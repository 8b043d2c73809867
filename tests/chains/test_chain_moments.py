"""A step that dies, freezes or turns to garbage after any byte of its answer: items, then a typed error, in time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest
from chain_rig import rig, until
from impostors import GREETING, impostor

from colonnade.chains import outbox
from colonnade.chains.client import Client
from colonnade.chains.frames import Kind, encode
from colonnade.chains.graph import contract_of, open_chain
from colonnade.chains.handles import Root
from colonnade.chains.notes import Closing, Order
from colonnade.chains.notes import encode as note
from colonnade.chains.options import Options
from colonnade.chains.outbox import Outbox
from colonnade.wire.errors import ColonnadeError, DeadlineExceeded, ReplicaLost

ITEMS = ["one", "two" * 40, "three"]


def answer(number: int) -> bytes:
    """All that a step says to the call of that number: its second item in pieces."""
    contract = contract_of(open_chain(Path(__file__).with_name("shop.py")).node("Letters").step)
    waiting = Outbox()
    for item in ITEMS:
        waiting.put(number, encode(Kind.ITEM, number, b"", contract.encode_answer(item)))
    waiting.put(number, encode(Kind.END, number, note(Closing())))
    wire = b""
    while piece := waiting.next():
        wire += b"".join(piece)
    return wire


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "PIECE", 100)


class Moments:
    """Each connection says so many bytes of the answer, and then something else; None for nothing any more."""

    def __init__(self, counts: Iterable[int], then: bytes | None) -> None:
        self._counts = iter(counts)
        self._answer = answer(1)
        self._then = then

    async def speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GREETING)
        await reader.read(4096)
        writer.write(self._answer[: next(self._counts)] + (self._then or b""))
        await writer.drain()
        if self._then is None:
            await reader.read()  # until the caller leaves


async def heard(client: Client, within: float = 60.0) -> tuple[list[str], ColonnadeError | None]:
    items: list[str] = []
    try:
        async for item in client.start(*client.contract.bind(("x", 3), {}), Root(timeout=within)):
            items.append(item)
    except ColonnadeError as error:
        await client._handle._link.close()  # pyright: ignore
        return items, error
    return items, None


@pytest.mark.usefixtures("small_pieces")
async def test_a_step_that_dies_after_any_byte_is_lost_and_what_it_gave_is_there(tmp_path: Path) -> None:
    whole = len(answer(1))
    async with impostor(tmp_path, Moments(range(whole + 1), b"").speak, "Letters") as client:
        for _ in range(whole):
            items, error = await heard(client)
            assert type(error) is ReplicaLost
            assert items == ITEMS[: len(items)]
        assert await heard(client) == (ITEMS, None)


@pytest.mark.usefixtures("small_pieces")
async def test_garbage_after_any_byte_is_a_typed_error(tmp_path: Path) -> None:
    counts = range(0, len(answer(1)), 3)
    async with impostor(tmp_path, Moments(counts, b"\xc1\x00garbage" * 40).speak, "Letters") as client:
        for _ in counts:
            items, error = await heard(client)
            assert error is not None
            assert error.reason in ("garbled", "bad_answer", "replica_lost")
            assert items[:1] == ITEMS[: len(items[:1])]


@pytest.mark.usefixtures("small_pieces")
async def test_a_step_that_freezes_after_any_byte_costs_the_deadline(tmp_path: Path) -> None:
    counts = range(0, len(answer(1)), 40)
    async with impostor(tmp_path, Moments(counts, None).speak, "Letters") as client:
        for _ in counts:
            items, error = await heard(client, within=0.1)
            assert isinstance(error, DeadlineExceeded)
            assert items == ITEMS[: len(items)]


async def test_a_caller_that_reads_nothing_of_large_answers_holds_two_for_each_call_that_runs() -> None:
    async with rig("unix") as shop:
        address = shop.link("Arrays")._address  # pyright: ignore
        reader, writer = await asyncio.open_unix_connection(address.path)
        reader._limit = 1  # pyright: ignore
        contract = shop.hosts["Arrays"].contract
        arguments = contract.encode_arguments(contract.bind((1 << 20, 2), {})[0])
        try:
            for number in range(1, 200):
                writer.write(b"".join(encode(Kind.CALL, number, note(Order(60.0)), arguments)))
            await until(lambda: shop.module.SEEN.get("arrays", 0) > 0, "some are answered")
            for _ in range(2000):  # turns of the loop
                await asyncio.sleep(0)
            assert shop.module.SEEN["arrays"] <= 2 * Options().concurrency
        finally:
            writer.transport.abort()
