"""One replica and one gateway as children, from the start to the end."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec

from colonnade.cli.address import check_auth, check_free
from colonnade.cli.child import Child
from colonnade.cli.greeting import Greeting
from colonnade.cli.home import Home
from colonnade.cli.models import check_model
from colonnade.cli.packaged import python_for
from colonnade.cli.phases import Phases
from colonnade.cli.session import Session
from colonnade.cli.signals import Stopped, until_stopped
from colonnade.cli.waiting import until_ready
from colonnade.drivers.records import write_atomically
from colonnade.fleet.keys import digest, new_key, new_pepper
from colonnade.packages.folder import is_package, open_package
from colonnade.replica.foreign.serving import check_foreign, is_foreign
from colonnade.wire.errors import SetupError
from colonnade.wire.routes import KeyRecord, Route, Routes
from colonnade.wire.settings import Resolved, to_argv

ALIAS = "model"
"""The name that paths of a Truss have, whatever its own is."""
LISTEN_S = 30.0
"""A process listens long before its model is loaded."""


class Serving:
    def __init__(
        self,
        session: Session,
        settings: Resolved,
        model: str,
        greet: Callable[[Greeting], None],
        stop_on_eof: bool = False,
        beside: Callable[[str], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        """`greet` is called once, when everything answers; `beside` runs from then on, with the replica's URL.
        `stop_on_eof`: the end of standard input stops it, for parents that may die. Raises SetupError before anything
        is started.
        """
        check_auth(settings)
        check_free(settings)
        foreign = is_foreign(settings.replica)
        self._package = open_package(model) if not foreign and is_package(model) else None
        if foreign:
            check_foreign(settings.replica)
        elif self._package is None:
            check_model(model)
        home = Home(settings.home)
        home.prepare()
        self._session = session
        self._settings = settings
        self._model = model
        self._what = settings.replica.engine_url if foreign else model
        self._greet = greet
        self._stop_on_eof = stop_on_eof
        self._beside = beside
        self._replica_url = ""
        self._key = new_key() if settings.gateway.auth else ""
        self._folder = Path(tempfile.mkdtemp(prefix="serve-", dir=home.run))
        self._logs = home.logs
        module = "colonnade.replica" if self._package is None else "colonnade.replica.package"
        python = "" if self._package is None else python_for(session, self._package)
        self._replica = self._child("replica", module, self._replica_arguments(), python)
        self._gateway = self._child("gateway", "colonnade.gateway", self._gateway_arguments())

    async def run(self) -> None:
        """Until a signal (Stopped), the end of standard input, or the end of a process (SetupError).

        The logs stay when something went wrong.
        """
        try:
            await until_stopped(self._serve(), self._hurry)
            self._forget_logs()
        except Stopped:
            self._forget_logs()
            raise
        finally:
            shutil.rmtree(self._folder)

    async def _serve(self) -> None:
        try:
            self._greet(await self._start())
            await self._watch()
        finally:
            patience = self._settings.gateway.shutdown_timeout
            await self._gateway.stop(patience + 2)
            await self._replica.stop(self._settings.replica.drain_timeout + 2)

    async def _start(self) -> Greeting:
        phases = Phases(self._session.quiet)
        with phases("replica listens"):
            await self._replica.start()
            replica = await self._replica.announcement(LISTEN_S)
            self._replica_url = replica["url"]
        with phases(f"{self._what} loaded"):
            await until_ready(
                replica["url"],
                self._settings.fleet.start_timeout,
                self._replica.ended(),
                f"the replica of {self._what}",
                tell=self._session.progress,
            )
        name = await asyncio.to_thread(self._served_name, replica["url"])
        with phases("gateway ready"):
            aliases = () if self._package is None else (ALIAS,)
            self._write_routes(Route("serve-0", replica["epoch"], replica["url"], name, replica["events"], aliases))
            await self._gateway.start()
            gateway = await self._gateway.announcement(LISTEN_S)
            await until_ready(gateway["url"], LISTEN_S, self._gateway.ended(), "the gateway")
        self._session.talk(f"{phases.total:7.2f} s  in all")
        return Greeting(gateway["url"], self._key, name, os.getpid(), self._package is not None)

    async def _watch(self) -> None:
        """Returns at the end of standard input where that is wanted; raises when a process ends."""
        endings = {asyncio.create_task(child.ended()): child for child in (self._replica, self._gateway)}
        beside = asyncio.create_task(_forever() if self._beside is None else self._beside(self._replica_url))
        eof = asyncio.create_task(_end_of_stdin() if self._stop_on_eof else _forever())
        try:
            await asyncio.wait((*endings, eof, beside), return_when=asyncio.FIRST_COMPLETED)
            if beside.done():
                await beside
            for task in (task for task in endings if task.done()):
                child = endings[task]
                raise SetupError(f"the {child.name} ended: {task.result()}", hint=f"its log is {child.log}")
        finally:
            for task in (*endings, eof, beside):
                task.cancel()
            await asyncio.wait((*endings, eof, beside))

    def _forget_logs(self) -> None:
        for child in (self._replica, self._gateway):
            child.log.unlink(missing_ok=True)

    def _hurry(self) -> None:
        self._gateway.hurry()
        self._replica.hurry()

    def _child(self, name: str, module: str, arguments: list[str], python: str = "") -> Child:
        return Child(name, module, arguments, self._logs / f"serve-{os.getpid()}-{name}.log", python)

    def _replica_arguments(self) -> list[str]:
        settings = self._settings
        what = ["--model", self._model] if self._package is None else ["--package", self._model]
        engine = to_argv(settings.engine) if self._package is None else []
        named = [*what, "--host", "127.0.0.1", "--port", "0", "--epoch", secrets.token_hex(5)]
        return [
            *named,
            *to_argv(settings.replica),
            *engine,
            *to_argv(settings.http),
            *to_argv(settings.log),
        ]

    def _gateway_arguments(self) -> list[str]:
        settings = self._settings
        return [
            "--routes",
            str(self._routes_file),
            *to_argv(settings.gateway),
            *to_argv(settings.http),
            *to_argv(settings.log),
        ]

    @property
    def _routes_file(self) -> Path:
        return self._folder / "routes.json"

    def _served_name(self, url: str) -> str:
        from colonnade.cli.target import Server

        return Server(url, "").model(None)

    def _write_routes(self, route: Route) -> None:
        pepper = new_pepper()
        record = KeyRecord("serve", digest(pepper, self._key), tenant="serve", created=int(time.time()))
        keys = (record,) if self._key else ()
        routes = Routes(1, (route,), keys, pepper, auth=bool(self._key), models=(route.model,))
        write_atomically(self._routes_file, msgspec.json.encode(routes))


async def until_eof(work: Coroutine[Any, Any, None]) -> None:
    """Runs `work` until it ends, or until standard input does: then it is cancelled."""
    task = asyncio.create_task(work)
    eof = asyncio.create_task(_end_of_stdin())
    try:
        await asyncio.wait((task, eof), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
    finally:
        eof.cancel()
        task.cancel()
        await asyncio.wait((task, eof))


async def _forever() -> None:
    await asyncio.Event().wait()


async def _end_of_stdin() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        while await reader.read(4096):
            continue
    finally:
        transport.close()
