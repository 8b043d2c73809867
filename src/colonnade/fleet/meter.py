"""How long replicas ran, in stretches that lie end to end. Pure: what runs and `now` in, stretches out.

A life is metered from its start to its end, a stretch at a time: each begins where the one before ended, so that the
sum of a life's stretches is its length, and a stretch that is told twice is known by its life and its beginning. An
agent that takes over from another goes on at the last stretch's end (`marks`), as if it had been there all the time; of
a life that ended while nobody watched, the time after the last stretch is nobody's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from colonnade.wire.routes import ReplicaStatus, Stretch

STRETCH_MS = 10_000


@dataclass(frozen=True)
class Rate:
    """What a replica takes of which resource, whose it is, and the version of the prices that holds."""

    resource: str = "cpu"
    amount: float = 1.0
    owner: str = "managed"
    price: str = ""


@dataclass
class _Open:
    status: ReplicaStatus
    begun: int
    rate: Rate


class Meter:
    """Of one agent. `marks`: where the stretches of lives ended that a former agent metered, by epoch; ms since 1970.
    `rate_of`: of a deployment, at this moment."""

    def __init__(self, marks: Mapping[str, int], rate_of: Callable[[str], Rate]) -> None:
        self._marks = dict(marks)
        self._rate_of = rate_of
        self._open: dict[str, _Open] = {}

    def look(self, statuses: Iterable[ReplicaStatus], now: int) -> tuple[Stretch, ...]:
        """To be called when anything has changed, and once in a stretch."""
        running = {each.epoch: each for each in statuses if each.state != "failed" and each.started_at > 0}
        found: list[Stretch] = []
        for epoch, status in running.items():
            if epoch not in self._open:
                begun = self._marks.pop(epoch, round(status.started_at * 1000))
                self._open[epoch] = _Open(status, begun, self._rate_of(status.deployment))
        for epoch, open in list(self._open.items()):
            over = epoch not in running
            if over or now - open.begun >= STRETCH_MS:
                found += self._cut(open, now)
            if over:
                del self._open[epoch]
        return tuple(found)

    def running(self) -> frozenset[str]:
        """The epochs that are metered, and those that were before this agent's time and were not seen yet."""
        return frozenset(self._open) | self._marks.keys()

    def settle(self) -> None:
        """All that runs was seen: whatever else was marked has ended."""
        self._marks.clear()

    def _cut(self, open: _Open, now: int) -> list[Stretch]:
        """A clock that was set back makes no stretch; the next one is the longer."""
        begun, status, rate = open.begun, open.status, open.rate
        if now <= begun:
            return []
        open.begun, open.rate = now, self._rate_of(status.deployment)
        life = (status.id, status.epoch, status.deployment, status.version)
        return [Stretch(*life, begun, now, rate.resource, rate.amount, rate.owner, rate.price)]
