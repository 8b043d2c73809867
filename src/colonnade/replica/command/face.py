"""The life of a replica around a command: ready when the command says so, failed when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import tempfile
from pathlib import Path

import aiohttp

from colonnade.packages.command import MOUNTED, Command, command_of, names_its_port
from colonnade.packages.folder import Package
from colonnade.packages.schema.running import DockerServer
from colonnade.packages.secrets import Secrets
from colonnade.replica.command.process import CommandProcess
from colonnade.replica.package.life import Life
from colonnade.wire.errors import BadSetting
from colonnade.wire.settings import HttpSettings, ReplicaSettings

GRACE = 10.0
"""Seconds between asking the command to end and killing it."""
_FIRST_LOOK_S = 0.02
_SLOWEST_LOOK_S = 1.0
_PROBE_S = 5.0


class CommandFace(Life):
    """`docker_server` must be in the package's configuration."""

    def __init__(self, package: Package, name: str, epoch: str, http: HttpSettings, settings: ReplicaSettings) -> None:
        super().__init__(name, epoch, http, settings)
        self._package = package
        self._private = Path(tempfile.mkdtemp(prefix="package-"))
        assert package.config.docker_server is not None
        self.command = self._command(package.config.docker_server)
        self._process: CommandProcess | None = None
        self._watching: asyncio.Task[None] | None = None
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_PROBE_S)
        self.session = aiohttp.ClientSession(
            timeout=timeout, auto_decompress=False, connector=aiohttp.TCPConnector(limit=0)
        )

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.command.port}{path}"

    async def start(self) -> None:
        """Raises SetupError when there is no such program."""
        self._process = await CommandProcess.start(self.command.argv, self._package.root, {}, self.epoch)
        self._watching = asyncio.create_task(self._watch(self._process), name="the command")

    async def stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        if self._process is not None:
            await self._process.stop(GRACE)
        await self.session.close()
        shutil.rmtree(self._private, ignore_errors=True)
        self.close()

    async def healthy(self) -> bool:
        """What its readiness endpoint says."""
        try:
            timeout = aiohttp.ClientTimeout(total=_PROBE_S)
            async with self.session.get(self.url(self.command.ready), timeout=timeout) as answer:
                return answer.status < 400
        except (aiohttp.ClientError, TimeoutError):
            return False

    def _command(self, server: DockerServer) -> Command:
        places = {each: place for each, place in self._places().items() if not Path(each).exists()}
        try:
            return command_of(server, self._port(server), places)
        except ValueError as error:
            hint = "docker_server.start_command is split as a shell would"
            raise BadSetting(f"the command cannot be read: {error}", hint=hint) from error

    def _places(self) -> dict[str, str]:
        """The package for /app; for /secrets a private folder with those that have a value."""
        app, mount = MOUNTED
        secrets = Secrets(self._package.config.secrets)
        for name in set(self._package.config.secrets) - set(secrets.missing()):
            file = self._private / name
            file.write_text(secrets[name], encoding="utf-8")
            file.chmod(0o600)
        return {app: str(self._package.root), mount: str(self._private)}

    def _port(self, server: DockerServer) -> int:
        """Config.yaml's where nobody has it, else a free one. Raises BadSetting where the command cannot be told."""
        if _free(server.server_port):
            return server.server_port
        if not names_its_port(server):
            said = f"port {server.server_port} is taken, and the command does not name it"
            raise BadSetting(said, hint="write docker_server.server_port into docker_server.start_command")
        return _any_port()

    async def _watch(self, process: CommandProcess) -> None:
        """Until it ends, which it must not while it is wanted."""
        looking = asyncio.create_task(self._until_ready())
        try:
            how = await process.ended()
        finally:
            looking.cancel()
        if self.phase.name != "draining":
            self.fail(f"the package's server ended: {how}")

    async def _until_ready(self) -> None:
        wait = _FIRST_LOOK_S
        while not await self.healthy():
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, _SLOWEST_LOOK_S)
        self.ready()


def _free(port: int) -> bool:
    with contextlib.closing(socket.socket()) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _any_port() -> int:
    with contextlib.closing(socket.socket()) as tried:
        tried.bind(("127.0.0.1", 0))
        return tried.getsockname()[1]
