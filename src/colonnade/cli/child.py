"""A process of ours that runs as a child: it announces itself, keeps a log, and leaves when we do.

Its standard input is a pipe that we hold and never write to: when we are gone, however that came about, it reads an
end of file there and shuts down. It runs in a process group of its own, so that Ctrl-C reaches us alone and the order
of stopping is ours.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from colonnade.drivers.process import start_ticks
from colonnade.wire.errors import SetupError

LOG_LIMIT = 10 << 20
"""Bytes at which a log is put aside when a child starts; one old one is kept."""


class Child:
    """One life of one process. `module` and `arguments` as for `python -m`, of `python` [ours]."""

    def __init__(self, name: str, module: str, arguments: list[str], log: Path, python: str = "") -> None:
        self.name = name
        self.log = log
        self._argv = [python or sys.executable, "-m", module, *arguments]
        self._process: Process | None = None
        self._announced: asyncio.Future[dict[str, Any]] | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def ticks(self) -> int:
        """The process's start time, 0 when it is gone."""
        return start_ticks(self.pid) or 0

    async def start(self) -> None:
        with _open_log(self.log) as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv, stdin=PIPE, stdout=PIPE, stderr=log, process_group=0
            )
        self._announced = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read(), name=f"output of {self.name}")

    async def announcement(self, within: float) -> dict[str, Any]:
        """The JSON object that it prints when it listens. Raises SetupError when it ends before, or is late."""
        assert self._announced is not None
        try:
            return await asyncio.wait_for(asyncio.shield(self._announced), within)
        except TimeoutError as cause:
            raise SetupError(
                f"the {self.name} did not say in {within:.0f} s where it listens", hint=self._see()
            ) from cause

    async def ended(self) -> str:
        """Waits for its end; how it ended, in words, with the last thing it said unless it was killed."""
        assert self._process is not None
        assert self._reading is not None
        code = await self._process.wait()
        await asyncio.shield(self._reading)
        said = last_words(self.log) if code > 0 else ""
        return describe(code) + (f": {said}" if said else "")

    async def stop(self, patience: float) -> None:
        """SIGTERM, and SIGKILL after `patience` seconds."""
        if self._process is None or self._process.returncode is not None:
            return
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), patience)
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self._process.wait()
        assert self._reading is not None
        await self._reading

    def hurry(self) -> None:
        """No more patience."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    def _see(self) -> str:
        return "\n".join([f"its log is {self.log}", *tail(self.log, 5)])

    async def _read(self) -> None:
        """The announcement is the first line that is a JSON object; everything else goes to the log."""
        assert self._process is not None
        assert self._process.stdout is not None
        assert self._announced is not None
        with _open_log(self.log) as log:
            async for line in self._process.stdout:
                found = None if self._announced.done() else _object(line)
                if found is None:
                    log.write(line)
                    log.flush()
                else:
                    self._announced.set_result(found)
        if not self._announced.done():
            code = await self._process.wait()
            said = last_words(self.log) or describe(code)
            self._announced.set_exception(SetupError(f"the {self.name} did not start: {said}", hint=self._see()))
            self._announced.exception()  # seen: nobody may be waiting for it


def describe(code: int) -> str:
    if code >= 0:
        return f"exit {code}"
    return f"killed by signal {-code} ({signal.Signals(-code).name})"


def tail(log: Path, lines: int) -> list[str]:
    """The last lines of a file that may be long, or absent."""
    if not log.exists():
        return []
    with log.open(encoding="utf-8", errors="replace") as file:
        return [line.rstrip() for line in deque(file, maxlen=lines)]


def last_words(log: Path) -> str:
    """The last line that says anything."""
    return next((line for line in reversed(tail(log, 20)) if line.strip()), "")


def turn_over(log: Path) -> None:
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_suffix(".old"))


def _open_log(log: Path) -> BinaryIO:
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    return os.fdopen(fd, "ab")


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return None
    return found if isinstance(found, dict) else None
