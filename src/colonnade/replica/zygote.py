"""A process that others begin as copies of: what it has imported and mapped they have, and share the pages.

    control socket (SOCK_SEQPACKET)      Fork, with three descriptors: stdin, output, go  ->  Forked, with its pid
                                         end of file: the process ends; those that it forked go on

It runs one thread and has no loop, context, pool or device: those do not survive a fork, so `fork` refuses to be one of
several threads. What is forked is handed to the nearest subreaper above (the driver's process), which is its parent
from then on: it learns how it ends as of any child, and nothing hangs on this process. It begins to work when a byte
comes through `go`, by then the driver has written down who it is; when `go` is closed instead, it ends.

A process that is forked has the environment of its `Fork`, and shows its own command line and mark in /proc, too: see
`replica.guise`.
"""

from __future__ import annotations

import atexit
import os
import socket
import struct
import sys
import traceback
from collections.abc import Callable, Sequence

import msgspec

from colonnade.replica.guise import Guise

FRAME_LIMIT = 1 << 20
_PID = struct.Struct("i")
_GO = 3
"""Where a fork keeps `go`: the descriptors of a `Fork` are this or above, the first of them is not `go`."""

Run = Callable[[Sequence[str]], int]
"""A command line's arguments to an exit status."""


class Fork(msgspec.Struct, frozen=True):
    """What to begin. `mark`: NAME=value, which goes into the environment."""

    argv: tuple[str, ...]
    env: dict[str, str]
    mark: str
    cwd: str = ""


class Forked(msgspec.Struct, frozen=True):
    """The answer: a pid, or why there is none. The first, without either, says that forks can begin."""

    pid: int = 0
    refused: str = ""
    stale: bool = False
    """What this process holds is no longer what a fresh start would read."""


def threads() -> int:
    """Of this process, those that no Python knows of included."""
    return len(os.listdir("/proc/self/task"))


def serve(control: socket.socket, guise: Guise, run: Run, stale: Callable[[], bool] = lambda: False) -> None:
    """Until the control socket ends. `stale`: whether what is mapped here is no longer what a fresh start would map."""
    _say(control, Forked())
    while True:
        frame, descriptors, _, _ = socket.recv_fds(control, FRAME_LIMIT, 3)
        if not frame:
            return
        try:
            asked = msgspec.json.decode(frame, type=Fork)
            _say(control, Forked(stale=True) if stale() else fork(asked, descriptors, guise, run))
        finally:
            for each in descriptors:
                os.close(each)


def _say(control: socket.socket, forked: Forked) -> None:
    control.send(msgspec.json.encode(forked))


def fork(asked: Fork, descriptors: Sequence[int], guise: Guise, run: Run) -> Forked:
    """Twice, so that what is begun is an orphan at once. In the new process it does not return."""
    if (count := threads()) != 1:
        return Forked(refused=f"it has {count} threads, and one that forks must have one")
    reading, writing = os.pipe()
    try:
        between = os.fork()
    except OSError as error:
        os.close(reading)
        os.close(writing)
        return Forked(refused=f"it cannot fork: {error.strerror}")
    if not between:
        _beget(writing, asked, descriptors, guise, run)
    os.close(writing)
    os.waitpid(between, 0)
    told = os.read(reading, _PID.size)
    os.close(reading)
    return Forked(pid=_PID.unpack(told)[0]) if told else Forked(refused="it cannot fork a second time")


def _beget(writing: int, asked: Fork, descriptors: Sequence[int], guise: Guise, run: Run) -> None:
    try:
        if child := os.fork():
            os.write(writing, _PID.pack(child))
            os._exit(0)
        end(lambda: _begin(asked, descriptors, guise, run))
    finally:
        os._exit(1)


def _begin(asked: Fork, descriptors: Sequence[int], guise: Guise, run: Run) -> int:
    stdin, output, go = descriptors
    os.setsid()
    guise.wear(asked.mark)
    guise.show(asked.argv)
    for given, number in ((stdin, 0), (output, 1), (output, 2), (go, _GO)):
        os.dup2(given, number)
    os.closerange(_GO + 1, os.sysconf("SC_OPEN_MAX"))  # the zygote's line too: its end shows there
    if os.read(_GO, 1) != b"!":
        return 0
    os.close(_GO)
    os.environ.clear()
    os.environ.update(asked.env)
    name, _, value = asked.mark.partition("=")
    os.environ[name] = value
    if asked.cwd:
        os.chdir(asked.cwd)
    return run(asked.argv)


def end(work: Callable[[], int]) -> None:
    """Run it and leave the process with what it returns, as a program of its own would: after its last words and what
    was to be done at exit, but without taking apart what it shares with others."""
    status = 1
    try:
        status = work()
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else _said(leaving.code)
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _said(last: object) -> int:
    sys.stderr.write(f"{last}\n")
    return 1
