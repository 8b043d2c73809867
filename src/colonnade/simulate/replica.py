"""A replica as a model: one prompt is computed at a time, answers are drawn beside that, a cache of bounded size.

    prefill: uncached tokens / `prefill` + `overhead`, first come first served; what is cached is seen when it begins
    decode:  output * (`step` + `slope` * running), by what runs when it begins

It publishes load and marks as a real one does, `PUBLISH` seconds later, through the gateway's own `View`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from colonnade.gateway.view import View
from colonnade.simulate.arrival import BLOCK, Arrival, name
from colonnade.simulate.clock import Clock
from colonnade.simulate.lru import Lru
from colonnade.wire.messages import Envelope, Load, LoadChanged, MarkChange, Marked, MarksChanged, Unmarked

PUBLISH = 0.05
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens a second of prefill; seconds of the rest. As of a 70B model on one node, roughly."""

    prefill: float = 8000.0
    overhead: float = 0.02
    step: float = 0.02
    slope: float = 0.0005


@dataclass(slots=True)
class Work:
    """A request on a replica; `began` and `ended` are called then, `began` with its uncached tokens."""

    arrival: Arrival
    began: Callable[[int], None]
    ended: Callable[[], None]


class Replica:
    def __init__(self, clock: Clock, view: View, speed: Speed, cache_tokens: int) -> None:
        self.clock = clock
        self.cache = Lru(cache_tokens)
        self._view = view
        self._epoch = view.target.route.epoch
        self._speed = speed
        self._queue: deque[Work] = deque()
        self._busy = False
        self._decoding = 0
        self._seq = 0
        self._marks: list[MarkChange] = []
        self._due = False

    def submit(self, work: Work) -> None:
        self._queue.append(work)
        if not self._busy:
            self._next()
        self._soon()

    def _next(self) -> None:
        self._busy = bool(self._queue)
        if self._busy:
            work = self._queue.popleft()
            arrival = work.arrival
            uncached = max(1, arrival.prompt - min(arrival.prompt, self.cache.match(arrival.blocks) * BLOCK))
            seconds = self._speed.overhead + uncached / self._speed.prefill
            self.clock.after(seconds, lambda: self._computed(work, uncached))

    def _computed(self, work: Work, uncached: int) -> None:
        self._store(work.arrival)
        self._decoding += 1
        seconds = work.arrival.output * (self._speed.step + self._speed.slope * self._decoding)
        self.clock.after(seconds, lambda: self._ended(work))
        work.began(uncached)
        self._next()
        self._soon()

    def _store(self, arrival: Arrival) -> None:
        new, gone = self.cache.store(arrival.blocks)
        self._marks += [Marked(name(arrival.blocks[index]), arrival.reach(index)) for index in new]
        self._marks += [Unmarked(name(block)) for block in gone]

    def _ended(self, work: Work) -> None:
        self._decoding -= 1
        work.ended()
        self._soon()

    def _soon(self) -> None:
        if not self._due:
            self._due = True
            self.clock.after(PUBLISH, self._publish)

    def _step(self) -> int:
        """It never stands still."""
        return int(self.clock.now / self._speed.step)

    def _publish(self) -> None:
        self._due = False
        marks, self._marks = self._marks, []
        load = Load(running=self._decoding + self._busy, waiting=len(self._queue), steps=self._step())
        for event in (MarksChanged(marks), LoadChanged(load)):
            self._seq += 1
            self._view.take(Envelope(self._epoch, self._seq, event), self.clock.now)
