"""The processes of the fleet, each from its start to its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import Coroutine, Generator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import uvicorn

from colonnade.drivers import Driver, LocalDriver
from colonnade.drivers.ray import RayDriver
from colonnade.drivers.records import write_atomically
from colonnade.fleet.agent import Agent
from colonnade.fleet.api import application
from colonnade.fleet.control import ControlPlane
from colonnade.fleet.enrolment import enrol
from colonnade.fleet.home import ControlFile, Home, Lock
from colonnade.fleet.launch import replica_spec
from colonnade.fleet.lifeline import LifeLine
from colonnade.fleet.orders import Policy
from colonnade.fleet.retention import check_keep, forget
from colonnade.fleet.sqlite import SqliteStore
from colonnade.fleet.tls import Door, check_url, trust
from colonnade.fleet.uplink import Access
from colonnade.wire.errors import Conflict, SetupError
from colonnade.wire.routes import ClusterSpec
from colonnade.wire.settings import FleetSettings

GOODBYE_S = 2
SCALE_S = 0.5
"""From one look at the demand, and at the rollouts, to the next."""


class _Server(uvicorn.Server):
    """Signals are the life line's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


async def run_control(home: Home, settings: FleetSettings, port: int, auth: bool, door: Door | None = None) -> None:
    """Serve until the life line ends. The port and the token of the life before are taken again where that can be, so
    that those who knew them need not ask. `door`: where agents elsewhere dial in. Raises SetupError."""
    keep = check_keep(settings.keep)
    lock = Lock(home.run / "control.lock", "a control plane")
    try:
        store = await SqliteStore.open(home.database)
        forgetting = asyncio.create_task(forget(store, keep))
        try:
            await _serve(home, store, settings, port, auth, door)
        finally:
            forgetting.cancel()
            await asyncio.wait([forgetting])
            await store.close()
    finally:
        lock.release()


async def _serve(
    home: Home, store: SqliteStore, settings: FleetSettings, port: int, auth: bool, door: Door | None
) -> None:
    token = await store.setting("token", secrets.token_urlsafe(32))
    plane = await ControlPlane.open(store, auth, lost_after=settings.lost_after)
    listener = listen(port or int(await store.setting("port", "0")), fallback=not port)
    port = listener.getsockname()[1]
    await store.keep_setting("port", str(port))
    served = application(plane, token, settings.poll_timeout, door)
    servers = [(server_of(served), listener)]
    facts: dict[str, object] = {}
    if door is not None:
        servers.append((server_of(served, door), listen(door.port, fallback=False, host=door.host)))
        facts["agents"] = servers[1][1].getsockname()[1]
    told = ControlFile(f"http://127.0.0.1:{port}", token, os.getpid())
    write_atomically(home.control, msgspec.json.encode(told))
    _announce({"url": told.url, "pid": told.pid, **facts})
    await _until_ended(servers, plane)
    home.control.unlink(missing_ok=True)


def server_of(application: Any, door: Door | None = None) -> uvicorn.Server:
    """It waits a little for answers under way when it is to end, and not for ever. With a `door` it speaks TLS."""
    tls: dict[str, Any] = {}
    if door is not None:
        tls = {"ssl_certfile": door.certificate.chain, "ssl_keyfile": door.certificate.key}
    return _Server(
        uvicorn.Config(
            application,
            lifespan="off",
            http="httptools",
            log_config=None,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=GOODBYE_S,
            **tls,
        )
    )


async def _until_ended(servers: list[tuple[uvicorn.Server, socket.socket]], plane: ControlPlane) -> None:
    line = LifeLine()
    serving = [asyncio.create_task(server.serve(sockets=[listener])) for server, listener in servers]
    scaling = asyncio.create_task(look_after(plane))
    try:
        await asyncio.wait({*serving, scaling, line.ended}, return_when=asyncio.FIRST_COMPLETED)
        plane.close()
        for server, _ in servers:
            server.should_exit = True
        await asyncio.gather(*serving)
        if scaling.done():
            scaling.result()
    finally:
        scaling.cancel()
        line.close()


