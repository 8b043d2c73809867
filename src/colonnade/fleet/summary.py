"""What follows from the seats of each deployment, kept so that a change of one costs nothing for the others. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import chain

from colonnade.fleet.orders import Life, Seat
from colonnade.fleet.versions import name_of
from colonnade.wire.routes import ReplicaStatus


@dataclass(frozen=True)
class Summary:
    """`wake`: when time alone will change something; `unprobed`: see `Reconciler.unprobed`; `lives`: how many."""

    statuses: tuple[ReplicaStatus, ...] = ()
    wake: float | None = None
    unprobed: int = 0
    lives: int = 0


class Summaries:
    """By deployment. `unprobed` and `lives` are the sums over all."""

    def __init__(self) -> None:
        self.unprobed = 0
        self.lives = 0
        self._by_name: dict[str, Summary] = {}
        self._wakes: list[tuple[float, str]] = []
        """A heap; an entry counts while it is what its summary says."""
        self._told: tuple[ReplicaStatus, ...] | None = ()

    def names(self) -> set[str]:
        return set(self._by_name)

    def of(self, name: str) -> Summary:
        return self._by_name.get(name, Summary())

    def put(self, name: str, summary: Summary) -> None:
        """One of a deployment that has no seats is none."""
        before = self.of(name)
        self.unprobed += summary.unprobed - before.unprobed
        self.lives += summary.lives - before.lives
        if summary.statuses != before.statuses:
            self._told = None
        if summary.wake is not None and summary.wake != before.wake:
            heappush(self._wakes, (summary.wake, name))
        self._by_name[name] = summary
        if not summary.statuses:
            del self._by_name[name]

    def due(self, now: float) -> Iterator[str]:
        """Whose time has come; they are to be put again."""
        while self._wakes and self._wakes[0][0] <= now:
            yield heappop(self._wakes)[1]

    def wake_at(self) -> float | None:
        while self._wakes and self.of(self._wakes[0][1]).wake != self._wakes[0][0]:
            heappop(self._wakes)
        return self._wakes[0][0] if self._wakes else None

    def statuses(self) -> tuple[ReplicaStatus, ...]:
        """Of all, in the order of names."""
        if self._told is None:
            self._told = tuple(chain.from_iterable(each.statuses for _, each in sorted(self._by_name.items())))
        return self._told


def summarise(seats: Sequence[Seat], start_s: float, now: float) -> Summary:
    """Of a deployment's seats. `start_s`: see `Policy`."""
    lives = [life for seat in seats for life in seat.lives]
    times = [life.start_counts_from + start_s for life in lives if life.phase == "starting"]
    times += [seat.not_before for seat in seats if seat.failures]
    found: list[ReplicaStatus] = []
    for seat in seats:
        found += [_status(seat, life) for life in seat.lives] or [_empty_status(seat)]
    return Summary(
        statuses=tuple(found),
        wake=min((time for time in times if time > now), default=None),
        unprobed=sum(bool(life.url) and life.phase == "starting" and not life.known_to_start for life in lives),
        lives=len(lives),
    )


def _status(seat: Seat, life: Life) -> ReplicaStatus:
    timed = life.ready_at is not None and not life.adopted
    return ReplicaStatus(
        id=seat.id,
        deployment=seat.deployment,
        epoch=life.epoch,
        state=life.phase,
        pid=life.begun.pid,
        url=life.url,
        events=life.events,
        reason=life.why or life.doing or seat.reason,
        restarts=seat.restarts,
        started_at=life.begun.started_at,
        ready_s=round(life.ready_at - life.since, 3) if timed and life.ready_at is not None else None,
        generation=life.begun.generation,
        version=name_of(life.begun.template),
        target=_target(seat),
        failures=seat.failures,
        facts=_facts(life),
    )


def _target(seat: Seat) -> str:
    return name_of(seat.version()) if seat.version() else ""


def _facts(life: Life) -> dict[str, str | int | float | bool]:
    facts = {"log": life.begun.log, "doing": life.doing if life.phase == "starting" else ""}
    return {name: fact for name, fact in facts.items() if fact}


def _empty_status(seat: Seat) -> ReplicaStatus:
    return ReplicaStatus(
        id=seat.id,
        deployment=seat.deployment,
        epoch=seat.last_epoch,
        state="failed",
        reason=seat.reason or "about to start",
        restarts=seat.restarts,
        version=_target(seat),
        target=_target(seat),
        failures=seat.failures,
    )
