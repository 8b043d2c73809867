"""A value that others wait on: each change has a number, and whoever has seen an older one gets the newest at once."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class Board(Generic[T]):
    """`revision` starts at `first` and grows by one with each value that differs from the one before."""

    def __init__(self, first: int, value: T) -> None:
        self.revision = first
        self.value = value
        self._changed = asyncio.Event()
        self._closed = False

    def post(self, value: T) -> None:
        if value != self.value:
            self.revision += 1
            self.value = value
            self._wake()

    async def newer(self, known: int, within: float) -> bool:
        """Wait until the revision is not `known` any more. False when it still is after `within` seconds."""
        if self.revision == known and not self._closed and within > 0:
            waiting = self._changed.wait()
            try:
                await asyncio.wait_for(waiting, within)
            except TimeoutError:
                return False
        return self.revision != known

    def close(self) -> None:
        """Nobody waits any longer."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
