"""The faults that were reproduced in Truss Chains, each as what happens here; and peers that speak nonsense.

1. retries: immediate, of every error, without a budget    2. no deadline goes with a call, nothing is cancelled
3. a producer's error is lost in its stream    4. text breaks where the network cuts a character
5. a local run passes objects by reference, and differs from a remote one
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest
from chain_rig import rig, until
from impostors import GREETING, Speak, impostor

from colonnade import chains
from colonnade.chains import client as client_module
from colonnade.chains.frames import Kind, encode
from colonnade.chains.graph import contract_of, open_chain
from colonnade.chains.links import WireLink
from colonnade.chains.notes import Order
from colonnade.chains.notes import encode as note
from colonnade.chains.retries import SAVED
from colonnade.wire.errors import ColonnadeError, Conflict, DeadlineExceeded, Overloaded, ReplicaLost, StepFailed

REMOTE = "unix"


async def failure(awaitable: Awaitable[object]) -> ColonnadeError:
    with pytest.raises(ColonnadeError) as caught:
        await awaitable
    return caught.value


async def test_1_retries_are_of_what_is_safe_with_pauses_and_a_budget() -> None:
    async with rig(REMOTE) as shop:
        pauses: list[float] = []
        tail = shop.client("Tail")
        handle = tail._handle
        noise = iter([0.5, 0.25] * 100)
        handle._noise = lambda: pauses.append(next(noise)) or pauses[-1]
        await failure(tail.run_remote("value"))
        assert handle._budget.tokens == SAVED  # an error of the step's code: one try
        pauses.clear()
        assert isinstance(await failure(tail.run_remote("busy")), Overloaded)
        assert len(set(pauses)) == 2  # drawn for each pause
        assert shop.module.SEEN["busy"] == 3
        for _ in range(20):
            await failure(tail.run_remote("busy"))
        tries = shop.module.SEEN["busy"]
        assert 21 + 8 <= tries <= 21 + 13  # ten retries that were saved, and a tenth of the calls


async def test_2_the_deadline_goes_along_and_ends_the_work_at_the_far_end() -> None:
    async with rig(REMOTE) as shop:
        assert isinstance(await failure(shop.client("Shop").call(["sleep"], within=0.2)), DeadlineExceeded)
        await until(lambda: shop.module.SEEN.get("woken") == 1, "the far end was cancelled")


async def test_3_an_error_in_a_stream_is_the_readers() -> None:
    async with rig(REMOTE) as shop:
        items: list[str] = []

        async def read() -> None:
            async for item in shop.client("Letters").run_remote("a", 5, fail=2):
                items.append(item)

        error = await failure(read())
        assert isinstance(error, StepFailed)
        assert (items, error.report.message) == (["a", "a"], "no more letters")  # pyright: ignore


async def test_4_text_is_never_cut_inside_a_character() -> None:
    async with rig(REMOTE) as shop:
        letters = [each async for each in shop.client("Letters").run_remote("€" * 100_000, 3)]
        assert letters == ["€" * 100_000] * 3

    async def cut(data: bytes) -> AsyncIterator[bytes]:
        for index in range(0, len(data), 2):
            yield data[index : index + 2]

    pieces = [each async for each in chains.text(cut("a€b€".encode()))]
    assert "".join(pieces) == "a€b€"
    with pytest.raises(UnicodeDecodeError):
        [each async for each in chains.text(cut("€".encode()[:2]))]


async def test_5_inline_is_as_remote_is() -> None:
    """By-value arguments, refused types, slots, retries and reports are the same: every test of test_chain_calls.py
    runs over all three; here the whole report is compared."""

    async def told(kind: str) -> list[object]:
        async with rig(kind) as shop:
            found: list[object] = []
            for what in (["value"], ["missing"], ["busy"], ["liar", "text"], ["liar", "object"], [3]):
                error = await failure(shop.client("Shop").run_remote(what))
                found.append((type(error), error.message, error.reason, error.hint, getattr(error, "report", None)))
            return found

    assert await told("inline") == await told("unix") == await told("tcp")


# Peers that are no steps.


async def greets_and_lies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(GREETING)
    await reader.read(4096)
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    await writer.drain()


async def greets_and_leaves(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(GREETING)
    await reader.read(4096)


async def answers_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    from colonnade.chains.notes import Closing

    writer.write(GREETING)
    await reader.read(4096)
    writer.write(b"".join(encode(Kind.END, 1, note(Closing()), [b"\xc1nonsense"])))
    await reader.read(4096)


@pytest.mark.parametrize(
    ("speak", "kind", "code"),
    [
        (greets_and_lies, ReplicaLost, "garbled"),
        (greets_and_leaves, ReplicaLost, "replica_lost"),
        (answers_nonsense, StepFailed, "bad_answer"),
    ],
)
async def test_garbage_is_a_typed_error(tmp_path: Path, speak: Speak, kind: type, code: str) -> None:
    async with impostor(tmp_path, speak) as client:
        error = await failure(client.call(b"abc", within=20))
        assert isinstance(error, kind)
        assert error.reason == code


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(4096)
    await reader.read(4096)


async def speaks_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()


@pytest.mark.parametrize(("speak", "code"), [(silent, "deadline_exceeded"), (speaks_http, "garbled")])
async def test_who_never_greets_costs_the_deadline_at_most(tmp_path: Path, speak: Speak, code: str) -> None:
    async with impostor(tmp_path, speak) as client:
        assert (await failure(client.call(b"abc", within=0.5))).reason == code


async def test_nobody_there(tmp_path: Path) -> None:
    module = open_chain(Path(__file__).with_name("shop.py")).node("Blobs").step
    async with chains.connect(f"unix://{tmp_path}/none", module) as client:
        error = await failure(client.call(b"abc", within=0.3))
    assert error.reason in ("step_unreachable", "deadline_exceeded")


async def test_another_state_or_signature_is_not_called() -> None:
    async with rig(REMOTE) as shop:
        address = shop.link("Tail")._address  # pyright: ignore
        for link, code in (
            (WireLink("Tail", address, graph="other"), "other_graph"),
            (WireLink("Tail", address, signature="other"), "other_signature"),
        ):
            node = shop.chain.node("Tail")
            client = client_module.Client("Tail", contract_of(node.step), node.options, link)
            error = await failure(client.run_remote("a"))
            await link.close()
            assert isinstance(error, Conflict)
            assert error.reason == code
        async with chains.connect(str(address), shop.chain.node("Tail").step) as client:
            assert await client.run_remote("a") == "a"


async def test_dependencies_by_deployment_and_by_url(tmp_path: Path) -> None:
    async with rig("tcp") as shop:
        address = shop.link("Tail")._address  # pyright: ignore
        file = tmp_path / "chain_by_url.py"
        file.write_text(
            f"""
