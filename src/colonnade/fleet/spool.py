"""Stretches on disk until the control plane has them: written before they are sent, sent again until acknowledged.

One file of lines. The first may hold the marks (`meter.Meter.marks`) of when it was last made anew, the others are
stretches, each flushed to the disk when it is added. A line that was cut off by a crash was never sent: it is dropped.
What was acknowledged may be sent once more after a crash: the ledger knows it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Collection
from pathlib import Path

import msgspec

from colonnade.drivers.records import write_atomically
from colonnade.wire.routes import Stretch


class _Marks(msgspec.Struct, frozen=True):
    marks: dict[str, int]


class Spool:
    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = path
        self._pending: deque[Stretch] = deque()
        self.marks: dict[str, int] = {}
        """As the file has them: where each life's last stretch ended."""
        self._read()
        self._make_anew()

    def add(self, stretches: tuple[Stretch, ...]) -> None:
        """Returns when they are on the disk."""
        if not stretches:
            return
        os.write(self._fd, b"".join(msgspec.json.encode(each) + b"\n" for each in stretches))
        os.fsync(self._fd)
        for each in stretches:
            self._take(each)

    def pending(self, limit: int) -> tuple[Stretch, ...]:
        return tuple(self._pending)[:limit]

    def acknowledge(self, stretches: tuple[Stretch, ...]) -> None:
        """The control plane has them."""
        known = {(each.epoch, each.begun) for each in stretches}
        self._pending = deque(each for each in self._pending if (each.epoch, each.begun) not in known)
        if known and not self._pending:
            os.close(self._fd)
            self._make_anew()

    def forget(self, running: Collection[str]) -> None:
        """Of lives that are over nobody asks any more. `running`: the epochs of the others."""
        self.marks = {epoch: ended for epoch, ended in self.marks.items() if epoch in running}

    def close(self) -> None:
        os.close(self._fd)

    def _read(self) -> None:
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return
        for number, line in enumerate(lines):
            try:
                if number == 0 and line.startswith(b'{"marks"'):
                    self.marks = msgspec.json.decode(line, type=_Marks).marks
                else:
                    self._take(msgspec.json.decode(line, type=Stretch))
            except msgspec.DecodeError:
                continue

    def _take(self, stretch: Stretch) -> None:
        self._pending.append(stretch)
        self.marks[stretch.epoch] = stretch.ended

    def _make_anew(self) -> None:
        lines = [msgspec.json.encode(_Marks(self.marks)), *map(msgspec.json.encode, self._pending)]
        write_atomically(self._path, b"\n".join(lines) + b"\n")
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
