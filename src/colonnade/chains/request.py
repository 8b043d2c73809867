"""The request that the running code belongs to: its time, its trace, and the calls that end with it."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

from colonnade.chains.notes import Span


class Request:
    """`deadline` is on the clock of this process's loop, `started` is `time.perf_counter`: a loop's clock is coarse."""

    def __init__(self, id: str, deadline: float, started: float, trace: bool) -> None:
        self.id = id
        self.deadline = deadline
        self.started = started
        self.trace = trace
        self.spans: list[Span] = []
        self.queued = 0.0
        self.owner: asyncio.Task[Any] | None = None
        self._calls: set[asyncio.Task[Any]] = set()

    def joined(self, task: asyncio.Task[Any] | None) -> None:
        """A task that makes calls for this request: it is not to outlive it."""
        if task is not None and task is not self.owner and task not in self._calls:
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)

    def close(self) -> None:
        """The answer is decided: what is still being asked for it is not wanted any more."""
        for task in tuple(self._calls):
            task.cancel()


CURRENT: ContextVar[Request | None] = ContextVar("chain request", default=None)
