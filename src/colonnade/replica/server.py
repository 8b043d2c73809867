"""A face served over HTTP: the socket, the signals, the life line, and the end."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import signal
import socket
import stat
import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Literal, Protocol

import uvicorn

from colonnade.replica.app import App
from colonnade.replica.face import Face
from colonnade.wire.settings import HttpSettings, ReplicaSettings

ORPHAN_BOUND = 5.0
"""Seconds for what is in flight once the parent is gone."""


class _Server(uvicorn.Server):
    """uvicorn, but for the signals, which are ours: a drain answers while it waits. `announce` when it listens."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """Bound and not yet accepting, so that port 0 has its number. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


def url(host: str, bound: socket.socket) -> str:
    port = bound.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve(
    face: Face, bound: socket.socket, start: Callable[[], Coroutine[None, None, None]], announce: Callable[[], None]
) -> str:
    """As `host`, for a face with an engine."""
    return await host(face, App(face), bound, announce, start)


class Hosted(Protocol):
    """What a serving process is built around."""

    gone: asyncio.Future[str]

    @property
    def http(self) -> HttpSettings: ...

    @property
    def settings(self) -> ReplicaSettings: ...

    def drain(self, bound: float, why: str) -> None: ...

    async def stop(self) -> None: ...


async def host(
    face: Hosted,
    app: Callable[..., Awaitable[None]],
    bound: socket.socket,
    announce: Callable[[], None],
    start: Callable[[], Coroutine[None, None, None]],
    ws: Literal["none", "auto"] = "none",
) -> str:
    """Until the face is gone; the reason, "" for a clean end. `announce` is called when the socket accepts."""
    config = uvicorn.Config(
        app,
        http="httptools",
        ws=ws,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=int(face.http.idle_timeout),
        timeout_graceful_shutdown=1,
    )
    server = _Server(config, announce)
    serving = asyncio.create_task(server.serve([bound]))
    _watch_signals(face)
    _watch_life_line(face)
    starting = asyncio.create_task(start())
    try:
        await asyncio.wait((starting, face.gone), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
        return await face.gone
    finally:
        starting.cancel()
        await asyncio.wait((starting,))
        server.should_exit = True
        await serving
        await face.stop()


def _watch_signals(face: Hosted) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        name = signal.Signals(number).name
        loop.add_signal_handler(number, face.drain, face.settings.drain_timeout, f"{name} was received")


def _watch_life_line(face: Hosted) -> None:
    """A parent that holds our stdin as a pipe tells of its end by closing it; a terminal or a file tells nothing."""
    descriptor = sys.stdin.fileno()
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return
    loop = asyncio.get_running_loop()

    def read() -> None:
        if not os.read(descriptor, 4096):
            loop.remove_reader(descriptor)
            face.drain(min(ORPHAN_BOUND, face.settings.drain_timeout), "the parent process is gone")

    loop.add_reader(descriptor, read)
