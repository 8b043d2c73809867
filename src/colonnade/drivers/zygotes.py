"""Warm processes of this machine, from the side of the driver: begun when first needed, asked to fork, let go.

One for each command line, environment and folder that replicas share (`ReplicaSpec.warm`), and started anew when its
files have changed. What it forks becomes a child of this process, which makes itself the subreaper for that. Nothing
depends on a zygote: where there is none, or it fails, `fork` gives None, and the caller starts the replica plainly.
"""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from colonnade.drivers.base import ReplicaSpec
from colonnade.drivers.output import last_line
from colonnade.drivers.process import Process
from colonnade.replica.guise import ROOM, mark_room
from colonnade.replica.zygote import FRAME_LIMIT, Fork, Forked

_log = logging.getLogger("colonnade.drivers")
_PR_SET_CHILD_SUBREAPER = 36
START_LIMIT_S = 120.0
FORK_LIMIT_S = 20.0
END_LIMIT_S = 2.0
RETRY_S = 60.0
"""A zygote that could not start is not tried again for so long."""
TRIES = 3
"""Zygotes that one life is asked of, where each turns out to be old."""


class Chick:
    """What was forked, and waits to be let go on: `go` once its pid is written down; `close` without that ends it.
    `over`, when its life is: to be called by whoever had it forked."""

    def __init__(self, pid: int, go: int, over: Callable[[], None]) -> None:
        self.pid = pid
        self.over = over
        self._go = go

    def go(self) -> None:
        """One that was killed while it waited hears nothing: that it ended is told like any end."""
        with suppress(BrokenPipeError):
            os.write(self._go, b"!")
        self.close()

    def close(self) -> None:
        if self._go >= 0:
            os.close(self._go)
            self._go = -1


class Zygotes:
    """`linger`: seconds that one stays when nothing that it forked is left; 0: there are none. `variable`: the name of
    the mark that lives have."""

    def __init__(self, logs: Path, linger: float, variable: str) -> None:
        self._logs = logs
        self._linger = linger
        self._variable = variable
        self._zygotes: dict[str, _Zygote] = {}
        self._failed: dict[str, float] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def fork(self, spec: ReplicaSpec, env: Mapping[str, str], mark: str, stdin: int, output: int) -> Chick | None:
        """None: start it plainly."""
        if not spec.warm or not self._linger:
            return None
        key = _key(spec)
        if time.monotonic() < self._failed.get(key, 0.0):
            return None
        asked = Fork(argv=spec.argv, env=dict(env), mark=mark, cwd=spec.cwd)
        try:
            return await self._fresh(key, spec, asked, (stdin, output))
        except _Lost as lost:
            _log.warning("%s is started plainly: its zygote %s", spec.id, lost)
            if not lost.worked:
                self._failed[key] = time.monotonic() + RETRY_S
            return None

    async def _fresh(self, key: str, spec: ReplicaSpec, asked: Fork, descriptors: tuple[int, int]) -> Chick:
        """From one that holds what is on the disk now. Raises _Lost."""
        for _ in range(TRIES):
            try:
                return await self._fork(key, spec, asked, descriptors)
            except _Stale:
                _log.info("the files of %s have changed: its zygote is begun anew", spec.id)
        raise _Lost("would be old again: the files keep changing", worked=True)

    async def _fork(self, key: str, spec: ReplicaSpec, asked: Fork, descriptors: tuple[int, int]) -> Chick:
        zygote = self._zygotes.get(key)
        if zygote is None:
            log = self._logs / f"zygote-{key}.log"
            zygote = self._zygotes[key] = _Zygote(spec, asked.env, self._variable, log)
        zygote.hold()
        try:
            pid, go = await zygote.fork(asked, descriptors)
        except BaseException:  # an answer may be under way that nobody would read
            self._drop(key, zygote)
            raise
        return Chick(pid, go, lambda: zygote.release(self._linger, lambda: self._drop(key, zygote)))

    def pids(self) -> list[int]:
        return [each.pid for each in self._zygotes.values()]

    async def close(self) -> None:
        """They end; what they forked goes on."""
        for key, zygote in list(self._zygotes.items()):
            self._drop(key, zygote)
        if self._ending:
            await asyncio.wait(self._ending)
        _subreaper(False)

    def _drop(self, key: str, zygote: _Zygote) -> None:
        if self._zygotes.get(key) is zygote:
            del self._zygotes[key]
            task = asyncio.create_task(zygote.end())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)


