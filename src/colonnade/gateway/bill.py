"""Tokens that were used, by hour, key and deployment: summed up, and on disk until the control plane has them.

With a folder, each answer's tokens are a line of this gateway's file before they count, so that a killed process loses
none (a machine that loses power may lose the last seconds'); whoever starts there next tells what is left. Sums are of
this life since it began, so that telling them again counts nothing twice.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from colonnade.wire.routes import TokenSum

LONGEST = 1 << 20
"""Bytes of a file, after which it is written anew with the sums alone."""
SUFFIX = ".tokens"

Line = tuple[int, str, str]


class Bill:
    """Of one life of a gateway, which is called `name`."""

    def __init__(self, name: str, folder: Path | None = None) -> None:
        self.name = name
        self._folder = folder
        self._sums: dict[Line, list[int]] = {}
        self._fd = -1
        self._size = 0
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._open(folder / (name + SUFFIX))

    def add(self, used: TokenSum) -> None:
        if self._fd >= 0:
            self._size += os.write(self._fd, msgspec.json.encode(used) + b"\n")
        self._count(used)
        if self._size > LONGEST:
            self._write_anew()

    def sums(self) -> tuple[TokenSum, ...]:
        return tuple(TokenSum(*line, *counts) for line, counts in self._sums.items())

    def told(self, sums: tuple[TokenSum, ...], hour: int) -> None:
        """The control plane has these. What no answer of now can change any more is forgotten; the hour before may."""
        for each in sums:
            line = each.hour, each.key, each.deployment
            if each.hour < hour - 1 and self._sums.get(line) == [each.prompt, each.completion]:
                del self._sums[line]

    def former(self) -> Iterator[tuple[Path, str, tuple[TokenSum, ...]]]:
        """What lives that are over have left here: the file, which is to be removed once it was told, and its sums."""
        for file in sorted(self._folder.glob("*" + SUFFIX)) if self._folder is not None else ():
            if file.stem != self.name and not _held(file):
                yield file, file.stem, _read(file)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _count(self, used: TokenSum) -> None:
        counts = self._sums.setdefault((used.hour, used.key, used.deployment), [0, 0])
        counts[0] += used.prompt
        counts[1] += used.completion

    def _open(self, file: Path) -> None:
        self._fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        self._size = 0

    def _write_anew(self) -> None:
        """Beside the old one, and then in its place: there is one that is whole at any moment."""
        assert self._folder is not None
        before, file = self._fd, self._folder / (self.name + SUFFIX)
        beside = file.with_suffix(".new")
        beside.unlink(missing_ok=True)
        self._open(beside)
        os.write(self._fd, b"".join(msgspec.json.encode(each) + b"\n" for each in self.sums()))
        os.replace(beside, file)
        os.close(before)


def _held(file: Path) -> bool:
    """Its gateway lives."""
    fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _read(file: Path) -> tuple[TokenSum, ...]:
    """A last line that was cut off is of an answer that was not counted anywhere else: it is dropped."""
    bill = Bill("")
    for line in file.read_bytes().splitlines():
        try:
            bill._count(msgspec.json.decode(line, type=TokenSum))
        except msgspec.DecodeError:
            continue
    return bill.sums()
