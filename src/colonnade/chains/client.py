"""Calling a chain from Python: over its wire, or with all of it in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from colonnade.chains.address import parse_address
from colonnade.chains.contract import Contract
from colonnade.chains.graph import contract_of, open_chain
from colonnade.chains.handles import Handle, Root
from colonnade.chains.inline import InlineLink
from colonnade.chains.links import Link, WireLink
from colonnade.chains.notes import Span
from colonnade.chains.options import Options
from colonnade.chains.steps import Step
from colonnade.chains.waterfall import waterfall
from colonnade.chains.wiring import edge_to, inline_hosts


@dataclass(frozen=True)
class Answer:
    """`value` is what the step gave, a list of the items where it streams; `trace` is there if it was asked for."""

    value: Any
    request: str
    trace: Span | None = None

    @property
    def waterfall(self) -> str:
        return waterfall(self.trace) if self.trace else ""


class Client:
    """The entry of a chain, from outside."""

    def __init__(self, name: str, contract: Contract, options: Options, link: Link) -> None:
        self.contract = contract
        self._handle = Handle(edge_to(name, options), contract, link)

    def run_remote(self, *args: Any, **kwargs: Any) -> Any:
        """As the step's own."""
        return self._handle.run_remote(*args, **kwargs)

    async def call(self, *args: Any, trace: bool = False, within: float | None = None, **kwargs: Any) -> Answer:
        """The whole answer, with its request's id. `within` seconds."""
        root = Root(trace=trace, timeout=within)
        arguments, feed = self.contract.bind(args, kwargs)
        started = self.start(arguments, feed, root)
        value = [item async for item in started] if self.contract.streams else await started
        return Answer(value, root.id, root.spans[-1] if root.spans else None)

    def start(self, arguments: Any, feed: AsyncIterator[Any] | None, root: Root) -> Any:
        """With bound arguments; the spans will be in `root`."""
        return self._handle.start(arguments, feed, root)


@asynccontextmanager
async def connect(address: str, step: type[Step]) -> AsyncIterator[Client]:
    """`address` is a step's (unix:///path, tcp://host:port), or the URL that `colonnade chain run` printed.
    `step` says what its run_remote takes and gives. Raises BadSetting; calls raise Conflict where the signature is
    another one."""
    if address.startswith("http"):
        address = await asyncio.to_thread(_address_at, address)
    contract = contract_of(step)
    name = step.options.name or step.__name__
    link = WireLink(name, parse_address(address), signature=contract.digest)
    try:
        yield Client(name, contract, step.options, link)
    finally:
        await link.close()


@asynccontextmanager
async def inline(file: str | Path, at: Mapping[str, str] | None = None) -> AsyncIterator[Client]:
    """The chain of a file with all its steps in this process. `at`: addresses of deployments. Raises BadChain."""
    chain = open_chain(Path(file))
    async with AsyncExitStack() as stack:
        hosts = await inline_hosts(chain, at or {}, stack)
        entry = chain.entry
        yield Client(entry.name, hosts[entry.name].contract, entry.options, InlineLink(hosts[entry.name]))


def _address_at(url: str) -> str:
    import urllib.request

    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)["address"]
