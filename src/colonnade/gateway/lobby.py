"""Requests that wait for a slot of a replica: held here, so that the fair order decides as late as it can.

A slot frees, a replica appears, time passes: `pump` lets go those whose turn it is (`gateway.fairness`), for each model
by itself. One that has waited for long enough is refused.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from colonnade.gateway.fairness import FairQueue, Refusal, Waiting, too_late
from colonnade.gateway.routing import Table
from colonnade.gateway.stats import Stats
from colonnade.wire.errors import ColonnadeError
from colonnade.wire.settings import GatewaySettings


class Waiter(Protocol):
    """A request that has not been at a replica."""

    model: str
    standing: Waiting

    def go(self) -> bool:
        """There may be room now. False: not for this one."""
        ...

    def refuse(self, error: ColonnadeError) -> None: ...

    def give_up(self) -> None:
        """No replica could be reached for as long as it may wait: look once more, and end."""
        ...


class Lobby:
    """One of a gateway."""

    def __init__(self, table: Table, settings: GatewaySettings, stats: Stats, loop: asyncio.AbstractEventLoop) -> None:
        self._table = table
        self._stats = stats
        self._settings = settings
        self._loop = loop
        self._queues: dict[str, FairQueue] = {}
        self._reached: dict[str, float] = {}
        self._waiters: dict[Waiting, Waiter] = {}
        self._due = False

    def __len__(self) -> int:
        return len(self._waiters)

    def queues(self) -> dict[str, FairQueue]:
        """By model."""
        return self._queues

    def crowded(self, model: str) -> bool:
        """Others wait: one that comes goes behind them, or before, as is fair."""
        return bool(self._waiters) and bool(self._queues.get(model))

    def settle(self, model: str, item: Waiting, tokens: float) -> None:
        """One that went from here took so many tokens."""
        self._queue(model).settle(item, tokens)

    def _queue(self, model: str) -> FairQueue:
        queue = self._queues.get(model)
        if queue is None:
            queue = self._queues[model] = FairQueue(self._settings.queue_limit, self._settings.queue_bytes)
        return queue

    def enter(self, waiter: Waiter) -> None:
        """It waits. It may be refused at once: for want of room, or since nothing is there to wait for."""
        now = self._loop.time()
        item, queue = waiter.standing, self._queue(waiter.model)
        self._waiters[item] = waiter
        self._refuse(queue.offer(item, now))
        if self._table.reachable(waiter.model, now):
            self._reached[waiter.model] = now
            self.wake()
        elif item in self._waiters and self._patience(waiter.model, item) <= now:
            self._give_up(queue, item)

    def leave(self, item: Waiting, model: str) -> None:
        """Its client is gone, or it has ended."""
        if self._waiters.pop(item, None) is not None:
            self._queue(model).withdraw(item)

    def wake(self) -> None:
        """There may be room for one."""
        if self._waiters and not self._due:
            self._due = True
            self._loop.call_soon(self.pump)

    def pump(self) -> None:
        self._due = False
        for model, queue in list(self._queues.items()):
            self._let_go(model, queue)

    def _let_go(self, model: str, queue: FairQueue) -> None:
        now = self._loop.time()
        stuck: list[tuple[Waiting, Waiter]] = []
        while queue and self._table.free(model, now):
            item, late = queue.next(now)
            self._refuse(late)
            if item is None:
                break
            waiter = self._waiters.pop(item)
            if waiter.go():
                self._stats.waited(model, now - item.since)
            else:
                stuck.append((item, waiter))
        for item, waiter in reversed(stuck):
            queue.put_back(item)
            self._waiters[item] = waiter

    def check(self, now: float) -> None:
        """Once in a while: end those whose time is over."""
        for model, queue in list(self._queues.items()):
            if not queue:
                continue
            reached = self._table.reachable(model, now)
            if reached:
                self._reached[model] = now
            for item in queue:
                if item not in self._waiters:
                    continue  # what happened to another has ended it
                if item.deadline <= now:
                    queue.withdraw(item)
                    self._refuse([(item, too_late())])
                elif not reached and self._patience(model, item) <= now:
                    self._give_up(queue, item)
        self.pump()

    def _patience(self, model: str, item: Waiting) -> float:
        """Until when it waits for a replica that can be reached."""
        return max(item.since, self._reached.get(model, 0.0)) + self._settings.hold_timeout

    def _give_up(self, queue: FairQueue, item: Waiting) -> None:
        queue.withdraw(item)
        self._waiters.pop(item).give_up()

    def _refuse(self, refusals: list[Refusal]) -> None:
        for item, error in refusals:
            self._waiters.pop(item).refuse(error)
