"""A command as a process: started, watched, ended with everything that it started. Linux: /proc."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from colonnade.wire.errors import SetupError

MARK = "_COLONNADE_COMMAND"
"""A variable that all its descendants carry, those in sessions of their own too."""
_REMEMBERED = 20
_LOOK_S = 0.05


class CommandProcess:
    """`mark` names this life of it among all others of the machine."""

    def __init__(self, process: Process, mark: str) -> None:
        self._process = process
        self._mark = mark
        self._said: deque[str] = deque(maxlen=_REMEMBERED)
        self._reading = asyncio.create_task(self._read(), name="output of the command")

    @classmethod
    async def start(cls, argv: Sequence[str], cwd: Path, env: Mapping[str, str], mark: str) -> CommandProcess:
        """Raises SetupError for a program that cannot be run."""
        try:
            process = await asyncio.create_subprocess_exec(
                *argv, cwd=cwd, env={**os.environ, **env, MARK: mark}, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT
            )
        except (OSError, ValueError) as error:
            hint = "docker_server.start_command must begin with a program of this machine"
            raise SetupError(f"the command cannot be started: {error}", hint=hint) from error
        return cls(process, mark)

    async def ended(self) -> str:
        """Waits for its end; in words, how it came, with the last thing that it said."""
        code = await self._process.wait()
        await asyncio.wait((self._reading,), timeout=1.0)
        how = f"exit {code}" if code >= 0 else f"killed by signal {-code} ({signal.Signals(-code).name})"
        said = next((line for line in reversed(self._said) if line.strip()), "")
        return f"{how}: {said}" if said else how

    async def stop(self, grace: float) -> None:
        """SIGTERM to all of it, and SIGKILL after `grace` seconds to what is left."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), grace)
        while self._members():
            self._signal(signal.SIGKILL)
            await asyncio.sleep(_LOOK_S)
        self._reading.cancel()

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _members(self) -> list[int]:
        """Those that carry the mark and are alive."""
        entry = f"{MARK}={self._mark}".encode()
        return [int(name) for name in os.listdir("/proc") if name.isdecimal() and entry in _environment(name)]

    async def _read(self) -> None:
        """What it says joins our own log."""
        assert self._process.stdout is not None
        while chunk := await self._process.stdout.read(65536):
            sys.stderr.buffer.write(chunk)
            sys.stderr.flush()
            self._said.extend(chunk.decode("utf-8", "replace").splitlines())


def _environment(pid: str) -> list[bytes]:
    """Empty for one that has ended."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []
