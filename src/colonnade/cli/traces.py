"""The requests that chains of this home answered, one line of JSON each, in a file that is turned over: the newest are
kept, and the disk is bounded. Any number of processes append."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from colonnade.chains.notes import Span

LIMIT = 4 << 20
"""Bytes of the file after which it becomes the old one; so at most twice that is kept."""


class Trace(msgspec.Struct, frozen=True):
    """`at` is seconds since the epoch, `outcome` "ok" or the error's code."""

    id: str
    at: float
    chain: str
    outcome: str
    span: Span


class Traces:
    def __init__(self, file: Path, limit: int = LIMIT) -> None:
        self._file = file
        self._old = file.with_suffix(".old")
        self._limit = limit

    def keep(self, trace: Trace) -> None:
        """A disk that is full loses the trace, not the request."""
        with contextlib.suppress(OSError):
            fd = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(fd, msgspec.json.encode(trace) + b"\n")
                full = os.fstat(fd).st_size > self._limit
            finally:
                os.close(fd)
            if full:
                self._file.replace(self._old)

    def find(self, id: str) -> Trace | None:
        """By the whole id, or by how it begins if that is one request's only."""
        found = {each.id: each for each in self.all() if each.id.startswith(id)}
        if id in found:
            return found[id]
        return next(iter(found.values())) if len(found) == 1 else None

    def all(self) -> Iterator[Trace]:
        """The oldest first. A line that was torn by a crash is left out."""
        for file in (self._old, self._file):
            with contextlib.suppress(FileNotFoundError), file.open("rb") as lines:
                for line in lines:
                    with contextlib.suppress(msgspec.DecodeError):
                        yield msgspec.json.decode(line, type=Trace)
