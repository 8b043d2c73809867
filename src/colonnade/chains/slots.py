"""How many calls of a step run at once, and how many wait; first come, first served."""

from __future__ import annotations

import asyncio
from collections import deque

from colonnade.wire.errors import Overloaded


class Slots:
    """Taking a free one costs no turn of the loop."""

    def __init__(self, step: str, most: int, queue: int) -> None:
        self.running = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self._step = step
        self._most = most
        self._queue = queue
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether who comes now has to wait."""
        return self.running >= self._most

    def take(self) -> None:
        assert not self.full
        self.running += 1
        self.idle.clear()

    async def wait(self) -> None:
        """Until a slot is handed over; it is taken then. Raises Overloaded."""
        if len(self._waiting) >= self._queue:
            said = f"step {self._step} runs {self.running} calls and has {self.waiting} waiting"
            raise Overloaded(said, hint="options.concurrency, options.queue")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give()
            else:
                self._waiting.remove(turn)
            raise

    def give(self) -> None:
        """To the one who has waited longest, else back."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.running -= 1
        if not self.running:
            self.idle.set()
