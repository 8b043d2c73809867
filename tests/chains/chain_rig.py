"""The tests' chain with all its steps on this loop: inline, or each behind a socket of its own."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import ModuleType

from colonnade.chains.address import parse_address
from colonnade.chains.client import Client
from colonnade.chains.graph import Chain, EdgeTo, contract_of, open_chain
from colonnade.chains.host import Host
from colonnade.chains.hosting import Server
from colonnade.chains.inline import InlineLink
from colonnade.chains.links import Link, WireLink
from colonnade.chains.notes import Hello
from colonnade.chains.wiring import host_of

SHOP = Path(__file__).with_name("shop.py")


class Rig:
    """`client(name)` calls a step from outside; `link(name)` is a new connection to it."""

    def __init__(self, chain: Chain, link: Callable[[str], Link]) -> None:
        self.chain = chain
        self.link = link
        self.hosts: dict[str, Host] = {}
        self.servers: dict[str, Server] = {}

    @property
    def module(self) -> ModuleType:
        import sys

        return sys.modules[self.chain.entry.step.__module__]

    def client(self, name: str) -> Client:
        node = self.chain.node(name)
        return Client(name, contract_of(node.step), node.options, self.link(name))


@asynccontextmanager
async def rig(kind: str, file: Path = SHOP) -> AsyncIterator[Rig]:
    """`inline`, `unix` or `tcp`. At the end nothing may be left: no task, no connection."""
    before = asyncio.all_tasks()
    folder = tempfile.mkdtemp(prefix="chain-")
    addresses: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        chain = open_chain(file)

        def link(name: str) -> Link:
            if kind == "inline":
                return InlineLink(made.hosts[name])
            wire = WireLink(name, parse_address(addresses[name]), chain.digest)
            stack.push_async_callback(wire.close)
            return wire

        def edge(to: EdgeTo) -> Link:
            return link(to.target)

        made = Rig(chain, link)
        made.module.SEEN.clear()
        for number, node in enumerate(chain.leaves_first):
            host = made.hosts[node.name] = await host_of(node, chain, edge)
            if kind != "inline":
                server = made.servers[node.name] = Server(host, Hello(node.name, chain.digest, host.contract.digest))
                listen = f"unix://{folder}/{number}" if kind == "unix" else "tcp://127.0.0.1:0"
                addresses[node.name] = str(await server.listen(parse_address(listen)))
                stack.push_async_callback(server.close)
        yield made
        await until(lambda: not any(host.slots.running for host in made.hosts.values()), "every call has ended")
    await until(lambda: asyncio.all_tasks() <= before | {asyncio.current_task()}, "no task is left")


async def until(condition: Callable[[], bool], what: str) -> None:
    """Lets the loop take turns until it is so; at most 60 s."""
    try:
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0)
    except TimeoutError:
        raise AssertionError(f"not so within 60 s: {what}") from None
