"""From a graph to steps that can be called: handles for dependencies, instances, hosts."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

from colonnade.chains.address import parse_address
from colonnade.chains.graph import Chain, EdgeTo, Node, contract_of
from colonnade.chains.handles import Edge, Handle
from colonnade.chains.host import Host
from colonnade.chains.inline import InlineLink
from colonnade.chains.links import Link, WireLink
from colonnade.chains.options import Options
from colonnade.packages.secrets import Secrets
from colonnade.wire.errors import BadChain


async def host_of(node: Node, chain: Chain, link: Callable[[EdgeTo], Link]) -> Host:
    """Constructs and loads the step. Raises whatever its code raises."""
    handles = {each.parameter: _handle(each, chain, link(each)) for each in node.edges}
    step: Any = node.step.__new__(node.step)
    step.secrets = Secrets(dict.fromkeys(node.options.secrets))
    step.__init__(**handles)
    if (load := getattr(step, "load", None)) is not None:
        await (load() if inspect.iscoroutinefunction(load) else asyncio.to_thread(load))
    return Host(node.name, step, contract_of(node.step), node.options)


def edge_to(name: str, options: Options) -> Edge:
    """For a call from outside of the chain."""
    return Edge(name, options.timeout, idempotent=options.idempotent)


def _handle(edge: EdgeTo, chain: Chain, link: Link) -> Handle:
    options = chain.node(edge.target).options if edge.here else edge.step.options
    bounds = Edge(edge.target, options.timeout, edge.given.timeout, edge.given.retries, options.idempotent)
    return Handle(bounds, contract_of(edge.step), link)


def outside(edge: EdgeTo, book: Mapping[str, str]) -> WireLink:
    """To a step that is not of this chain; `book` has the addresses of deployments. Raises BadChain, BadSetting."""
    given = edge.given
    address = given.url or book.get(given.deployment, "")
    if not address:
        raise BadChain(
            f"{edge.parameter} depends on the deployment {given.deployment!r}, and nobody says where it is",
            hint=f"--at {given.deployment}=ADDRESS",
        )
    return WireLink(edge.target, parse_address(address), signature=contract_of(edge.step).digest)


async def inline_hosts(chain: Chain, book: Mapping[str, str], stack: AsyncExitStack) -> dict[str, Host]:
    """All steps in this process; what they hold of the outside is let go with `stack`."""
    hosts: dict[str, Host] = {}

    def link(edge: EdgeTo) -> Link:
        if edge.here:
            return InlineLink(hosts[edge.target])
        found = outside(edge, book)
        stack.push_async_callback(found.close)
        return found

    for node in chain.leaves_first:
        hosts[node.name] = await host_of(node, chain, link)
    return hosts
