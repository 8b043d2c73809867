"""What the connections of one gateway share: keys, routes, pools, counts, limits."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from colonnade.gateway.admission import NOISE, Keys
from colonnade.gateway.bill import Bill
from colonnade.gateway.budgets import Budgets
from colonnade.gateway.hedging import Hedging
from colonnade.gateway.lobby import Lobby
from colonnade.gateway.policies import POLICIES
from colonnade.gateway.quota import Quotas
from colonnade.gateway.routing import RetryBudget, Table
from colonnade.gateway.stats import Stats
from colonnade.gateway.target import Target
from colonnade.gateway.upstream import Pool
from colonnade.wire.errors import BadSetting
from colonnade.wire.routes import Demand, Outcome, Routes
from colonnade.wire.settings import GatewaySettings, HttpSettings


@dataclass(frozen=True)
class Limits:
    """Bounds that no one has had a reason to change yet; bytes and seconds."""

    head: int = 32 << 10
    event: int = 4 << 20
    unread: int = 64 << 10
    """Bytes that wait for a client before its replica is asked to wait."""
    answer: float = 600.0
    """Until an answer that is not a stream begins."""
    unsent: float = 60.0
    """A client that takes nothing of what waits for it is cut off after this long."""
    upstream_idle: float = 4.0
    """Shorter than the five seconds after which uvicorn closes an idle connection."""
    connections: int = 20_000
    pipelined: int = 16
    tries: int = 2
    whole: int = 1 << 20
    """Bytes of an answer that is no stream which are held until it is whole."""
    held: int = 4096
    """Requests that wait for a replica that can be reached."""
    tick: float = 0.25


LATE = 0.5
"""Seconds by which a tick must be late for this process to have stood still."""


class Connection(Protocol):
    """A client's connection, as the plane sees it."""

    @property
    def busy(self) -> bool: ...

    def check(self, now: float) -> None:
        """Act on what takes too long."""
        ...

    def leave(self) -> None:
        """The gateway shuts down: close now if idle, else after the answer."""
        ...

    def cut(self) -> None:
        """The gateway cannot wait any longer: end with an error that says so."""
        ...

    def abort(self) -> None: ...


class Held(Protocol):
    """A request that waits for a replica."""

    model: str

    def retry(self) -> None: ...


class Access(msgspec.Struct, frozen=True):
    """One line of the access log: who, what, how long; nothing of what was said."""

    request_id: str
    path: str
    model: str
    tenant: str
    replica: str
    status: int
    first_byte_s: float
    duration_s: float
    request_bytes: int
    prompt_tokens: int | None
    completion_tokens: int | None


