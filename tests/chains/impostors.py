"""What listens where a step should, and is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from colonnade.chains.address import Address
from colonnade.chains.client import Client
from colonnade.chains.frames import Kind, encode
from colonnade.chains.graph import contract_of, open_chain
from colonnade.chains.links import WireLink
from colonnade.chains.notes import Hello
from colonnade.chains.notes import encode as note

Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
GREETING = b"".join(encode(Kind.HELLO, 0, note(Hello("Tail"))))


@asynccontextmanager
async def impostor(folder: Path, speak: Speak, step: str = "Blobs") -> AsyncIterator[Client]:
    """A client of the tests' chain's `step`, and something else that answers it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await speak(reader, writer)
        finally:
            writer.close()

    path = str(folder / "s")
    server = await asyncio.start_unix_server(serve, path)
    node = open_chain(Path(__file__).with_name("shop.py")).node(step)
    link = WireLink(step, Address(path=path))
    try:
        yield Client(step, contract_of(node.step), node.options, link)
    finally:
        await link.close()
        server.close()
        await server.wait_closed()
