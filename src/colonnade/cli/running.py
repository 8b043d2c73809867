"""Whether the `up` of a state folder runs, and how to stop processes by their record."""

from __future__ import annotations

import os
import select
import signal
import time
from dataclasses import dataclass

from colonnade.cli.home import Home, UpRecord
from colonnade.drivers.process import boot_id, start_ticks


@dataclass(frozen=True, slots=True)
class Named:
    """One process for good: a pid may be given out again, a pid with its start time may not."""

    name: str
    pid: int
    ticks: int

    @property
    def alive(self) -> bool:
        return start_ticks(self.pid) == self.ticks


def running_up(home: Home) -> UpRecord | None:
    record = home.up()
    if record is None or record.boot != boot_id() or start_ticks(record.pid) != record.ticks:
        return None
    return record


def children(home: Home) -> list[Named]:
    """Processes of a recorded `up`, itself alive or not, that still are."""
    record = home.up()
    if record is None or record.boot != boot_id():
        return []
    named = [Named(name, pid, ticks) for name, (pid, ticks) in record.children.items()]
    return [each for each in named if each.alive]


def stop(named: Named, patience: float) -> bool:
    """SIGTERM, and SIGKILL after `patience` seconds. True when it went by itself."""
    try:
        held = os.pidfd_open(named.pid)
    except ProcessLookupError:
        return True
    try:
        if not named.alive:  # held first and compared then: nobody else's process is ever signalled
            return True
        _send(held, signal.SIGTERM)
        if _ended(held, named, patience):
            return True
        _send(held, signal.SIGKILL)
        _ended(held, named, 5.0)
        return False
    finally:
        os.close(held)


def _send(held: int, number: signal.Signals) -> None:
    try:
        signal.pidfd_send_signal(held, number)
    except ProcessLookupError:
        return  # it has ended in between, which is what was wanted


def _ended(held: int, named: Named, patience: float) -> bool:
    """Whether it ended within so many seconds. The kernel wakes us; nothing is polled."""
    deadline = time.monotonic() + patience
    while named.alive and (left := deadline - time.monotonic()) > 0:
        select.select([held], [], [], left)
    return not named.alive
