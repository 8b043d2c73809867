"""The engine's process: commands in, plan, run, commit, reports out. One thread touches the scheduler; the
worker is its own, or with `overlap` a second thread's (`engine.pipeline`).

The face binds both sockets; the process connects. Each frame is one MessagePack `Command` or `Report`.

A step that raises ends at most one request: several that were in it go on one by one (`Scheduler.fail`), and the
process goes on. After `PATIENCE` failures in a row of requests that were alone it is the engine that is broken:
`Failed`, and exit.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

import msgspec
import zmq

from colonnade.engine.changes import Changes
from colonnade.engine.pipeline import Ahead, Inline, Pipeline
from colonnade.engine.scheduler import Scheduler
from colonnade.engine.servable import Servable
from colonnade.engine.step import Step
from colonnade.wire.errors import ColonnadeError, Internal
from colonnade.wire.messages import Abort, Command, Delta, Deltas, Drop, Failed, Report, Sleep, Submit, Update, Wake

log = logging.getLogger("colonnade.engine")

PATIENCE = 3
LINGER_MS = 1000
"""How long the last reports may take to leave when the process ends."""
IDLE_MS = 1000
"""Quiet for this long, the engine checks its books."""


__all__ = ["Servable", "Stop", "log", "serve"]


class Stop:
    """A request to end, from a signal handler or another thread. `wake` is a descriptor that turns readable."""

    def __init__(self) -> None:
        self.requested = False
        self.wake, self._write = os.pipe()

    def request(self) -> None:
        self.requested = True
        os.write(self._write, b".")


class Wires:
    """The two sockets."""

    def __init__(self, commands: str, reports: str, stop: Stop) -> None:
        self._context = zmq.Context[zmq.Socket[bytes]](io_threads=1)
        self._commands = self._context.socket(zmq.PULL)
        self._reports = self._context.socket(zmq.PUSH)
        for socket in (self._commands, self._reports):
            socket.linger = LINGER_MS
            socket.set_hwm(0)
        self._commands.connect(commands)
        self._reports.connect(reports)
        self._poller = zmq.Poller()
        self._poller.register(self._commands, zmq.POLLIN)
        self._poller.register(stop.wake, zmq.POLLIN)
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Command)

    def wait(self, milliseconds: int | None) -> bool:
        """Sleep until a command or the request to end is there; False if the time passed first."""
        return bool(self._poller.poll(milliseconds))

    def receive(self) -> list[Command]:
        """All commands that are there. A frame that is none is logged and left out."""
        commands: list[Command] = []
        while self._commands.poll(0):
            try:
                commands.append(self._decoder.decode(self._commands.recv(zmq.NOBLOCK)))
            except msgspec.DecodeError as error:
                log.error("a command could not be read: %s", error)
        return commands

    def send(self, report: Report) -> None:
        self._reports.send(self._encoder.encode(report), zmq.NOBLOCK)

    def close(self) -> None:
        self._commands.close(0)
        self._reports.close()
        self._context.term()


class Broken(Internal):
    """Steps fail whatever is in them."""


class Loop:
    """The engine at work."""

    def __init__(self, servable: Servable, wires: Wires, stop: Stop) -> None:
        self.scheduler = Scheduler(servable.limits, servable.drafter, servable.fingerprint)
        self._changes = Changes(servable, self.scheduler)
        self._steps: Pipeline = Ahead(servable.worker) if servable.overlap else Inline(servable.worker)
        self._wires = wires
        self._stop = stop
        self._failures = 0
        self._reported = self.scheduler.load()

    def run(self) -> None:
        """Until asked to stop. Raises Broken."""
        while not self._stop.requested:
            for command in self._wires.receive():
                self._obey(command)
            step = self.scheduler.plan()
            if step is not None:
                self._steps.start(step)
            if self._steps.depth > (0 if step is None else self._steps.ahead):
                self._report(self._finish())
                continue
            self._report([])
            if not self._steps.depth and not self._wires.wait(IDLE_MS):
                self._check()
                self._wires.wait(None)
        while self._steps.depth:
            self._steps.finish()

    def _obey(self, command: Command) -> None:
        match command:
            case Submit():
                refused = self._changes.refusal(command) or self.scheduler.submit(command)
                if refused is not None:
                    self._wires.send(refused)
            case Abort():
                self.scheduler.abort(command.key)
            case Drop():
                self.scheduler.drop()
            case Update() | Sleep() | Wake():
                self._wires.send(self._changes.make(command))

    def _finish(self) -> list[Delta]:
        step, result = self._steps.finish()
        if isinstance(result, Exception):
            log.error("step %d failed with %d requests in it", step.number, len(step.chunks), exc_info=result)
            return self._survive(step, f"{type(result).__name__}: {result}")
        if step.chunks:
            self._failures = 0
        return self.scheduler.commit(result)

    def _survive(self, step: Step, reason: str) -> list[Delta]:
        self._failures += len(step.chunks) == 1
        if self._failures >= PATIENCE:
            hint = "the engine's log has the details"
            raise Broken(f"{PATIENCE} requests in a row failed, the last with {reason}", hint=hint)
        return self.scheduler.fail(f"the step failed: {reason}")

    def _report(self, deltas: list[Delta]) -> None:
        load, changes = self.scheduler.load(), self.scheduler.changes()
        if deltas or changes or load != self._reported:
            self._reported = load
            self._wires.send(Deltas(deltas, load, changes))

    def _check(self) -> None:
        """Nothing to do: are all pages accounted for?"""
        if leaked := self.scheduler.audit():
            log.error("%d pages had no owner and were withdrawn; please report this", len(leaked))
            self._report([])


def serve(load: Callable[[], Servable], commands: str, reports: str, stop: Stop) -> int:
    """Load, say so, and work until asked to stop; the process's exit status."""
    wires = Wires(commands, reports, stop)
    try:
        servable = load()
        wires.send(servable.loaded())
        Loop(servable, wires, stop).run()
    except ColonnadeError as error:
        wires.send(Failed(error.message, error.hint, error.reason))
        return 1
    except Exception as error:
        log.exception("the engine cannot go on")
        wires.send(Failed(f"{type(error).__name__}: {error}", "the engine's log has the details", "internal_error"))
        return 1
    finally:
        wires.close()
    return 0
