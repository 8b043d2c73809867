"""What replicas print: a file a life, `logs/ID.EPOCH.log`, and `logs/ID.log`, a link to the newest.

Standard output and standard error go there straight from the replica, so nothing is lost when the agent is not
there, and nobody blocks. Epochs sort by time, so do the names.
"""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import msgspec

KEPT_LIVES = 4
_TAIL_BYTES = 16 << 10
_HEAD_BYTES = 1 << 20
"""A replica that says more than this before it announces itself never will be heard."""


class Announcement(msgspec.Struct, frozen=True):
    """The line that a replica prints when its socket listens."""

    url: str
    epoch: str
    events: str = ""


class LogFolder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def begin(self, id: str, epoch: str) -> Path:
        """The file of a new life; the oldest lives' files go, and `ID.log` points here."""
        path = self._folder / f"{id}.{epoch}.log"
        path.touch(mode=0o600)
        for old in self.lives(id)[:-KEPT_LIVES]:
            old.unlink(missing_ok=True)
            turned(old).unlink(missing_ok=True)
        link = self._folder / f".{id}.link"
        link.unlink(missing_ok=True)
        link.symlink_to(path.name)
        link.replace(self._folder / f"{id}.log")
        return path

    def lives(self, id: str) -> list[Path]:
        """Oldest first. An epoch has no dot, so an id's files are told from those of an id that begins like it."""
        named = (p for p in self._folder.glob("*.log") if p.name.removesuffix(".log").rpartition(".")[0] == id)
        return sorted(path for path in named if not path.is_symlink())

    def tail(self, id: str, lines: int) -> str:
        """The last lines over all lives that are kept, each life under a line with its file's name."""
        return joined(self.tails(id, lines), lines)

    def tails(self, id: str, lines: int) -> dict[str, str]:
        """The last lines of each life that is kept, by the name of its file."""
        return {path.name: self._said(path, lines) for path in self.lives(id)}

    def _said(self, path: Path, lines: int) -> str:
        kept: deque[str] = deque(maxlen=max(0, lines))
        for each in (turned(path), path):
            if each.exists():
                with each.open(encoding="utf-8", errors="replace") as file:
                    kept.extend(line if line.endswith("\n") else line + "\n" for line in file)
        return "".join(kept)


def joined(said: Mapping[str, str], lines: int) -> str:
    """At most the last lines of several lives, oldest first, each life under a line with its file's name."""
    kept: deque[str] = deque(maxlen=max(0, lines))
    for name in sorted(said):
        kept.append(f"==> {name} <==\n")
        kept.extend(said[name].splitlines(keepends=True))
    return "".join(kept)


def turned(path: Path) -> Path:
    """Where the older half of a log is after it grew too long."""
    return path.with_suffix(".old")


def turn_over(path: Path, limit: int) -> None:
    """Move what is in the file aside when it is longer than `limit` bytes. The writer appends to the same open file,
    so it is copied and cut: lines written in the microseconds between the two are lost."""
    if path.exists() and path.stat().st_size > limit:
        shutil.copyfile(path, turned(path))
        os.truncate(path, 0)


def announcement(path: Path, epoch: str) -> Announcement | None:
    """The announcement of this epoch, if it has been printed whole. Its place is the first line of standard output;
    lines of standard error may stand before it."""
    with path.open("rb") as file:
        *whole, _ = file.read(_HEAD_BYTES).split(b"\n")
    for line in whole:
        found = _parsed(line) if line.startswith(b"{") else None
        if found is not None and found.epoch == epoch:
            return found
    return None


def _parsed(line: bytes) -> Announcement | None:
    try:
        return msgspec.json.decode(line, type=Announcement)
    except msgspec.DecodeError:
        return None


def last_line(path: Path) -> str:
    """The last line that says something, without the announcement; for the reason of an end."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        lines = file.read().splitlines()
    for line in reversed(lines):
        if line.strip() and _parsed(line) is None:
            return line.decode("utf-8", "replace").strip()[:500]
    return ""
