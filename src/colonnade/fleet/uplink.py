"""The agent's line to the control plane: it dials out, reports what it sees, and hears what is wanted.

A long poll waits for a new desired state, each change here is reported, and every other second a beat says that we are
there. Reports are
numbered, so it does not matter which arrives first. Events are kept and sent again until an answer has acknowledged
them. When the control plane is gone, all of this waits and the cluster goes on with what it knows.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp
import msgspec

from colonnade.fleet.spool import Spool
from colonnade.wire.errors import Conflict
from colonnade.wire.routes import ClusterSpec, Desired, Happening, Observed, ReplicaStatus

LOG = logging.getLogger("colonnade.fleet")
POLL_S = 20.0
REPORT_S = 5.0
BEAT_S = 2.0
FIRST_RETRY_S = 0.1
LONGEST_RETRY_S = 2.0
MOST_EVENTS = 10_000
_BATCH = 500


@dataclass(frozen=True)
class Access:
    """Where the control plane is; asked anew before each try, for one that starts again may have moved."""

    url: str
    token: str
    tls: ssl.SSLContext | bool = True
    """Whom to trust; True: whom this machine trusts."""


class Uplink:
    """`access` raises OSError or ValueError while nobody knows where the control plane is. `desired`: what is known
    already. `hear` is called with each new desired state.
    `spool`: what was used and has to be told. `spec`: what is said of the cluster."""

    def __init__(
        self,
        cluster: str,
        agent: str,
        access: Callable[[], Access],
        desired: Desired | None,
        hear: Callable[[Desired], None],
        spool: Spool,
        spec: ClusterSpec | None = None,
    ) -> None:
        self._cluster = cluster
        self._agent = agent
        self._access = access
        self._hear = hear
        self._spool = spool
        self._spec = spec
        self._revision = -1 if desired is None else desired.revision
        self._replicas: tuple[ReplicaStatus, ...] = ()
        self._events: deque[Happening] = deque(maxlen=MOST_EVENTS)
        self._sequence = 0
        self._number = 0
        self._changed = asyncio.Event()

    def report(self, replicas: tuple[ReplicaStatus, ...]) -> None:
        """What there is now; sent at once if it differs from what was."""
        if replicas != self._replicas:
            self._replicas = replicas
            self._changed.set()

    def tell(self, kind: str, subject: str, epoch: str, reason: str, deployment: str = "") -> None:
        self._number += 1
        source, now = f"{self._cluster}/{self._agent}", time.time()
        told = Happening(source, self._number, now, kind, subject, reason, self._cluster, epoch, deployment)
        self._events.append(told)
        self._changed.set()

    def used(self) -> None:
        """There is something in the spool."""
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled. Raises Conflict when another agent has taken this cluster over."""
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._for_ever(self._poll, session), name="poll")
            tasks.create_task(self._for_ever(self._push, session), name="push")
            tasks.create_task(self._for_ever(self._beat, session), name="beat")

    async def last_words(self, within: float) -> bool:
        """Report once more, without waiting for anything; for an agent that goes. False when nobody listened."""
        try:
            async with asyncio.timeout(within), aiohttp.ClientSession() as session:
                await self._sync(session, 0.0)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, Conflict) as error:
            LOG.info("the last report was not heard: %s", error)
            return False
        return True

    async def _for_ever(
        self, step: Callable[[aiohttp.ClientSession], Awaitable[None]], session: aiohttp.ClientSession
    ) -> None:
        wait = FIRST_RETRY_S
        while True:
            try:
                await step(session)
                wait = FIRST_RETRY_S
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                if wait == FIRST_RETRY_S:
                    LOG.warning("the control plane does not answer, going on with what is known: %s", error)
                self._changed.set()
                await asyncio.sleep(random.uniform(0.5, 1) * wait)
                wait = min(LONGEST_RETRY_S, wait * 2)

    async def _poll(self, session: aiohttp.ClientSession) -> None:
        await self._sync(session, POLL_S)

    async def _beat(self, session: aiohttp.ClientSession) -> None:
        """Only that we are there: a poll that waits may be a wire that was cut."""
        access = self._access()
        url = f"{access.url}/v1/clusters/{self._cluster}/beat"
        headers = {"authorization": f"Bearer {access.token}", "content-type": "application/json"}
        timeout = aiohttp.ClientTimeout(total=REPORT_S)
        said = {"agent": self._agent}
        async with session.post(url, json=said, headers=headers, timeout=timeout, ssl=access.tls) as answer:
            if answer.status == 404:  # it does not know us yet: the first report is on its way
                self._changed.set()
            else:
                answer.raise_for_status()
        await asyncio.sleep(BEAT_S)

    async def _push(self, session: aiohttp.ClientSession) -> None:
        await self._changed.wait()
        self._changed.clear()
        await self._sync(session, 0.0)

    async def _sync(self, session: aiohttp.ClientSession, wait: float) -> None:
        access = self._access()
        observed = self._observed()
        url = f"{access.url}/v1/clusters/{self._cluster}/sync"
        timeout = aiohttp.ClientTimeout(total=wait + REPORT_S)
        headers = {"authorization": f"Bearer {access.token}", "content-type": "application/json"}
        body = msgspec.json.encode(observed)
        sent = {"params": {"wait": str(int(wait))}, "data": body, "headers": headers}
        async with session.post(url, timeout=timeout, ssl=access.tls, **sent) as answer:
            data = await answer.read()
            if answer.status == 409:
                raise Conflict(data.decode("utf-8", "replace")[:500])
            answer.raise_for_status()
        self._acknowledge(observed.events)
        self._spool.acknowledge(observed.usage)
        self._heard(msgspec.json.decode(data, type=Desired), observed.revision)

    def _observed(self) -> Observed:
        self._sequence += 1
        events = tuple(self._events)[:_BATCH]
        place = (self._cluster, self._revision, self._replicas, self._agent, self._sequence)
        return Observed(*place, events, self._spool.pending(_BATCH), self._spec)

    def _acknowledge(self, events: tuple[Happening, ...]) -> None:
        last = events[-1].number if events else 0
        while self._events and self._events[0].number <= last:
            self._events.popleft()
        if self._events:
            self._changed.set()

    def _heard(self, desired: Desired, asked: int) -> None:
        """Answers may overtake each other, so an older one is let pass, unless it answers to what we know now: then the
        control plane itself has gone back."""
        if desired.revision < self._revision != asked:
            return
        if desired.revision != self._revision:
            self._revision = desired.revision
            self._hear(desired)
