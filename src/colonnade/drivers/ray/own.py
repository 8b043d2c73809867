"""A Ray cluster of one machine that the driver begins itself, where it is to join none.

It outlives the driver, as replicas do; run/ray.json says where it is. It is reached on loopback, with a token of its
own (run/ray.token); what Ray keeps is in a folder below /tmp, because its sockets' names must be short.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import msgspec

from colonnade.drivers.output import last_line
from colonnade.drivers.process import Process, end_group, start_ticks
from colonnade.drivers.records import write_atomically
from colonnade.wire.errors import SetupError

LOOPBACK = "127.0.0.2"
"""127.0.0.1 will not do: Ray takes it for a name of the machine's outward address."""
START_LIMIT_S = 120.0
END_LIMIT_S = 10.0
_LOOK_S = 0.1


class _Record(msgspec.Struct, frozen=True):
    pid: int
    ticks: int | None
    folder: str


def begin_node(folder: Path, log: Path, *flags: str) -> subprocess.Popen[bytes]:
    """A node of a Ray cluster, below a process that keeps its processes together and leads a session of its own."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", *flags]
    env = {**os.environ, "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}
    with log.open("ab") as output:
        return subprocess.Popen(
            [*command, "--temp-dir", str(folder)] if "--head" in flags else command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=env,
            start_new_session=True,
        )


async def end_node(process: Process) -> None:
    """All of its processes, whatever they think of it."""
    process.send(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.ended(), END_LIMIT_S)
    except TimeoutError:
        process.send(signal.SIGKILL)
        await process.ended()
    await end_group(process.pid)
    await process.reap()
    process.close()


class OwnCluster:
    def __init__(self, home: Path) -> None:
        self._record = home / "run" / "ray.json"
        self._token = home / "run" / "ray.token"
        self._log = home / "logs" / "ray.log"

    async def begin(self) -> str:
        """Its address; of the one that runs already, if one does. Raises SetupError."""
        self._use_token()
        record = self._running()
        if record is not None:
            return await self._address(record, Process(record.pid))
        self._log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = Path(tempfile.mkdtemp(prefix="colonnade-ray-"))
        flags = ("--head", "--port", "0", "--node-ip-address", LOOPBACK, "--include-dashboard", "false")
        begun = begin_node(folder, self._log, *flags)
        begun.returncode = 0  # `Process` reaps it
        record = _Record(begun.pid, start_ticks(begun.pid), str(folder))
        write_atomically(self._record, msgspec.json.encode(record))
        return await self._address(record, Process(begun.pid))

    async def end(self) -> None:
        record = self._running()
        if record is not None:
            await end_node(Process(record.pid))
            shutil.rmtree(record.folder, ignore_errors=True)
        self._record.unlink(missing_ok=True)

    def _use_token(self) -> None:
        self._record.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self._token.exists():
            write_atomically(self._token, secrets.token_hex(32).encode())
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(self._token))

    def _running(self) -> _Record | None:
        with suppress(FileNotFoundError, msgspec.DecodeError):
            record = msgspec.json.decode(self._record.read_bytes(), type=_Record)
            if record.ticks is not None and start_ticks(record.pid) == record.ticks:
                return record
        return None

    async def _address(self, record: _Record, process: Process) -> str:
        """Ray writes it down when the cluster answers."""
        told = Path(record.folder) / "ray_current_cluster"
        ending = asyncio.create_task(process.ended())
        try:
            async with asyncio.timeout(START_LIMIT_S):
                while True:
                    if told.exists() or ending.done():
                        break
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            await end_node(process)
            raise SetupError(f"Ray did not start within {START_LIMIT_S:g} s", hint=f"see {self._log}") from None
        finally:
            ending.cancel()
        if not told.exists():
            raise SetupError(f"Ray did not start: {last_line(self._log)}", hint=f"see {self._log}")
        process.close()
        return told.read_text(encoding="utf-8").strip()
