"""Processes beside this one, begun in one of two ways: a program of its own, or a spare that was forked ahead.

A *spare* is forked while this process still has one thread and no loop, and waits for its command line on its standard
input (four bytes of length, big endian, and JSON). Whoever begins a process by `begin` gets the spare of that module,
once; after that, or where none was made, a program is started. Both look the same from outside.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import struct
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from colonnade.replica.guise import Guise
from colonnade.replica.zygote import Run, end

_LENGTH = struct.Struct(">I")


class Beside(Protocol):
    """What is used of `asyncio.subprocess.Process`."""

    @property
    def stdin(self) -> asyncio.StreamWriter | None: ...
    @property
    def stdout(self) -> asyncio.StreamReader | None: ...
    @property
    def returncode(self) -> int | None: ...
    def kill(self) -> None: ...
    async def wait(self) -> int: ...


class Spares:
    """Those that wait, by module. Without any, every `begin` starts a program."""

    def __init__(self, guise: Guise | None = None) -> None:
        self._guise = guise
        self._waiting: dict[str, _Spare] = {}

    def fork(self, module: str, run: Run, *, answers: bool) -> None:
        """Only while this process has one thread. `answers`: its standard output is read here; else it is our standard
        error."""
        reading, writing = os.pipe()
        told, tells = os.pipe() if answers else (-1, os.dup(2))
        pid = os.fork()
        if not pid:
            os.dup2(reading, 0)
            os.dup2(tells, 1)
            ours = [each for spare in self._waiting.values() for each in spare.ends]
            for each in (reading, writing, told, tells, *ours):
                _close(each)
            end(lambda: self._wait(module, run))
        os.close(reading)
        os.close(tells)
        self._waiting[module] = _Spare(pid, writing, told)

    async def begin(self, argv: Sequence[str], *, answers: bool) -> Beside:
        """Raises OSError."""
        spare = self._waiting.pop(argv[2], None) if list(argv[:2]) == [sys.executable, "-m"] else None
        if spare is not None:
            return await Process.of(spare, argv[3:])
        return await asyncio.create_subprocess_exec(*argv, stdin=PIPE, stdout=PIPE if answers else sys.stderr.fileno())

    def _wait(self, module: str, run: Run) -> int:
        """In the spare: for the command line, and then on to it; 0 when there will be none."""
        head = _exactly(_LENGTH.size)
        if not head:
            return 0
        argv = json.loads(_exactly(_LENGTH.unpack(head)[0]))
        if self._guise is not None:
            self._guise.show([sys.executable, "-m", module, *argv])
        return run(argv)

    def close(self) -> None:
        """Of those that were not needed: they end."""
        for spare in self._waiting.values():
            for each in spare.ends:
                _close(each)
            os.waitpid(spare.pid, 0)
        self._waiting.clear()


@dataclass(frozen=True)
class _Spare:
    pid: int
    writing: int
    told: int

    @property
    def ends(self) -> tuple[int, int]:
        return self.writing, self.told


def _close(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)


def _exactly(count: int) -> bytes:
    """Not a byte more than that: the rest is for whoever runs next."""
    found = b""
    while len(found) < count:
        if not (piece := os.read(0, count - len(found))):
            return b""
        found += piece
    return found


class Process:
    """A child that was forked, with the face of `asyncio.subprocess.Process`."""

    def __init__(self, pid: int, stdin: asyncio.StreamWriter, stdout: asyncio.StreamReader | None) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.returncode: int | None = None
        self._pid = pid
        self._fd = os.pidfd_open(pid)
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(self._fd, self._reap)

    @classmethod
    async def of(cls, spare: _Spare, arguments: Sequence[str]) -> Process:
        stdin = await _writer(spare.writing)
        line = json.dumps(list(arguments)).encode()
        stdin.write(_LENGTH.pack(len(line)) + line)
        return cls(spare.pid, stdin, await _reader(spare.told) if spare.told >= 0 else None)

    def kill(self) -> None:
        """Raises ProcessLookupError when it has ended."""
        if self.returncode is not None:
            raise ProcessLookupError
        signal.pidfd_send_signal(self._fd, signal.SIGKILL)

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)
        self.returncode = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        self.stdin.close()
        self._ended.set_result(self.returncode)


async def _writer(descriptor: int) -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader())
    transport, _ = await loop.connect_write_pipe(lambda: protocol, os.fdopen(descriptor, "wb", 0))
    return asyncio.StreamWriter(transport, protocol, None, loop)


async def _reader(descriptor: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    make: Callable[[], asyncio.Protocol] = lambda: asyncio.StreamReaderProtocol(reader)  # noqa: E731
    await asyncio.get_running_loop().connect_read_pipe(make, os.fdopen(descriptor, "rb", 0))
    return reader
