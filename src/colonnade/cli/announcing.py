"""What a detached `up` tells the command that started it: its phases, then its greeting, as JSON lines on a pipe."""

from __future__ import annotations

import os
from typing import Self

import msgspec

from colonnade.cli.greeting import Greeting


class PhaseEnded(msgspec.Struct, frozen=True, tag="phase"):
    title: str
    seconds: float


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    greeting: Greeting


Announced = PhaseEnded | Ready

decode = msgspec.json.Decoder(Announced).decode


class Announcing:
    """The writing end. Whoever listened may have gone: that is no reason to stop."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def phase(self, title: str, seconds: float) -> None:
        self._write(PhaseEnded(title, seconds))

    def greeting(self, greeting: Greeting) -> None:
        """The last thing said."""
        self._write(Ready(greeting))
        self.close()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        os.set_inheritable(self._fd, False)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, event: Announced) -> None:
        try:
            os.write(self._fd, msgspec.json.encode(event) + b"\n")
        except BrokenPipeError:
            self.close()
