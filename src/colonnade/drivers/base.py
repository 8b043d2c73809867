"""What every driver does: five idempotent verbs and a watch. No policy: nothing here decides, retries or restarts.

    capabilities()            what this pool of machines has
    start(spec)               begin the life (id, epoch); again: nothing happens
    stop(id, epoch, grace)    end it, asking first; returns when it is over; unknown or over: nothing happens
    list()                    the lives that are not over, those of a former agent included
    logs(id, tail)            what the replica said, its former lives included
    watch()                   Started, Announced, Exited, in order for each life; one reader

A *life* is one run of a replica, named by (id, epoch). The caller chooses both. Two lives of one id may overlap, while
one takes over from the other; a driver does not judge that. A life outlives the driver object and the process around
it: `open` finds it again and tells of it as if it had just begun, and of those that ended meanwhile.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

import msgspec

ADDRESS = "%ADDRESS%"
"""In a command line: the address of the machine that the driver chooses, for the replica to listen on."""


class ReplicaSpec(msgspec.Struct, frozen=True):
    """What to run. `env` is added to the driver's own. `labels` mean nothing to it and come back with each Life."""

    id: str
    epoch: str
    argv: tuple[str, ...]
    env: dict[str, str] = {}
    cwd: str = ""  # "": the driver's choice
    warm: tuple[str, ...] = ()
    """A command line for a process that a driver may fork such lives from (`replica.zygote`): `env` and `cwd` are as
    here. Empty: it may not."""
    cores: int = 0
    """Of the machine, for its threads; 0: any."""
    gpus: float = 0.0
    """A whole number, or a share of one."""
    memory: int = 0
    """Bytes beyond which it is ended; 0: any."""
    labels: dict[str, str] = {}


class Life(msgspec.Struct, frozen=True):
    """One life as last seen. `url` and `events` are empty until it announced them."""

    id: str
    epoch: str
    pid: int | None = None
    started_at: float = 0.0  # Unix seconds
    url: str = ""
    events: str = ""
    stopping: bool = False
    log: str = ""  # where its output is, in the driver's terms
    labels: dict[str, str] = {}


class Started(msgspec.Struct, frozen=True):
    life: Life


class Announced(msgspec.Struct, frozen=True):
    """It listens: `life.url` is set."""

    life: Life


class Exited(msgspec.Struct, frozen=True):
    """It is over, and so is every process that it started. `reason` in words, never empty."""

    life: Life
    reason: str


DriverEvent = Started | Announced | Exited


class Capabilities(msgspec.Struct, frozen=True):
    """What a pool of machines has to give."""

    driver: str
    machines: int
    cores: int
    memory: int  # bytes
    gpus: int = 0
    labels: dict[str, str] = {}


class Driver(Protocol):
    """All verbs may be called again with the same arguments at any time."""

    async def open(self) -> None:
        """Find the lives of a former driver again, and begin to watch."""
        ...

    async def close(self) -> None:
        """Stop watching. The lives go on."""
        ...

    async def capabilities(self) -> Capabilities: ...

    async def start(self, spec: ReplicaSpec) -> None:
        """Raises SetupError when the command cannot be run at all."""
        ...

    async def stop(self, id: str, epoch: str, grace: float) -> None:
        """SIGTERM or its like, and SIGKILL after `grace` seconds; a second call may shorten the grace."""
        ...

    async def list(self) -> tuple[Life, ...]: ...

    async def logs(self, id: str, tail: int) -> str:
        """At most the last `tail` lines; empty for an id that never ran."""
        ...

    def watch(self) -> AsyncIterator[DriverEvent]:
        """Ends when the driver is closed."""
        ...