class _Lost(Exception):
    """`worked`: it had forked before."""

    def __init__(self, why: str, worked: bool) -> None:
        super().__init__(why)
        self.worked = worked


class _Stale(Exception):
    """What it holds is old."""


class _Zygote:
    def __init__(self, spec: ReplicaSpec, env: Mapping[str, str], variable: str, log: Path) -> None:
        _subreaper(True)
        self._log = log
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        name, value = mark_room(variable)
        flags = ("--control", str(theirs.fileno()), "--mark", variable, "--room", ROOM)
        log.unlink(missing_ok=True)
        log.touch(mode=0o600)
        with theirs, log.open("wb") as output:
            popen = subprocess.Popen(
                [*spec.warm, *flags],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**env, "OPENBLAS_NUM_THREADS": "1", name: value},
                cwd=spec.cwd or None,
                start_new_session=True,
                pass_fds=[theirs.fileno()],
            )
        popen.returncode = 0  # `Process` reaps it
        self._process = Process(popen.pid)
        self.pid = popen.pid
        self._turn = asyncio.Lock()
        self._warm = False
        self._worked = False
        self._stale = False
        self._held = 0
        self._leaving: asyncio.TimerHandle | None = None

    async def fork(self, asked: Fork, descriptors: tuple[int, int]) -> tuple[int, int]:
        """Its pid, and the descriptor by which it is let go on. Raises _Lost and _Stale."""
        async with self._turn:
            if self._stale:  # as another was told meanwhile
                raise _Stale
            if not self._warm:
                await self._answer(START_LIMIT_S)
                self._warm = True
            with _pipe() as (reading, writing):
                pid = await self._ask(asked, (*descriptors, reading))
                return pid, os.dup(writing)

    async def _ask(self, asked: Fork, descriptors: tuple[int, int, int]) -> int:
        try:
            socket.send_fds(self._control, [msgspec.json.encode(asked)], descriptors)
        except OSError as error:
            raise self._lost(f"cannot be asked: {error.strerror}") from error
        forked = await self._answer(FORK_LIMIT_S)
        if forked.stale:
            self._stale = True
            raise _Stale
        if forked.refused:
            raise self._lost(f"refuses: {forked.refused}")
        self._worked = True
        return forked.pid

    async def _answer(self, limit: float) -> Forked:
        try:
            async with asyncio.timeout(limit):
                frame = await asyncio.get_running_loop().sock_recv(self._control, FRAME_LIMIT)
        except TimeoutError as error:
            raise self._lost(f"gave no answer within {limit:g} s") from error
        except OSError as error:
            raise self._lost(f"cannot be heard: {error.strerror}") from error
        if not frame:
            raise self._lost(f"ended: {last_line(self._log)}")
        return msgspec.json.decode(frame, type=Forked)

    def _lost(self, why: str) -> _Lost:
        return _Lost(why, self._worked)

    def hold(self) -> None:
        self._held += 1
        if self._leaving is not None:
            self._leaving.cancel()

    def release(self, linger: float, leave: Callable[[], None]) -> None:
        self._held -= 1
        if not self._held:
            self._leaving = asyncio.get_running_loop().call_later(linger, leave)

    async def end(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
        self._control.close()
        try:
            await asyncio.wait_for(self._process.ended(), END_LIMIT_S)
        except TimeoutError:
            self._process.send(signal.SIGKILL)
            await self._process.ended()
        await self._process.reap()
        self._process.close()


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    try:
        yield reading, writing
    finally:
        os.close(reading)
        os.close(writing)


def _key(spec: ReplicaSpec) -> str:
    shared = msgspec.json.encode([spec.warm, sorted(spec.env.items()), spec.cwd])
    return hashlib.blake2b(shared, digest_size=6).hexdigest()


def _subreaper(wanted: bool) -> None:
    """Whether orphans below this process become its children (prctl(2)); where it cannot be, their ends are unknown."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0)
