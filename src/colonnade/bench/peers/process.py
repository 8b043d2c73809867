"""A peer's process: started for one turn, asked, and gone (`scripts/talk.py` is its side)."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from colonnade.bench.peers.environment import Unavailable, last_line
from colonnade.bench.peers.figures import Done
from colonnade.bench.peers.workloads import Workload

SCRIPTS = Path(__file__).parent / "scripts"


class Hello(msgspec.Struct, frozen=True):
    version: str
    note: str


class Running:
    """`ready_s`: from its start to its readiness."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, timeout: float) -> None:
        self._process, self._log, self._timeout = process, log, timeout
        self._rest = b""
        self.hello = Hello("", "")
        self.ready_s = 0.0

    def begin(self, asked: dict[str, object], began: float) -> None:
        self.hello = msgspec.json.decode(self._ask(asked), type=Hello)
        self.ready_s = time.perf_counter() - began

    def work(self, workload: Workload) -> Done:
        return msgspec.json.decode(self._ask(workload.asked()), type=Done)

    def _ask(self, value: object) -> bytes:
        """Raises Unavailable where no answer comes in time."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(msgspec.json.encode(value) + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as cause:
            raise self._lost() from cause
        return self._line(time.monotonic() + self._timeout)

    def _line(self, until: float) -> bytes:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._rest:
            readable, _, _ = select.select([descriptor], [], [], max(0.0, until - time.monotonic()))
            if not readable:
                raise Unavailable(f"no answer within {self._timeout:g} s", hint="raise --timeout")
            chunk = os.read(descriptor, 1 << 20)
            if not chunk:
                raise self._lost()
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _lost(self) -> Unavailable:
        self._process.wait(self._timeout)
        return Unavailable(f"it ended ({self._process.returncode}): {last_line(self._log.read_text(errors='replace'))}")


@contextmanager
def running(python: Path, script: str, asked: dict[str, object], log: Path, timeout: float) -> Iterator[Running]:
    """It is gone at the end, with whatever it started. Its words go to `log`. Raises Unavailable."""
    command: list[Any] = [python, SCRIPTS / script]
    began = time.perf_counter()
    with log.open("wb") as words:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words, start_new_session=True
        )
    try:
        peer = Running(process, log, timeout)
        peer.begin(asked, began)
        yield peer
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