class Plane:
    """One gateway's state. Everything happens on one event loop."""

    def __init__(
        self,
        http: HttpSettings,
        settings: GatewaySettings,
        loop: asyncio.AbstractEventLoop,
        *,
        loopback: bool,
        limits: Limits | None = None,
    ) -> None:
        self.http = http
        self.settings = settings
        self.limits = limits or Limits()
        self.loop = loop
        self.now = loop.time
        self.loopback = loopback
        self.table = Table(POLICIES[settings.policy](), settings.replica_slots)
        self.stats = Stats()
        self.bill = Bill("")
        """Tokens, for those who pay for them."""
        self.lobby = Lobby(self.table, settings, self.stats, loop)
        self.quotas = Quotas()
        self.budgets = Budgets()
        self.heard: float | None = None
        """When the control plane was heard last, by `now`; None where there is none."""
        self.budget = RetryBudget()
        self.hedging = Hedging(settings.hedge_share)
        self.rescues = RetryBudget(share=1.0, most=4096.0)
        """Of requests whose replica was lost: it takes all of its requests at once, so the reserve is what several may
        carry; a request has its own bound (`resume.FRUITLESS`)."""
        self.held: dict[Held, None] = {}
        """Those that lost their replica and find no other, in the order in which they came."""
        self.pools: dict[str, Pool] = {}
        self.cards: dict[str, list[dict[str, Any]]] = {}
        """What replicas say they serve, by epoch."""
        self.clients: set[Connection] = set()
        self.empty = asyncio.Event()
        """Set when the last client of a gateway that drains has gone."""
        self.draining = False
        self.access: Callable[[Access], None] | None = None
        self.revision = -1
        self.keys = Keys(auth=settings.auth, loopback=loopback)
        self._noise = _noise()

    def noise(self) -> bytes:
        return next(self._noise)

    def pool(self, target: Target) -> Pool:
        return self.pools[target.route.epoch]

    def recognise(self, target: Target, seen: str) -> None:
        """What it computes with; that may change in its life, and then it describes itself anew."""
        if seen and seen != target.fingerprint:
            target.fingerprint = seen
            self.cards.pop(target.route.epoch, None)

    def update(self, routes: Routes) -> tuple[list[Target], list[Target]]:
        """What the control plane says now. Raises BadSetting for what cannot be used, before anything has changed."""
        try:
            keys = Keys(routes, auth=self.settings.auth, loopback=self.loopback)
        except ValueError:
            raise BadSetting("the keys of the routes are not hexadecimal", hint="make them anew") from None
        pools = {route.epoch: Pool(route.url, self.loop) for route in routes.routes}
        self.keys = keys
        self.quotas.update(routes.keys, self.now())
        self.budgets.update(routes.limits)
        came, went = self.table.update(routes)
        for target in went:
            self.pools.pop(target.route.epoch).close()
            self.cards.pop(target.route.epoch, None)
        for target in came:
            self.pools[target.route.epoch] = pools[target.route.epoch]
        self.revision = routes.revision
        self.loop.call_soon(self.seek)
        return came, went

    def hear(self) -> None:
        """The control plane has answered."""
        self.heard = self.now()

    def silence(self) -> float:
        """Seconds."""
        return 0.0 if self.heard is None else self.now() - self.heard

    def seek(self) -> None:
        """Those that wait for a replica look again: first those that had one."""
        for held in list(self.held):
            held.retry()
        self.lobby.check(self.now())

    def demand(self) -> list[Demand]:
        """By deployment, those with nothing to do included."""
        flying = Counter(dict.fromkeys(self.table.deployed, 0))
        for target in self.table.targets.values():
            flying[target.route.model] += target.in_flight
        held = Counter(each.model for each in self.held)
        held.update({model: len(queue) for model, queue in self.lobby.queues().items()})
        return [Demand(name, flying[name] + held[name], held[name]) for name in sorted(flying)]

    def outcomes(self) -> list[Outcome]:
        """How the versions of each deployment answered, since this gateway started."""
        return [
            Outcome(model, version, tally.requests, tally.errors, dict(tally.first))
            for (model, version), tally in self.stats.tallies.items()
        ]

    def reason_not_ready(self) -> str:
        """Empty when a request could be served."""
        if self.draining:
            return "draining"
        if not self.keys.known:
            return "no routes from the control plane yet"
        if self.keys.asked and not len(self.keys):
            return "no API keys yet: `colonnade keys create`"
        if not self.table.resting and all(target.leaving for target in self.table.targets.values()):
            return "no replica is ready: `colonnade ps`"
        return ""

    def _forgive(self, late: float) -> None:
        """What we did not hear while this process stood still is held against nobody."""
        if late > LATE:
            for target in self.table.targets.values():
                target.pulse.forgive(late)

    def gone(self, client: Connection) -> None:
        self.clients.discard(client)
        if self.draining and not self.clients:
            self.empty.set()

    async def drain(self) -> None:
        """Let what is in flight end, for as long as the settings say; then end it with an error."""
        self.draining = True
        for client in list(self.clients):
            client.leave()
        await self._until_empty(self.settings.shutdown_timeout)
        for client in list(self.clients):
            client.cut()
        await self._until_empty(0.5)
        for client in list(self.clients):
            client.abort()

    async def _until_empty(self, seconds: float) -> None:
        if self.clients:
            try:
                await asyncio.wait_for(self.empty.wait(), seconds)
            except TimeoutError:
                return

    async def watch(self) -> None:
        """Once a tick: act on what takes too long, close what is idle."""
        before = self.now()
        while True:
            await asyncio.sleep(self.limits.tick)
            now = self.now()
            self._forgive(now - before - self.limits.tick)
            before = now
            self.seek()
            for client in list(self.clients):
                client.check(now)
            for pool in self.pools.values():
                pool.trim(now - self.limits.upstream_idle)


def _noise() -> Iterator[bytes]:
    """Random bytes for tickets; drawn many at once, since each draw is a system call."""
    while True:
        drawn = os.urandom(NOISE * 256)
        for start in range(0, len(drawn), NOISE):
            yield drawn[start : start + NOISE]
