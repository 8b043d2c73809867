"""A chain that runs: a process for each step, watched and started again, and the HTTP face of the entry in this one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import uvicorn

from colonnade.chains.address import parse_address
from colonnade.chains.client import Client
from colonnade.chains.face import Face
from colonnade.chains.graph import Chain, Node, contract_of
from colonnade.chains.inline import InlineLink
from colonnade.chains.links import Link, WireLink
from colonnade.chains.notes import Span
from colonnade.chains.process import FOLDER, Place
from colonnade.chains.wiring import inline_hosts
from colonnade.cli.child import Child
from colonnade.cli.home import Home
from colonnade.cli.restarts import Restarts
from colonnade.cli.session import Session
from colonnade.cli.traces import Trace, Traces

START_S = 120.0
"""Seconds for a step to import, load and listen."""
PATIENCE_S = 7.0


class StepChild:
    """One step's process through all its lives. It listens on the same address in each."""

    def __init__(self, place: Place, log: Path, talk: Callable[[str], None]) -> None:
        self.place = place
        self.child = self._new(place, log)
        self.log = log
        self._talk = talk
        self._restarts = Restarts(first=0.2, limit=5.0, reset=30.0)

    async def start(self) -> None:
        await self.child.start()

    async def listens(self) -> str:
        """Its address. Raises SetupError."""
        said = await self.child.announcement(START_S)
        self.place = msgspec.structs.replace(self.place, listen=said["address"])
        return said["address"]

    async def keep(self) -> None:
        """Starts it again whenever it ends."""
        began = time.monotonic()
        while True:
            how = await self.child.ended()
            delay = self._restarts.after(time.monotonic() - began)
            self._talk(f"step {self.place.step} ended: {how}; started again in {delay:.1f} s")
            await asyncio.sleep(delay)
            began = time.monotonic()
            self.child = self._new(self.place, self.log)
            await self.child.start()

    def _new(self, place: Place, log: Path) -> Child:
        argument = msgspec.json.encode(place).decode()
        return Child(f"step {place.step}", "colonnade.chains", [argument], log)


class Chaining:
    """`book` has the addresses of deployments; `greet` is called when everything answers."""

    def __init__(
        self,
        session: Session,
        chain: Chain,
        port: int,
        book: dict[str, str],
        greet: Callable[[dict[str, Any]], None],
        tcp: bool = False,
    ) -> None:
        self._session = session
        self._chain = chain
        self._port = port
        self._book = book
        self._greet = greet
        self._tcp = tcp
        self._logs = Home(session.home).logs
        self._traces = Traces(Home(session.home).trace_file)
        self._children: dict[str, StepChild] = {}

    async def run(self, inline: bool) -> None:
        """Until cancelled. Raises SetupError when a step does not start."""
        place = self._inline() if inline else self._processes()
        async with place as (client, address):
            async with served(Face(client, lambda: self._said(address), self._keep), self._port) as url:
                self._greet({**self._said(address), "url": url, "pid": os.getpid()})
                await asyncio.Event().wait()

    def hurry(self) -> None:
        for each in self._children.values():
            each.child.hurry()

    def _keep(self, id: str, span: Span) -> None:
        began = time.time() - span.seconds
        self._traces.keep(Trace(id, began, self._chain.file.name, span.outcome, span))

    def _said(self, address: str) -> dict[str, Any]:
        entry = self._chain.entry
        pids = {name: each.child.pid for name, each in self._children.items()}
        steps = [{"step": each.name, "pid": pids.get(each.name, os.getpid())} for each in self._chain.nodes]
        signature = str(contract_of(entry.step).signature)
        return {"entry": entry.name, "signature": signature, "address": address, "steps": steps}

    @asynccontextmanager
    async def _inline(self) -> AsyncIterator[tuple[Client, str]]:
        async with AsyncExitStack() as stack:
            hosts = await inline_hosts(self._chain, self._book, stack)
            yield self._client(InlineLink(hosts[self._chain.entry.name])), ""

    @asynccontextmanager
    async def _processes(self) -> AsyncIterator[tuple[Client, str]]:
        folder = Path(tempfile.mkdtemp(prefix=FOLDER))
        keeping: list[asyncio.Task[None]] = []
        stopped = False
        try:
            address = await self._start(folder)
            keeping = [asyncio.create_task(each.keep()) for each in self._children.values()]
            link = WireLink(self._chain.entry.name, parse_address(address), self._chain.digest)
            yield self._client(link), address
            await link.close()
        except asyncio.CancelledError:
            stopped = True
            raise
        finally:
            for task in keeping:
                task.cancel()
            await asyncio.gather(*keeping, return_exceptions=True)
            await asyncio.gather(*(each.child.stop(PATIENCE_S) for each in self._children.values()))
            shutil.rmtree(folder)
            for each in self._children.values() if stopped else ():
                each.log.unlink(missing_ok=True)

    async def _start(self, folder: Path) -> str:
        """The entry's address. Over TCP a step is told the ports of others, so they come first."""
        known: dict[str, str] = {}
        for number, node in enumerate(self._chain.leaves_first):
            listen = "tcp://127.0.0.1:0" if self._tcp else f"unix://{folder}/{number}"
            steps = {each.target: known[each.target] for each in node.edges if each.here}
            child = self._child(node, listen, steps)
            await child.start()
            known[node.name] = await child.listens() if self._tcp else listen
        for child in self._children.values():
            await child.listens()
        return known[self._chain.entry.name]

    def _child(self, node: Node, listen: str, steps: dict[str, str]) -> StepChild:
        file = str(self._chain.file.resolve())
        place = Place(file, node.name, listen, self._chain.digest, steps, self._book)
        log = self._logs / f"chain-{os.getpid()}-{node.name}.log"
        self._children[node.name] = StepChild(place, log, self._session.talk)
        return self._children[node.name]

    def _client(self, link: Link) -> Client:
        entry = self._chain.entry
        return Client(entry.name, contract_of(entry.step), entry.options, link)


@asynccontextmanager
async def served(face: Face, port: int) -> AsyncIterator[str]:
    """Its URL on 127.0.0.1. Websockets need the library `websockets`; no pings: on one host an end is always seen."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    config = uvicorn.Config(
        face,
        http="httptools",
        ws="websockets-sansio" if find_spec("websockets") else "none",
        ws_ping_interval=None,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve([bound]))
    try:
        await server.listens.wait()
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    """uvicorn, but for the signals, which are ours."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield
