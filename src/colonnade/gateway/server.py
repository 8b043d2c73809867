"""The gateway as a process: listen, follow the routes and loads, drain and leave."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import logging
import os
import secrets
import signal
import ssl
import stat
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from colonnade.gateway.admission import check_bind
from colonnade.gateway.bill import Bill
from colonnade.gateway.client_side import ClientSide
from colonnade.gateway.endpoints import ROUTES
from colonnade.gateway.feed import ControlFeed, read_file
from colonnade.gateway.loads import Loads
from colonnade.gateway.plane import Access, Limits, Plane
from colonnade.gateway.teller import Teller
from colonnade.gateway.tls import HANDSHAKE, Certificate
from colonnade.wire.errors import BadSetting
from colonnade.wire.routes import Routes
from colonnade.wire.settings import GatewaySettings, HttpSettings

__all__ = ["ROUTES", "Gateway", "Source", "run"]

LOG = logging.getLogger("colonnade.gateway")
FIRST_ROUTES = 5.0
"""Seconds to wait for the keys before listening where other machines can reach us."""


@dataclass(frozen=True)
class Source:
    """Where routes come from: a control plane with its token, or a file."""

    control: str = ""
    token_file: Path | None = None
    file: Path | None = None
    spool: Path | None = None
    """Where the tokens that were used are kept until the control plane knows of them."""


class Gateway:
    """One listening gateway on the running loop. `async with` it, or `start` and `stop`."""

    def __init__(
        self,
        source: Source,
        http: HttpSettings,
        settings: GatewaySettings,
        *,
        limits: Limits | None = None,
        certificate: Certificate | None = None,
    ) -> None:
        """With a `certificate` it speaks TLS alone."""
        self._source = source
        self._loopback = is_loopback(settings.host)
        loop = asyncio.get_running_loop()
        self.plane = Plane(http, settings, loop, loopback=self._loopback, limits=limits)
        self.plane.bill = Bill(secrets.token_hex(8), source.spool)
        self._loads = Loads(self.plane.stats, self.plane.table.index)
        self._tasks: list[asyncio.Task[None]] = []
        self._server: asyncio.Server | None = None
        self._warned = False
        self._certificate = certificate
        self._context: ssl.SSLContext | None = None
        self.url = ""
        """Where it listens; the port is the real one."""

    async def __aenter__(self) -> Gateway:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Raises BadSetting: an address beyond this machine without keys, one that is taken, a file that is wrong."""
        settings = self.plane.settings
        try:
            check_bind(settings.host, self._loopback, settings.auth, None)
            await self._first_routes()
            await self._listen(settings.host, settings.port)
        except BaseException:
            await self.stop()
            raise
        self._task(self.plane.watch())

    async def _listen(self, host: str, port: int) -> None:
        tls: dict[str, Any] = {}
        if self._certificate is not None:
            self._context = self._certificate.context()
            tls = {"ssl": self._context, "ssl_handshake_timeout": HANDSHAKE}
        loop = self.plane.loop
        try:
            self._server = await loop.create_server(lambda: ClientSide(self.plane), host, port, backlog=4096, **tls)
        except OSError as error:
            reason = f"cannot listen on {host} port {port}: {error.strerror or error}"
            raise BadSetting(reason, hint="--port takes another port, 0 a free one") from error
        host, port = self._server.sockets[0].getsockname()[:2]
        self.url = f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

    async def _first_routes(self) -> None:
        settings = self.plane.settings
        if self._source.file is not None:
            routes = read_file(self._source.file)
            check_bind(settings.host, self._loopback, settings.auth, routes)
            self.apply(routes)
            return
        assert self._source.token_file is not None
        feed = ControlFeed(self._source.control, self._source.token_file, self.apply, self.plane.hear)
        self._task(feed.run())
        self._task(Teller(feed.access, self.plane.demand, self.plane.outcomes, self.plane.bill).run())
        if self._loopback:
            return
        try:
            await asyncio.wait_for(feed.known.wait(), FIRST_ROUTES)
        except TimeoutError:
            LOG.warning("no keys from the control plane yet; nobody is let in until they come")
            return
        if not len(self.plane.keys):
            check_bind(settings.host, self._loopback, settings.auth, Routes(revision=self.plane.revision))

    def apply(self, routes: Routes) -> None:
        """Raises BadSetting for routes that cannot be used; those before stay in use."""
        self._loads.update(*self.plane.update(routes))
        if not routes.auth and not self._loopback and not self._warned:
            self._warned = True
            LOG.warning("the routes say that no keys are asked for; they are, since other machines can reach us")

    def reload(self) -> None:
        """Read the files again (SIGHUP); a wrong one changes nothing."""
        if self._certificate is not None and self._context is not None:
            try:
                self._certificate.read_into(self._context)
            except BadSetting as error:
                LOG.warning("%s; going on with the one before", error)
        if self._source.file is None:
            return
        try:
            self.apply(read_file(self._source.file))
        except BadSetting as error:
            LOG.warning("%s; going on with the routes before", error)

    def _task(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def stop(self) -> None:
        """Take no more connections, let what is in flight end, leave."""
        if self._server is not None:
            self._server.close()
        await self.plane.drain()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._loads.close()
        self.plane.bill.close()
        for pool in self.plane.pools.values():
            pool.close()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`; a name other than localhost may mean anything."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def run(
    source: Source,
    http: HttpSettings,
    settings: GatewaySettings,
    *,
    access_log: bool,
    certificate: Certificate | None = None,
) -> None:
    """Serve until SIGTERM, SIGINT, or the end of a standard input that a parent holds. Raises BadSetting."""
    gateway = Gateway(source, http, settings, certificate=certificate)
    if access_log:
        gateway.plane.access = _write_access
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, gateway.reload)
    _watch_parent(loop, stop.set)
    async with gateway:
        gc.collect()
        gc.set_threshold(20_000, 50, 100)
        gc.freeze()  # what lives as long as the process is not looked at again
        _announce(gateway.url)
        await stop.wait()


def _watch_parent(loop: asyncio.AbstractEventLoop, gone: Callable[[], None]) -> None:
    """A parent holds the other end of our standard input; when it ends, so do we. A terminal or a file is no parent."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:  # closed
        return
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return

    def read() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            gone()

    loop.add_reader(0, read)


def _announce(url: str) -> None:
    sys.stdout.write(msgspec.json.encode({"url": url, "pid": os.getpid()}).decode() + "\n")
    sys.stdout.flush()


def _write_access(record: Access) -> None:
    sys.stderr.write(msgspec.json.encode(record).decode() + "\n")
