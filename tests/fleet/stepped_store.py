"""A store that dies at a chosen step: before a write, between two statements of it, before its commit, or behind it.

What it leaves in the file is what SIGKILL leaves: committed transactions, whole, and nothing of the one under way.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from colonnade.fleet.sqlite import SqliteStore


class Killed(Exception):
    """The process is no more."""


class Steps:
    """Counts them, from the first that is named `first`; `at` is the one to die at, by number or name, 0 for none.
    `die` ends the process, or raises Killed."""

    def __init__(self, at: int | str, die: Callable[[], None], first: str = "") -> None:
        self.at = at
        self._first = first
        self.taken = 0
        self.names: list[str] = []
        self.dead = False
        self._die = die

    def step(self, name: str) -> None:
        if not name.startswith(self._first):
            return
        self._first = ""
        self.taken += 1
        self.names.append(name)
        if self.dead or self.at in (self.taken, name):
            self.dead = True
            self._die()


class SteppedConnection:
    """A connection each of whose statements and commits is a step."""

    def __init__(self, connection: sqlite3.Connection, steps: Steps) -> None:
        self._connection = connection
        self._steps = steps
        self._writes = False

    def execute(self, query: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        self._step(query)
        return self._connection.execute(query, values)

    def executemany(self, query: str, rows: Iterable[tuple[object, ...]]) -> sqlite3.Cursor:
        self._step(query)
        return self._connection.executemany(query, rows)

    def _step(self, query: str) -> None:
        if self._writes:
            self._steps.step(query.split("(")[0].split(" WHERE")[0].strip())

    def __enter__(self) -> SteppedConnection:
        self._writes = True
        self._connection.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> Any:
        try:
            if kind is None:
                self._steps.step("commit")
        except Killed:
            self._connection.rollback()
            raise
        self._connection.__exit__(kind, error, at)
        self._writes = False
        if kind is None:
            self._steps.step("committed, not told")

    def close(self) -> None:
        self._connection.close()


async def open_stepped(path: Path, steps: Steps) -> SqliteStore:
    store = await SqliteStore.open(path)
    connection = store._connection
    await store._in_thread(lambda: connection.execute("PRAGMA synchronous = OFF"))  # no power is cut here
    store._connection = SteppedConnection(connection, steps)  # type: ignore[assignment]
    return store
