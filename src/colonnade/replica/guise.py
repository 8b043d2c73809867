"""What /proc shows of a process that began as a copy: its own command line and its mark, written over those of the one
that it was copied from. Both lie in memory of the process (proc(5): arg_start, arg_end, env_start), at its stack's end.

The one that is copied makes the room: an argument of `ROOM` characters, and a variable with the mark's name.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

ROOM = "." * 4096
"""The last argument, so that command lines as long as this can be shown; longer ones are cut."""
_MARK = 160
_ARG_START, _ARG_END, _ENV_START = 45, 46, 47
"""Of the fields in /proc/self/stat behind the name."""


def mark_room(name: str) -> tuple[str, str]:
    """Name and value of the variable."""
    return name, "." * (_MARK - len(name) - 1)


class Guise:
    """Made in the process that will be copied, before anything changes its environment."""

    def __init__(self, name: str) -> None:
        fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        self._arguments, end, environment = (int(fields[each]) for each in (_ARG_START, _ARG_END, _ENV_START))
        self._room = end - self._arguments
        found = (b"\0" + Path("/proc/self/environ").read_bytes()).find(b"\0" + "=".join(mark_room(name)).encode())
        self._mark = environment + found if found >= 0 else None

    def show(self, argv: Sequence[str]) -> None:
        line = b"".join(word.encode() + b"\0" for word in argv)[: self._room - 1]
        ctypes.memmove(self._arguments, line.ljust(self._room, b"\0"), self._room)

    def wear(self, mark: str) -> None:
        """NAME=value. No more of it than there is room for."""
        if self._mark is not None:
            ctypes.memmove(self._mark, mark.encode()[: _MARK - 1].ljust(_MARK, b"\0"), _MARK)
