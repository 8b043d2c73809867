"""The process of one step: it imports the chain's file, loads its step, listens, says where, and ends with its parent.

Standard input is the parent's pipe, which is never written to: its end means that the parent is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import uvloop

from colonnade.chains.address import Address, parse_address
from colonnade.chains.graph import Chain, EdgeTo, open_chain
from colonnade.chains.hosting import Server
from colonnade.chains.links import Link, WireLink
from colonnade.chains.notes import Hello
from colonnade.chains.wiring import host_of, outside
from colonnade.wire.errors import BadChain

FOLDER = "colonnade-chain-"
DRAIN = 5.0
"""Seconds that calls under way have to end once the process is told to."""


class Place(msgspec.Struct, frozen=True):
    """What a step's process is told, as JSON. `steps` are the addresses of the steps that it depends on, `book` those
    of deployments."""

    file: str
    step: str
    listen: str
    graph: str = ""
    steps: dict[str, str] = {}
    book: dict[str, str] = {}


@dataclass
class StepProcess:
    place: Place
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    orphan: bool = False
    _links: list[Link] = field(default_factory=list[Link])

    async def run(self) -> None:
        chain = open_chain(Path(self.place.file))
        if self.place.graph not in ("", chain.digest):
            raise BadChain(f"{self.place.file} has changed since the chain was started", hint="start the chain again")
        self._watch()
        node = chain.node(self.place.step)
        host = await host_of(node, chain, lambda edge: self._link(edge, chain))
        server = Server(host, Hello(node.name, chain.digest, host.contract.digest))
        address = await server.listen(parse_address(self.place.listen))
        announce(node.name, address)
        await self.ended.wait()
        server.stop_listening()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(host.slots.idle.wait(), DRAIN)
        await server.close()
        for link in self._links:
            await link.close()
        if self.orphan and address.path:
            self._leave_nothing(Path(address.path).parent)

    def _link(self, edge: EdgeTo, chain: Chain) -> Link:
        link = self._inside(edge, chain) if edge.here else outside(edge, self.place.book)
        self._links.append(link)
        return link

    def _inside(self, edge: EdgeTo, chain: Chain) -> WireLink:
        known: Mapping[str, str] = self.place.steps
        if edge.target not in known:
            raise BadChain(f"step {self.place.step} was not told where {edge.target} is")
        return WireLink(edge.target, parse_address(known[edge.target]), chain.digest)

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.ended.set)
        if stat.S_ISFIFO(os.fstat(0).st_mode) or stat.S_ISSOCK(os.fstat(0).st_mode):
            loop.add_reader(0, self._read_life_line)

    def _read_life_line(self) -> None:
        if not os.read(0, 4096):
            asyncio.get_running_loop().remove_reader(0)
            self.orphan = True
            self.ended.set()

    def _leave_nothing(self, folder: Path) -> None:
        """The parent removes the folder of the sockets; where it was killed, the last step does."""
        if folder.name.startswith(FOLDER):
            with contextlib.suppress(OSError):
                folder.rmdir()


def announce(step: str, address: Address) -> None:
    said = {"step": step, "address": str(address), "pid": os.getpid()}
    sys.stdout.write(msgspec.json.encode(said).decode() + "\n")
    sys.stdout.flush()


def main(argv: list[str]) -> None:
    """Does not return: a step's thread that never ends would hold the process."""
    place = msgspec.json.decode(argv[0], type=Place)
    code = 1
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(StepProcess(place).run())
        code = 0
    except BaseException as error:
        _last_words(error)
    sys.stdout.flush()
    os._exit(code)


def _last_words(error: BaseException) -> None:
    import traceback

    hint = getattr(error, "hint", "")
    if isinstance(error, BadChain):
        sys.stderr.write(f"{hint}\n{error.message}\n")
    else:
        traceback.print_exception(error)
    sys.stderr.flush()
