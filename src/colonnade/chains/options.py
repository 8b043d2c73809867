"""What a step asks of the place where it runs, and what a caller may rely on. Read by `chain run` and by the fleet."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from colonnade.wire.errors import BadSetting
from colonnade.wire.units import parse_bytes

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
ACCELERATOR = re.compile(r"[A-Z0-9_]+(?::[1-9]\d*)?")


@dataclass(frozen=True, kw_only=True)
class Options:
    """`cpu` cores, `memory` in units, `accelerator` such as `H100:2`; between `replicas` and `replicas_most` processes,
    each with `concurrency` calls at once and `queue` waiting; `timeout` seconds for a call. `idempotent`: the same call
    may be made again when it is not known whether it was carried out. `secrets` are the names it may read."""

    name: str = ""
    version: str = ""
    cpu: float = 1.0
    memory: str = "1GiB"
    accelerator: str = ""
    replicas: int = 1
    replicas_most: int = 1
    concurrency: int = 64
    queue: int = 256
    timeout: float = 60.0
    idempotent: bool = False
    secrets: tuple[str, ...] = ()

    def faults(self) -> Iterator[tuple[str, str]]:
        """(field, what is wrong with it)."""
        if self.name and not NAME.fullmatch(self.name):
            yield "name", f"{self.name!r} is no name: letters, digits, - and _, a letter first"
        if self.accelerator and not ACCELERATOR.fullmatch(self.accelerator):
            yield "accelerator", f"{self.accelerator!r} is none: write H100, or H100:2"
        if not (math.isfinite(self.cpu) and self.cpu > 0):
            yield "cpu", f"must be more than 0, got {self.cpu}"
        if not (math.isfinite(self.timeout) and self.timeout > 0):
            yield "timeout", f"must be more than 0 seconds, got {self.timeout}"
        if not 0 <= self.replicas <= self.replicas_most or self.replicas_most < 1:
            yield "replicas", f"must be between 0 and replicas_most, got {self.replicas} and {self.replicas_most}"
        if self.concurrency < 1 or self.queue < 0:
            yield "concurrency", "must be at least 1, and queue at least 0"
        try:
            parse_bytes(self.memory)
        except BadSetting as error:
            yield "memory", error.message
