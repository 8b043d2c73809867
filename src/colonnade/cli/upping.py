"""One run of `up`, from the lock on its state folder to the last child's end."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from msgspec.structs import replace

from colonnade.cli.address import check_auth, check_free
from colonnade.cli.control import Control, open_control
from colonnade.cli.greeting import Greeting
from colonnade.cli.home import Home
from colonnade.cli.house import House
from colonnade.cli.models import check_model, name_of
from colonnade.cli.phases import Phases
from colonnade.cli.session import Session
from colonnade.cli.signals import until_stopped
from colonnade.cli.waiting import INTERVAL, until_ready
from colonnade.wire.errors import ColonnadeError, Conflict, SetupError
from colonnade.wire.routes import Deployment, ReplicaStatus
from colonnade.wire.settings import Resolved

KEY_NAME = "local"
HOPELESS = 2
"""Restarts of a replica that was never ready, after which the start is given up."""


class Upping:
    def __init__(self, session: Session, settings: Resolved, model: str, replicas: int | None) -> None:
        """`replicas` None: as many as the deployment has, or the setting says for a new one."""
        self._session = session
        self._settings = settings
        self._model = model
        self._name = name_of(model)
        self._replicas = replicas
        self._new = False
        self._doing = ""
        self._home = Home(settings.home)
        self._house = House(self._home, settings, session.talk)

    def run(self, phases: Phases, greet: Callable[[Greeting], None]) -> None:
        """Until a signal (Stopped), or an error while starting. `greet` is called once, when everything answers.

        Raises SetupError before anything is started where the address or the model will not do.
        """
        check_auth(self._settings)
        check_model(self._model)
        self._home.prepare()
        with locked(self._home):
            check_free(self._settings)
            asyncio.run(until_stopped(self._live(phases, greet), self._house.hurry))

    async def _live(self, phases: Phases, greet: Callable[[Greeting], None]) -> None:
        try:
            greet(await self._start(phases))
            await self._house.keep()
        finally:
            self._session.talk("stopping: gateway, agent with its replicas, control plane")
            await self._house.stop()

    async def _start(self, phases: Phases) -> Greeting:
        with phases("control plane"):  # the agent waits for it, and takes as long to start
            async with asyncio.TaskGroup() as group:
                group.create_task(self._house.start_agent())
                starting = group.create_task(self._house.start_control())
            control = starting.result()
        with phases("gateway"):
            async with asyncio.TaskGroup() as group:
                key = group.create_task(asyncio.to_thread(self._prepare, control))
                group.create_task(self._house.start_gateway())
        with phases(f"{self._name} answers"):
            await self._until_ready(control)
        self._house.ready(self._name)
        self._session.talk(f"{phases.total:7.2f} s  in all")
        return Greeting(self._house.url, key.result(), self._name, os.getpid())

    async def _until_ready(self, control: Control) -> None:
        hopeless = asyncio.create_task(self._hopeless(control))
        try:
            await until_ready(
                self._house.url,
                self._settings.fleet.start_timeout,
                hopeless,
                f"`up` of {self._model}",
                tell=self._session.progress,
                doing=lambda: self._doing,
            )
        except SetupError:
            if self._new:  # the next `up` must not find what never worked
                await asyncio.to_thread(control.remove, self._name)
            raise

    def _prepare(self, control: Control) -> str:
        """What the control plane must know before anything can be served; the key, empty where none is asked for."""
        self._deploy(control)
        return ensure_key(self._home, control) if self._settings.gateway.auth else ""

    def _deploy(self, control: Control) -> None:
        """Settings that somebody gave the deployment stay."""
        new = Deployment(self._name, self._model, self._settings.fleet.replicas, generation=0)
        deployed = {each.name: each for each in control.deployments()}
        now = deployed.pop(self._name, new)
        self._new = now is new
        for other in deployed.values():
            self._session.talk(f"           also deployed: {other.name}, replicas: {other.replicas}")
        wanted = replace(
            now, model=self._model, replicas=self._replicas if self._replicas is not None else now.replicas
        )
        if self._new or wanted != now:
            control.deploy(wanted)

    async def _hopeless(self, control: Control) -> str:
        """Ends when waiting has become vain: a child has ended, or a replica fails again and again."""
        ended = asyncio.create_task(self._house.any_ended())
        try:
            while not ended.done():
                replicas = await asyncio.to_thread(replicas_of, control, self._name)
                self._doing = next((str(each.facts["doing"]) for each in replicas if "doing" in each.facts), "")
                if reason := failing(replicas):
                    return reason
                await asyncio.wait((ended,), timeout=5 * INTERVAL)
            return ended.result()
        finally:
            ended.cancel()
            await asyncio.wait((ended,))


def replicas_of(control: Control, deployment: str) -> list[ReplicaStatus]:
    """A control plane that is silent says nothing."""
    try:
        return [each for each in control.replicas() if each.deployment == deployment]
    except ColonnadeError:
        return []


def failing(replicas: list[ReplicaStatus]) -> str:
    """Why the deployment will not come up; empty while there is hope."""
    lost = [
        each
        for each in replicas
        if each.state != "ready" and each.restarts >= HOPELESS and each.ready_s is None and not each.facts.get("doing")
    ]
    return f"replica {lost[0].id}: {lost[0].reason}" if lost and len(lost) == len(replicas) else ""


def ensure_key(home: Home, control: Control) -> str:
    """The local key: the one that is kept where the control plane still knows it, else a new one."""
    known = {entry["name"] for entry in control.api_keys()}
    key = home.key()
    if key and KEY_NAME in known:
        return key
    if KEY_NAME in known:
        control.revoke_key(KEY_NAME)
    key = control.create_key(KEY_NAME)["key"]
    home.keep_key(key)
    return key


@contextmanager
def locked(home: Home) -> Iterator[None]:
    """One `up` a state folder. Raises Conflict while another holds it; the lock goes with its process."""
    fd = os.open(home.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as cause:
            raise Conflict(
                f"another `colonnade up` is starting or stopping in {home.path}",
                hint="wait for it, or stop it with `colonnade down`",
                code="already_running",
            ) from cause
        yield
    finally:
        os.close(fd)


def wait_for_ready(home: Home, within: float) -> Greeting | None:
    """The greeting of an `up` that somebody else has started, once it is ready; None when there is none."""
    from colonnade.cli.running import running_up

    deadline = time.monotonic() + within
    while (up := running_up(home)) is not None:
        if up.ready:
            return Greeting(up.url, home.key(), up.model, up.pid)
        if time.monotonic() > deadline:
            raise SetupError(f"the `up` in {home.path} (pid {up.pid}) is not ready", hint="`colonnade logs` says more")
        time.sleep(INTERVAL)
    return None


def differences(running: Greeting, settings: Resolved, home: Home, model: str | None) -> list[str]:
    """In what the `up` that runs is not what is asked for now, by flag."""
    host, port = running.url.rpartition("//")[2].rsplit(":", 1)
    wanted = {"port": str(settings.gateway.port), "host": settings.gateway.host, "replicas": settings.fleet.replicas}
    deployed = next((each for each in open_control(home).deployments() if each.name == running.model), None)
    found: dict[str, object] = {"port": port, "host": host.strip("[]"), "replicas": deployed and deployed.replicas}
    keys = {"port": "gateway.port", "host": "gateway.host", "replicas": "fleet.replicas"}
    differs = [f"--{name}" for name, key in keys.items() if _asked(settings, key) and wanted[name] != found[name]]
    return [*differs, *(["model"] if model and name_of(model) != running.model else [])]


def _asked(settings: Resolved, key: str) -> bool:
    """On the command line; port 0 asks for none in particular."""
    return settings.origins[key].source == "flag" and settings.value(key) != 0
