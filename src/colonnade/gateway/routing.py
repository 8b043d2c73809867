"""Which replica gets a request. Pure: routes, loads, failures and `now` come in, a replica or a refusal comes out.

Least loaded: what this gateway has in flight there, plus what the replica published as running and waiting; then the
fewest tokens; then whose turn it is. A replica that could not be reached is left out for a while, and is then tried by
one request, the probe, before it gets others.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from colonnade.gateway.pulse import Pulse
from colonnade.wire.errors import ColonnadeError, InvalidRequest, Overloaded, ReplicaLost
from colonnade.wire.messages import Load
from colonnade.wire.routes import Route, Routes

EJECTION = 1.0
"""Seconds that a replica is left out after a connection to it failed."""


@dataclass(slots=True, eq=False)
class Target:
    """One life of a replica, and all that this gateway knows of it."""

    route: Route
    in_flight: int = 0
    load: Load = field(default_factory=Load)
    leaving: bool = False
    """It said that it drains or has failed."""
    ejected_until: float = 0.0
    probing: bool = False
    turn: int = 0
    fingerprint: str = ""
    """Of its numerics, once an answer has told it."""

    pulse: Pulse = field(default_factory=Pulse)

    def stalled(self, now: float) -> bool:
        """It has work of ours and makes no progress."""
        return self.in_flight > 0 and self.pulse.stalled(now)

    def fits(self, fingerprint: str) -> bool:
        """Whether it may be of this fingerprint; "" is any."""
        return not fingerprint or self.fingerprint in ("", fingerprint)

    def open(self, now: float) -> bool:
        return not self.leaving and not self.probing and now >= self.ejected_until

    def rank(self) -> tuple[int, int, int]:
        load = self.load
        return (self.in_flight + load.running + load.waiting, load.tokens, self.turn)


class Table:
    """All replicas, by the names that requests ask for."""

    def __init__(self) -> None:
        self.targets: dict[str, Target] = {}
        """By epoch."""
        self._by_name: dict[str, list[Target]] = {}
        self._deployed: frozenset[str] = frozenset()
        self.resting: frozenset[str] = frozenset()
        """Deployed, and without a replica until a request comes."""
        self._turn = 0

    def update(self, routes: Routes) -> tuple[list[Target], list[Target]]:
        """Take over what is routed now; what is known of lives that go on is kept. Returns those that came, those that
        went: an epoch that ended is forgotten, and what it still says with it."""
        before = self.targets
        self.targets = {route.epoch: self._kept(route) for route in routes.routes}
        self._by_name = {}
        for target in self.targets.values():
            for name in dict.fromkeys((target.route.model, *target.route.aliases)):
                self._by_name.setdefault(name, []).append(target)
        self._deployed = frozenset(routes.models)
        self.resting = frozenset(routes.resting)
        came = [target for epoch, target in self.targets.items() if before.get(epoch) is not target]
        return came, [target for epoch, target in before.items() if self.targets.get(epoch) is not target]

    def _kept(self, route: Route) -> Target:
        known = self.targets.get(route.epoch)
        if known is None or known.route.url != route.url:
            return Target(route)
        known.route = route
        return known

    def names(self) -> list[str]:
        """Every name that a request may ask for, ready or not."""
        return sorted(self._deployed | self._by_name.keys())

    @property
    def deployed(self) -> frozenset[str]:
        """Names of deployments, ready or not."""
        return self._deployed

    @property
    def only(self) -> str:
        """The model where there is one alone, else ""."""
        models = self._deployed | {target.route.model for target in self.targets.values()}
        return next(iter(models)) if len(models) == 1 else ""

    def serving(self, model: str) -> list[Target]:
        return self._by_name.get(model, [])

    def choose(
        self, model: str, now: float, without: Collection[Target] = (), epoch: str = "", fingerprint: str = ""
    ) -> Target:
        """The replica for a request, which counts as in flight there from now on (`release` ends that).

        `without`: tried already. `epoch`: the life that holds the stream which the request goes on with; taken
        wherever it is still there. `fingerprint`: that of the answer which the request goes on with. Raises
        InvalidRequest (no such model), Overloaded (none ready) or ReplicaLost (all are of other fingerprints).
        """
        targets = self._by_name.get(model)
        if not targets:
            raise self._absent(model)
        if fingerprint:
            targets = [target for target in targets if target.fits(fingerprint)]
            if not targets:
                raise _all_differ(model)
        best = self.targets.get(epoch) if epoch else None
        if best is None or best in without or best not in targets:
            best = self._least(targets, now, without)
        if best is None:
            raise Overloaded(
                f"no replica of {model} can be reached now", hint="`colonnade ps` says how they are", code="no_replica"
            )
        best.probing = best.ejected_until > 0
        self._turn += 1
        best.turn = self._turn
        if not best.in_flight:
            best.pulse.begin(now)
        best.in_flight += 1
        return best

    def others(self, model: str, now: float, without: Collection[Target]) -> bool:
        """Whether `choose` would find one."""
        return self._least(self.serving(model), now, without) is not None

    def better(self, model: str, now: float, stalled: Target, fingerprint: str) -> bool:
        """Whether another one can take what is there."""
        others = (target for target in self.serving(model) if target is not stalled)
        return any(target.open(now) and not target.stalled(now) and target.fits(fingerprint) for target in others)

    @staticmethod
    def _least(targets: Collection[Target], now: float, without: Collection[Target]) -> Target | None:
        """A plain loop: this runs for every request. One replica alone is not compared with itself."""
        best, rank = None, None
        for target in targets:
            if target.open(now) and target not in without:
                if len(targets) == 1:
                    return target
                its = target.rank()
                if rank is None or its < rank:
                    best, rank = target, its
        return best

    def _absent(self, model: str) -> ColonnadeError:
        if model in self._deployed:
            return Overloaded(
                f"{model} has no ready replica yet", hint="`colonnade ps` says how far they are", code="no_replica"
            )
        names = ", ".join(self.names()) or "none"
        return InvalidRequest(
            f"there is no model {model[:100]!r}", hint=f"deployed: {names}", param="model", code="model_not_found"
        )

    @staticmethod
    def release(target: Target, *, probe: bool) -> None:
        """A request is no longer in flight there. A probe that ended without a word lets the next one try."""
        assert target.in_flight > 0
        target.in_flight -= 1
        target.probing = target.probing and not probe

    @staticmethod
    def reached(target: Target) -> None:
        """It answered: whatever was held against it is over."""
        target.ejected_until = 0.0
        target.probing = False

    @staticmethod
    def unreachable(target: Target, now: float) -> None:
        target.ejected_until = now + EJECTION
        target.probing = False


def _all_differ(model: str) -> ReplicaLost:
    return ReplicaLost(
        f"the replica was lost, and the others of {model} compute with other numerics",
        hint="send the request again: the answer may differ",
        code="other_fingerprint",
    )


class RetryBudget:
    """Second tries are a fraction of first ones, so that a failing fleet is not asked twice as often.

    Each request earns `share` of a try, `most` are kept. After gRPC's retry throttling (A6) and Finagle's budgets.
    """

    def __init__(self, share: float = 0.1, most: float = 20.0) -> None:
        self._share = share
        self._most = most
        self._tries = most

    def earn(self) -> None:
        self._tries = min(self._most, self._tries + self._share)

    def spend(self) -> bool:
        """Whether one more try may be made."""
        if self._tries < 1:
            return False
        self._tries -= 1
        return True
