"""Another engine's server as our child: in a process group of its own, ended as one, its end put into words."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import sys
from asyncio.subprocess import PIPE, Process

from colonnade.replica.foreign.guard import TERM_GRACE
from colonnade.wire.errors import BadSetting


class EngineChild:
    """Its output joins our stderr: ours is for data. A guard leads its group, and ends it when we are gone."""

    def __init__(self, process: Process, name: str) -> None:
        self._process = process
        self._name = name

    @classmethod
    async def start(cls, command: str) -> EngineChild:
        """Raises BadSetting."""
        argv = words_of(command)
        guarded = [sys.executable, "-m", "colonnade.replica.foreign.guard", *argv]
        process = await asyncio.create_subprocess_exec(
            *guarded, stdin=PIPE, stdout=sys.stderr.fileno(), start_new_session=True
        )
        return cls(process, os.path.basename(argv[0]))

    async def ended(self) -> str:
        """Waits for its end; in words, how it came."""
        code = await self._process.wait()
        if code >= 0:
            return f"{self._name} exited with status {code}"
        return f"{self._name} was killed by signal {-code} ({signal.Signals(-code).name})"

    async def stop(self) -> None:
        """The whole group: SIGTERM, then SIGKILL to what does not heed it or was left behind."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), TERM_GRACE)
        self._signal(signal.SIGKILL)
        await self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def words_of(command: str) -> list[str]:
    """Raises BadSetting for what a shell would not take, or that is empty."""
    try:
        argv = shlex.split(command)
    except ValueError as error:
        raise BadSetting(f"engine_command {command!r}: {error}", hint="quote it as for a shell") from error
    if not argv:
        raise BadSetting("engine_command holds no program", hint="write the server's whole command")
    return argv
