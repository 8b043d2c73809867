"""A cluster of replicas that exist on a virtual clock only: the reconciler's orders are carried out as a driver would.

A life is begun at once, listens and is ready `START_S` later, and ends when it is told to; what is probed is well. So
the reconciler meets the events of a real fleet, tens of thousands of them, with nothing between them.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from itertools import count

from colonnade.fleet.orders import Begun, Ended, Event, Listening, Order, Policy, Probe, Probed, Start, Stop, Wanted
from colonnade.fleet.reconcile import Reconciler
from colonnade.fleet.versions import template
from colonnade.wire.routes import Deployment

START_S = 3.0
HOUR_S = 3600.0
QUIET = Policy(health_probe_s=HOUR_S)
"""No health probe within the time that is looked at."""


def deployments(number: int, replicas: int) -> tuple[Deployment, ...]:
    return tuple(Deployment(f"d{each:04}", "colonnade-tiny", replicas, 1) for each in range(number))


class CountedReconciler(Reconciler):
    """Counts the deployments that were looked at."""

    looked = 0

    def _converge(self, name: str, now: float) -> None:
        self.looked += 1
        super()._converge(name, now)


class VirtualFleet:
    def __init__(self) -> None:
        self.now = 0.0
        self.started = 0
        self.alive: dict[str, Begun] = {}
        """By epoch."""
        self._epochs = (f"e{each:09}" for each in count())
        self.core = CountedReconciler(QUIET, self._epochs)
        self._events: list[tuple[float, int, Event]] = []
        self._numbers = count()

    def feed(self, event: Event) -> None:
        for order in self.core.handle(event, self.now):
            self._obey(order)

    def settle(self, until: float) -> int:
        """Let what is under way happen; how many events that were."""
        handled = 0
        while self._events and self._events[0][0] <= until:
            self.now, _, event = heapq.heappop(self._events)
            self.feed(event)
            handled += 1
        return handled

    def restart_agent(self, wanted: Iterable[Deployment]) -> None:
        """Another core, which is told of what is there, and then of what is wanted."""
        self.core = CountedReconciler(QUIET, self._epochs)
        self._events.clear()
        for begun in list(self.alive.values()):
            self.feed(begun)
            self.feed(Listening(begun.id, begun.epoch, "http://virtual"))
        self.settle(self.now)
        self.feed(Wanted(tuple(wanted)))

    def kill(self, epoch: str) -> None:
        self.feed(Ended(self.alive.pop(epoch).id, epoch, "killed by signal 9 (SIGKILL)"))

    def _obey(self, order: Order) -> None:
        match order:
            case Start():
                wanted = order.deployment
                begun = Begun(order.id, order.epoch, wanted.name, wanted.generation, template(wanted), order.restarts)
                self.started += 1
                self.alive[order.epoch] = begun
                self._later(0.0, begun)
                self._later(START_S, Listening(order.id, order.epoch, "http://virtual"))
            case Stop():
                self._later(0.0, Ended(order.id, order.epoch, "exit 0"))
                self.alive.pop(order.epoch, None)
            case Probe():
                self._later(order.after_s, Probed(order.id, order.epoch, well=True))
            case _:
                pass

    def _later(self, after: float, event: Event) -> None:
        heapq.heappush(self._events, (self.now + after, next(self._numbers), event))