from colonnade.chains import Step, depends

class Tail(Step):
    async def run_remote(self, what: str) -> str: ...

class Ends(Step):
    def __init__(self, a: Tail = depends(Tail, url="{address}"), b: Tail = depends(Tail, deployment="end")) -> None:
        self._a, self._b = a, b
        self._both = [a, b]

    async def run_remote(self, what: str) -> list[str]:
        return [await each.run_remote(what) for each in self._both]
"""
        )
        async with chains.inline(file, {"end": str(address)}) as client:
            assert await client.run_remote("x") == ["x", "x"]
        with pytest.raises(ColonnadeError, match="nobody says where it is"):
            async with chains.inline(file):
                pass


async def test_a_caller_that_never_reads_does_not_fill_the_steps_memory() -> None:
    async with rig(REMOTE) as shop:
        address = shop.link("Letters")._address  # pyright: ignore
        reader, writer = await asyncio.open_unix_connection(address.path)
        reader._limit = 1  # pyright: ignore
        contract = shop.hosts["Letters"].contract
        arguments = contract.encode_arguments(contract.bind(("x" * 60_000, 1), {})[0])
        for number in range(1, 400):
            writer.write(b"".join(encode(Kind.CALL, number, note(Order(60.0)), arguments)))
        for _ in range(2000):  # turns of the loop
            await asyncio.sleep(0)
        assert 0 < shop.module.SEEN["letters"] < 100
        writer.transport.abort()


async def test_two_hundred_calls_at_once_over_one_connection() -> None:
    async with rig(REMOTE) as shop:
        client = shop.client("Blobs")
        data = [bytes([number % 256]) * (number * 331) for number in range(200)]
        answers = await chains.map(client.run_remote, data, limit=64)
        assert [bytes(each) for each in answers] == data
        assert await chains.together() == []
        assert await chains.map(client.run_remote, []) == []
        with pytest.raises(ValueError, match="limit"):
            await chains.map(client.run_remote, [], limit=0)


async def test_a_large_value_lets_small_calls_pass_on_its_connection() -> None:
    """Both ways: while 16 MB go out, and while they come back."""
    async with rig(REMOTE) as shop:
        client = shop.client("Blobs")
        await client.run_remote(b"a")
        large = asyncio.create_task(client.run_remote(b"x" * (16 << 20)))
        passed = 0
        while not large.done():
            assert await client.run_remote(b"ab") == b"ba"
            passed += 1
        assert len(await large) == 16 << 20
        assert passed > 8  # in one piece it lets one pass each way