async def look_after(plane: ControlPlane) -> None:
    """What follows of what is reported, again and again."""
    while True:
        await asyncio.sleep(SCALE_S)
        await plane.autoscale()
        await plane.judge()
        await plane.spend()
        await plane.settle()


async def run_agent(
    home: Home,
    settings: FleetSettings,
    cluster: str,
    url: str,
    token_file: Path | None,
    spec: ClusterSpec | None = None,
) -> None:
    """Keep the cluster as wanted until the life line ends; then end its replicas. `url`, `token_file`: of a control
    plane elsewhere; without them, the home's own. `spec`: what is said of the cluster. Raises SetupError, and Conflict
    when another agent took over."""
    lock = Lock(home.run / "agent.lock", "an agent")
    line = LifeLine()
    try:
        driver = driver_of(home.path, settings, cluster, spec)
        access = partial(access_of, home, url, await agents_token(home, cluster, url, token_file))
        starts = partial(replica_spec, home=home.path)
        agent = Agent(home, cluster, driver, access, starts, policy_of(settings), spec)
        line.ended.add_done_callback(lambda ended: agent.stop(ended.result()))
        await _first_conflict(agent.run(partial(_announce, {"cluster": cluster, "pid": os.getpid()})))
    finally:
        line.close()
        lock.release()


def driver_of(home: Path, settings: FleetSettings, cluster: str, spec: ClusterSpec | None) -> Driver:
    """What the cluster's file asks for, or the local one."""
    if spec is None or spec.driver == "local":
        return LocalDriver(home, log_limit=settings.log_limit, linger=settings.linger)
    return RayDriver(home, spec.address, cluster, log_limit=settings.log_limit, linger=settings.linger)


async def _first_conflict(work: Coroutine[Any, Any, None]) -> None:
    """Out of the group that tasks wrap it in: a caller handles one error."""
    found: list[Conflict] = []
    try:
        await work
    except* Conflict as group:
        found = _leaves(group)
    if found:
        raise found[0]


def _leaves(group: BaseExceptionGroup[Conflict]) -> list[Conflict]:
    found: list[Conflict] = []
    for each in group.exceptions:
        found += _leaves(each) if isinstance(each, BaseExceptionGroup) else [each]
    return found


def access_of(home: Home, url: str, token_file: Path | None) -> Access:
    """Raises OSError, or msgspec.DecodeError, while nobody knows."""
    if url and token_file is not None:
        return Access(url.rstrip("/"), token_file.read_text(encoding="utf-8").strip(), trust(home.authority))
    own = home.read_control()
    return Access(own.url, own.token)


def policy_of(settings: FleetSettings) -> Policy:
    return Policy(
        start_s=settings.start_timeout,
        drain_s=settings.stop_timeout,
        backoff_first_s=settings.backoff_first,
        backoff_limit_s=settings.backoff_limit,
        backoff_reset_s=settings.backoff_reset,
    )


def _announce(facts: dict[str, object]) -> None:
    """To a parent that waits for it, on stdout."""
    os.write(1, msgspec.json.encode(facts) + b"\n")


def listen(port: int, fallback: bool, host: str = "127.0.0.1") -> socket.socket:
    """A listening socket; on any free port when `port` is taken and `fallback` allows it."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        if fallback and port:
            return listen(0, fallback=False, host=host)
        raise SetupError(f"port {port} cannot be used: {error}", hint="--port 0 takes a free one") from error
    listener.listen(128)
    return listener


async def agents_token(home: Home, cluster: str, url: str, token_file: Path | None) -> Path | None:
    """The file with the token that the agent is to use. One for enrolment is changed for the cluster's own, which is
    kept in the home folder, and used from then on. Raises SetupError."""
    if not url or token_file is None:
        return token_file
    check_url(url)
    if home.agent_token.exists():
        return home.agent_token
    given = access_of(home, url, token_file).token
    return home.agent_token if await enrol(home, cluster, url, given) else token_file
