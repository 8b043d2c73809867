"""The engine's client: commands out, reports in, each delta to the request that waits for it."""

from __future__ import annotations

import asyncio
import itertools
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec
import zmq

from colonnade.replica.caretaker import refused
from colonnade.replica.child import Child
from colonnade.replica.generation import Listener
from colonnade.replica.spare import Spares
from colonnade.wire import errors
from colonnade.wire.errors import ColonnadeError, Internal, ReplicaLost
from colonnade.wire.messages import (
    Abort,
    Change,
    Changed,
    Command,
    Declined,
    Delta,
    Deltas,
    Drop,
    Failed,
    Loaded,
    Refused,
    Report,
    Submit,
)

_log = logging.getLogger(__name__)

_CODES: dict[str, type[ColonnadeError]] = {
    each.code: each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, ColonnadeError) and each.fault != "setup"
}


class Observer(Protocol):
    """Told of what concerns the whole replica, on the event loop."""

    def loaded(self, loaded: Loaded) -> None: ...

    def stepped(self, deltas: Deltas) -> None: ...

    def lost(self, reason: str, hint: str) -> None:
        """The engine is gone or has given up; every request has been told."""
        ...


TURN = 16
"""Reports read before the event loop turns to something else."""

LAST_MS = 50
"""How long a report may be under way when the engine has ended."""

EngineArgv = Callable[[str, str], list[str]]
"""(endpoint of commands, endpoint of reports) to the engine's command line."""


class Backend:
    """Owns the engine's process, the two sockets and the folder they lie in."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], observer: Observer, spares: Spares) -> None:
        self._observer = observer
        self._spares = spares
        self._folder = tempfile.TemporaryDirectory(prefix="cln-")  # 0700; ipc paths must stay under 108 bytes
        self._commands = context.socket(zmq.PUSH)
        self._reports = context.socket(zmq.PULL)
        for socket in (self._commands, self._reports):
            socket.linger = 0
            socket.set_hwm(0)
        self._command_end = f"ipc://{Path(self._folder.name) / 'c'}"
        self._report_end = f"ipc://{Path(self._folder.name) / 'r'}"
        self._decoder = msgspec.msgpack.Decoder(Report)
        self._listeners: dict[str, Listener] = {}
        self._changes: dict[int, asyncio.Future[Loaded]] = {}
        self._serials = itertools.count(1)
        self._child: Child | None = None
        self._watch: asyncio.Task[None] | None = None
        self._failed: Failed | None = None

    async def start(self, argv: EngineArgv) -> None:
        self._commands.bind(self._command_end)
        self._reports.bind(self._report_end)
        asyncio.get_running_loop().add_reader(self._reports.fileno(), self._read)
        self._child = await Child.start(argv(self._command_end, self._report_end), self._spares)
        self._watch = asyncio.create_task(self._watch_child(self._child))

    async def stop(self) -> None:
        """End the engine and remove everything that was made."""
        if self._watch is not None:
            self._watch.cancel()
        if self._child is not None:
            await self._child.stop()
        if not self._reports.closed:
            asyncio.get_running_loop().remove_reader(self._reports.fileno())
        self._reports.close()
        self._commands.close()
        self._folder.cleanup()

    async def change(self, make: Callable[[int], Change]) -> Loaded:
        """Have the engine do it. Raises InvalidRequest with what it says against it, or ReplicaLost."""
        serial = next(self._serials)
        answer = self._changes[serial] = asyncio.get_running_loop().create_future()
        self._send(make(serial))
        return await answer

    def submit(self, submit: Submit, listener: Listener) -> None:
        self._listeners[submit.key] = listener
        self._send(submit)

    def abort(self, key: str) -> None:
        if self._listeners.pop(key, None) is not None:
            self._send(Abort(key))

    def drop(self) -> None:
        """Empty the prefix cache of all that no request holds."""
        self._send(Drop())

    def _send(self, command: Command) -> None:
        try:
            self._commands.send(msgspec.msgpack.encode(command), zmq.NOBLOCK)
        except zmq.Again:  # no engine is connected: its end is on the way, and tells every listener
            _log.debug("a command for an engine that is gone was dropped")

    def _read(self) -> None:
        """The socket's descriptor tells of changes only, so everything that is there must be read: in turns, for an
        engine that is faster than we are must not keep the event loop from everything else."""
        for _ in range(TURN):
            if self._reports.closed or not self._reports.poll(0):
                return
            self._receive()
        asyncio.get_running_loop().call_soon(self._read)

    def _receive(self) -> None:
        frame = self._reports.recv(zmq.NOBLOCK)
        try:
            self._take(self._decoder.decode(frame))
        except msgspec.DecodeError:
            _log.exception("a report of the engine could not be read")

    def _take(self, report: Report) -> None:
        match report:
            case Deltas():
                self._observer.stepped(report)
                for delta in report.deltas:
                    self._deliver(delta)
            case Refused():
                self._refuse(report)
            case Loaded():
                self._tidy()
                self._observer.loaded(report)
            case Changed():
                self._answer(report.serial, report.loaded)
            case Declined():
                self._answer(report.serial, refused(report.message, report.hint))
            case Failed():
                self._failed = report

    def _answer(self, serial: int, outcome: Loaded | ColonnadeError) -> None:
        """Of a change; whoever asked for it may have gone."""
        waiting = self._changes.pop(serial)
        if waiting.done():
            return
        if isinstance(outcome, Loaded):
            waiting.set_result(outcome)
        else:
            waiting.set_exception(outcome)

    def _tidy(self) -> None:
        """Both ends are connected: the sockets' names are needed no more, and a SIGKILL can leave nothing behind."""
        if self._commands.poll(0, zmq.POLLOUT):
            self._folder.cleanup()

    def _deliver(self, delta: Delta) -> None:
        """What goes wrong with one request ends that one."""
        listener = self._listeners.get(delta.key)
        if listener is None:
            return
        if delta.finish is not None:
            del self._listeners[delta.key]
        try:
            listener(delta)
        except Exception:
            _log.exception("a delta could not be taken in")
            self.abort(delta.key)
            listener(Internal("something went wrong here", hint="the replica's log says what"))

    def _refuse(self, refused: Refused) -> None:
        listener = self._listeners.pop(refused.key, None)
        if listener is not None:
            kind = _CODES.get(refused.code, Internal)
            listener(kind(refused.message, hint=refused.hint, code=refused.code))

    async def _watch_child(self, child: Child) -> None:
        ended = await child.ended()
        while self._reports.poll(LAST_MS):
            self._receive()
        failed = self._failed
        reason = failed.message if failed is not None else ended
        for serial in list(self._changes):
            self._answer(serial, ReplicaLost(f"the engine was lost: {reason}"))
        listeners, self._listeners = self._listeners, {}
        for listener in listeners.values():
            listener(ReplicaLost(f"the replica was lost: {reason}", hint="send the request again"))
        self._observer.lost(reason, "" if failed is None else failed.hint)
