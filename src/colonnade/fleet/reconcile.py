"""From desired and observed to orders. Pure: events and `now` in, orders out; one instance an agent.

    reconciler = Reconciler(Policy(), epochs)
    orders = reconciler.handle(event, now)      Start, Stop, Probe, Note
    reconciler.wake_at()                        when to send Tick, if nothing else happens first
    reconciler.statuses()                       what the control plane is told

An event costs what the deployment that it concerns costs, however many others there are: only what it touched is looked
at again, and what follows from the rest (`fleet.summary`) is kept.

A deployment has *seats*, NAME-0 to NAME-(N-1), and a seat has lives. A life that ends unasked, stalls, or is not ready
in time has *failed*: the seat keeps the reason, counts a restart, and begins again, at once the first time and then at
starts that are further and further apart (`Policy.backoff`). Each seat has a version to run, of the two that there may
be while one comes in (`Deployment.kept` seats stay at `before`). New versions are brought in one seat at a time: the
new life starts beside the old one, and the old one is told to drain when the new one is ready. Other changes of a
deployment touch only the number of seats. Before the first Wanted nothing starts or stops: never down while blind.

Invariants (`validate`): a seat has at most two lives, at most one of them starting, and two only when one of them
serves or drains; ids and epochs are unique; what fails or ends has a reason. (Lives found after a restart of the agent
may break the first two until they were probed or ended.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count

from colonnade.fleet.orders import (
    Begun,
    Closing,
    Ended,
    Event,
    Life,
    Listening,
    Note,
    NoteKind,
    Order,
    Policy,
    Probe,
    Probed,
    Seat,
    Start,
    Stop,
    Tick,
    Wanted,
)
from colonnade.fleet.summary import Summaries, Summary, summarise
from colonnade.fleet.versions import at_version, template
from colonnade.wire.routes import Deployment, ReplicaStatus


class Reconciler:
    """`epochs` gives a new epoch for each life that is started; it comes from outside, for it is random."""

    def __init__(self, policy: Policy, epochs: Iterator[str]) -> None:
        self._policy = policy
        self._epochs = epochs
        self._wanted: dict[str, Deployment] | None = None
        self._closing = ""
        self._seats: dict[str, dict[int, Seat]] = {}
        self._orders: list[Order] = []
        self._summaries = Summaries()

    def handle(self, event: Event, now: float) -> list[Order]:
        touched = dict.fromkeys([*self._apply(event, now), *self._summaries.due(now)])
        for name in touched:
            self._time_out(name, now)
            self._converge(name, now)
            self._summaries.put(name, self._summary(name, now))
        orders, self._orders = self._orders, []
        return orders

    def _apply(self, event: Event, now: float) -> Iterable[str]:
        """Take it in; the deployments that it concerns."""
        match event:
            case Wanted():
                return self._want({each.name: each for each in event.deployments})
            case Begun():
                self._begun(event, now)
                return [event.deployment]
            case Listening():
                self._listening(event)
            case Probed():
                self._probed(event, now)
            case Ended():
                self._ended(event, now)
            case Closing():
                self._closing = event.reason
                return list(self._seats)
            case Tick():
                return []  # what time brings is looked at after every event
        return [event.id.rpartition("-")[0]]

    def _want(self, wanted: dict[str, Deployment]) -> list[str]:
        before, self._wanted = self._wanted, wanted
        if before is None:
            return [*wanted, *self._seats]
        return [name for name in {**wanted, **before} if wanted.get(name) != before.get(name)]

    def wake_at(self) -> float | None:
        """None: time alone changes nothing. Times that have come were acted on when they came."""
        return self._summaries.wake_at()

    def statuses(self) -> tuple[ReplicaStatus, ...]:
        return self._summaries.statuses()

    def unprobed(self) -> int:
        """Lives found listening after a restart of the agent that nobody has asked yet whether they are ready."""
        return self._summaries.unprobed

    def lives(self) -> int:
        return self._summaries.lives

    def _summary(self, name: str, now: float) -> Summary:
        seats = [seat for _, seat in sorted(self._seats.get(name, {}).items())]
        return summarise(seats, self._policy.start_s, now)

    def validate(self) -> None:
        epochs = [life.epoch for _, life in self._lives()]
        assert len(epochs) == len(set(epochs)) == self.lives()
        assert self._summaries.names() == self._seats.keys()
        assert all(self._summaries.of(name).statuses == self._summary(name, 0.0).statuses for name in self._seats)
        for name, seats in self._seats.items():
            for index, seat in seats.items():
                assert (seat.deployment, seat.index) == (name, index)
                self._validate_seat(seat)

    @staticmethod
    def _validate_seat(seat: Seat) -> None:
        if not any(life.adopted for life in seat.lives):
            assert len(seat.lives) <= 2
            assert sum(life.phase == "starting" for life in seat.lives) <= 1
            assert len(seat.lives) < 2 or any(life.ready_at is not None for life in seat.lives)
        assert all(life.why for life in seat.lives if life.phase == "draining")
        assert not seat.failures or seat.reason

    # -- what happened ------------------------------------------------------------------------------------------------

    def _begun(self, event: Begun, now: float) -> None:
        name, index = event.deployment, int(event.id.rpartition("-")[2])
        seat = self._seats.setdefault(name, {}).setdefault(index, Seat(name, index))
        life = _find(seat, event.epoch)
        if life is None:
            life = Life(event, now, adopted=True)
            seat.lives.append(life)
            seat.restarts = max(seat.restarts, event.restarts)
        else:
            life.begun = event
        seat.last_epoch = max(seat.last_epoch, event.epoch)
        if event.stopping and life.phase != "draining":
            life.phase, life.why = "draining", "told to stop by a former agent"

    def _listening(self, event: Listening) -> None:
        _, life = self._at(event.id, event.epoch)
        if life is None or life.url:
            return
        life.url, life.events = event.url, event.events
        if life.phase == "starting":
            self._probe(life, 0.0)

    def _probed(self, event: Probed, now: float) -> None:
        seat, life = self._at(event.id, event.epoch)
        if seat is None or life is None or life.phase == "draining":
            return
        life.looked += 1
        if life.phase == "starting":
            self._probed_starting(seat, life, event, now)
        else:
            self._probed_ready(seat, life, event)

    def _probed_starting(self, seat: Seat, life: Life, event: Probed, now: float) -> None:
        if event.well:
            life.phase, life.ready_at, life.doing = "ready", now, ""
            took = "found ready" if life.adopted else f"ready after {now - life.since:.2f} s"
            self._note("ready", seat, life, took)
            self._probe(life, self._policy.health_probe_s)
        else:
            life.doing = event.doing
            life.busy_at = now if event.doing else life.busy_at
            wait = self._policy.ready_probe_s * 2.0 ** min(life.looked, 32)
            self._probe(life, min(self._policy.ready_probe_limit_s, wait))

    def _probed_ready(self, seat: Seat, life: Life, event: Probed) -> None:
        life.misses = 0 if event.well else life.misses + 1
        if event.stalled:
            self._fail(seat, life, f"stalled: {event.reason}")
        elif life.misses >= self._policy.health_misses:
            self._fail(seat, life, f"no good answer to {life.misses} health probes: {event.reason}")
        else:
            self._probe(life, self._policy.health_probe_s)

    def _ended(self, event: Ended, now: float) -> None:
        seat, life = self._at(event.id, event.epoch)
        if seat is None or life is None:
            return
        seat.lives.remove(life)
        if life.phase == "draining" and not life.failure:
            self._note("ended", seat, life, event.reason)
            return
        seat.reason = life.failure or event.reason
        settled = life.ready_at is not None and now - life.ready_at >= self._policy.backoff_reset_s
        seat.failures = 1 if settled else seat.failures + 1
        seat.restarts += 1
        seat.not_before = max(now, life.since + self._policy.backoff(seat.failures))
        self._note("failed", seat, life, seat.reason)

    def _time_out(self, name: str, now: float) -> None:
        limit = self._policy.start_s
        for seat, life in self._lives_of(name):
            if life.phase == "starting" and now >= life.start_counts_from + limit:
                self._fail(seat, life, f"not ready within {limit:g} s of its start")

    # -- what to do about it ------------------------------------------------------------------------------------------

    def _converge(self, name: str, now: float) -> None:
        if self._wanted is None and not self._closing:
            return
        wanted = {} if self._closing or self._wanted is None else self._wanted
        self._fit(name, wanted.get(name))
        seats = [seat for _, seat in sorted(self._seats.get(name, {}).items()) if not seat.surplus]
        if name in wanted:
            self._assign(seats, wanted[name], now)
        for seat in seats:
            self._mend(seat, now)
        self._roll(seats, now)
        self._clear(name)

    def _fit(self, name: str, wanted: Deployment | None) -> None:
        """As many seats as wanted: the lowest free numbers come, the least useful seats go."""
        number = 0 if wanted is None else wanted.replicas
        seats = self._seats.setdefault(name, {})
        taken = sorted((seat for seat in seats.values() if not seat.surplus), key=self._use)
        for seat in taken[: max(0, len(taken) - number)]:
            seat.surplus = True
            for life in seat.staying:
                self._end(seat, life, self._closing or _surplus_reason(wanted))
        free = (index for index in count() if index not in seats or seats[index].surplus)
        for _ in range(number - len(taken)):
            index = next(free)
            seats.setdefault(index, Seat(name, index)).surplus = False

    def _use(self, seat: Seat) -> tuple[int, int, int]:
        """Least useful first: empty, starting, serving what is old, serving; among equals the highest number."""
        return (2 * seat.serves() + bool(seat.staying), not self._is_old(seat), -seat.index)

    def _is_old(self, seat: Seat) -> bool:
        """It runs what no seat is to run."""
        wanted = (self._wanted or {}).get(seat.deployment)
        return wanted is not None and any(life.begun.template not in _templates(wanted) for life in seat.staying)

    @staticmethod
    def _assign(seats: list[Seat], wanted: Deployment, now: float) -> None:
        """The seats that run the version before keep it, as many as are to."""
        kept: list[Seat] = []
        if wanted.before is not None and wanted.kept:
            old = template(wanted.before)
            kept = sorted(seats, key=lambda seat: (seat.version() != old, seat.index))[: wanted.kept]
        for seat in seats:
            version = at_version(wanted, wanted.before) if wanted.before is not None and seat in kept else wanted
            if seat.version() not in ("", template(version)):
                seat.failures, seat.not_before = 0, now
            seat.wanted = version

    def _mend(self, seat: Seat, now: float) -> None:
        wanted = seat.wanted
        assert wanted is not None
        current = template(wanted)
        for life in seat.staying:
            if life.known_to_start and life.begun.template != current:
                self._end(seat, life, f"generation {wanted.generation} replaces it")
                seat.failures, seat.not_before = 0, now
        ready = [life for life in seat.staying if life.phase == "ready"]
        newest = next((life for life in ready if life.begun.template == current), None)
        for life in ready:
            if newest is not None and life is not newest:
                self._end(seat, life, f"generation {wanted.generation} has replaced it")
        if seat.may_start() and now >= seat.not_before:
            self._start(seat, wanted, now)

    def _roll(self, seats: list[Seat], now: float) -> None:
        """The first seat that serves what is old gets its replacement, when no other is being replaced."""
        if any(len(seat.lives) > 1 for seat in seats):
            return
        seat = next((seat for seat in seats if seat.runs_another()), None)
        if seat is not None and seat.wanted is not None and seat.serves() and now >= seat.not_before:
            self._start(seat, seat.wanted, now)

    def _clear(self, name: str) -> None:
        seats = self._seats[name]
        for index in [index for index, seat in seats.items() if seat.surplus and not seat.lives]:
            del seats[index]
        if not seats:
            del self._seats[name]

    def _start(self, seat: Seat, wanted: Deployment, now: float) -> None:
        epoch = next(self._epochs)
        begun = Begun(seat.id, epoch, seat.deployment, wanted.generation, template(wanted), seat.restarts)
        life = Life(begun, now)
        reason = f"restart {seat.restarts}: {seat.reason}" if seat.failures else f"generation {wanted.generation}"
        seat.lives.append(life)
        seat.last_epoch = epoch
        self._orders.append(Start(seat.id, epoch, wanted, seat.restarts))
        self._note("start", seat, life, reason)

    def _fail(self, seat: Seat, life: Life, reason: str) -> None:
        life.failure = reason
        self._end(seat, life, reason)

    def _end(self, seat: Seat, life: Life, reason: str) -> None:
        serves = life.phase == "ready" and not life.failure
        grace = self._policy.drain_s if serves else self._policy.end_s
        life.phase, life.why = "draining", reason
        self._orders.append(Stop(seat.id, life.epoch, grace, reason))
        self._note("stop", seat, life, reason)

    def _probe(self, life: Life, after: float) -> None:
        kind = "ready" if life.phase == "starting" else "health"
        self._orders.append(Probe(life.begun.id, life.epoch, life.url, kind, after))

    def _note(self, kind: NoteKind, seat: Seat, life: Life, reason: str) -> None:
        self._orders.append(Note(kind, seat.deployment, seat.id, life.epoch, reason))

    # -- who is there -------------------------------------------------------------------------------------------------

    def _lives(self) -> Iterator[tuple[Seat, Life]]:
        for name in self._seats:
            yield from self._lives_of(name)

    def _lives_of(self, name: str) -> Iterator[tuple[Seat, Life]]:
        for seat in self._seats.get(name, {}).values():
            for life in list(seat.lives):
                yield seat, life

    def _at(self, id: str, epoch: str) -> tuple[Seat | None, Life | None]:
        name, _, index = id.rpartition("-")
        seat = self._seats.get(name, {}).get(int(index))
        return seat, None if seat is None else _find(seat, epoch)


def _find(seat: Seat, epoch: str) -> Life | None:
    return next((life for life in seat.lives if life.epoch == epoch), None)


def _surplus_reason(wanted: Deployment | None) -> str:
    return "the deployment was removed" if wanted is None else f"scaled down to {wanted.replicas}"


def _templates(wanted: Deployment) -> set[str]:
    before = wanted.before if wanted.kept else None
    return {template(wanted)} if before is None else {template(wanted), template(before)}
