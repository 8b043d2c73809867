"""Which replica gets a request. Pure: routes, loads, failures and `now` come in, a replica or a refusal comes out.

The table says who can take it; among those, the policy chooses (`gateway.policies`). A replica that could not be
reached is left out for a while, and is then tried by one request, the probe, before it gets others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import exp

from colonnade.gateway.affinity import Index
from colonnade.gateway.ask import NOTHING, Ask
from colonnade.gateway.policies import Policy
from colonnade.gateway.policies.least_load import LeastLoad
from colonnade.gateway.target import Target
from colonnade.wire.errors import ColonnadeError, InvalidRequest, Overloaded, ReplicaLost
from colonnade.wire.prefix import Link
from colonnade.wire.routes import Route, Routes

__all__ = ["EJECTION", "Charge", "RetryBudget", "Table", "Target"]

EJECTION = 1.0
"""Seconds that a replica is left out after a connection to it failed."""


class Table:
    """All replicas, by the names that requests ask for."""

    def __init__(self, policy: Policy | None = None, slots: int = 0) -> None:
        """`slots`: requests that a replica is given at a time; 0: as many as it says it computes."""
        self.policy = policy or LeastLoad()
        self._slots = slots
        self.index = Index()
        self.targets: dict[str, Target] = {}
        """By epoch."""
        self._by_name: dict[str, list[Target]] = {}
        self._deployed: frozenset[str] = frozenset()
        self._shares: dict[str, dict[str, float]] = {}
        """By name, where several versions serve: what each gets."""
        self.resting: frozenset[str] = frozenset()
        """Deployed, and without a replica until a request comes."""
        self._turn = 0
        self._answer = ANSWER
        self._faded_at = 0.0

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
        self._shares = {}
        for each in routes.shares:
            self._shares.setdefault(each.model, {})[each.version] = each.share
        came = [target for epoch, target in self.targets.items() if before.get(epoch) is not target]
        went = [target for epoch, target in before.items() if self.targets.get(epoch) is not target]
        for target in went:
            self.index.forget(target.route.epoch)
        return came, went

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

    def asks(self, model: str) -> bool:
        """Whether there is a choice that depends on what a request begins with."""
        return self.policy.reads and len(self._by_name.get(model, ())) > 1

    def choose(
        self,
        model: str,
        now: float,
        without: Collection[Target] = (),
        epoch: str = "",
        fingerprint: str = "",
        ask: Ask = NOTHING,
        noise: float = 0.0,
        *,
        late: bool = False,
    ) -> Target:
        """The replica for a request, which counts as in flight there from now on (`release` ends that).

        `without`: tried already. `epoch`: the life that holds the stream which the request goes on with; taken
        wherever it is still there. `fingerprint`: that of the answer which it goes on with. `ask`, `noise`: for the
        policy. `late`: only one that has a slot free (late binding). Raises InvalidRequest (no such model), Overloaded
        (none ready, none free) or ReplicaLost (all are of other fingerprints).
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
            able = [target for target in targets if target.open(now) and target not in without]
            if shares := self._shares.get(targets[0].route.model):
                able, noise = by_share(able, shares, noise)
            free = [target for target in able if target.room(self._slots, now)] if late else able
            if not free:
                raise _none_free(model) if able else _none_open(model)
            if ask is not NOTHING:
                self._weigh(ask, free)
            best = self.policy.pick(ask, free, noise) if len(free) > 1 else free[0]
        best.probing = best.ejected_until > 0
        self._turn += 1
        best.turn = self._turn
        if not best.in_flight:
            best.pulse.begin(now)
        best.in_flight += 1
        return best

    def others(self, model: str, now: float, without: Collection[Target]) -> bool:
        """Whether `choose` would find one."""
        return any(target.open(now) and target not in without for target in self.serving(model))

    def better(self, model: str, now: float, stalled: Target, fingerprint: str) -> bool:
        """Whether another one can take what is there."""
        others = (target for target in self.serving(model) if target is not stalled)
        return any(target.open(now) and not target.stalled(now) and target.fits(fingerprint) for target in others)

    def reachable(self, model: str, now: float) -> bool:
        """Whether any replica of it takes requests at all."""
        return any(target.open(now) for target in self.serving(model))

    def free(self, model: str, now: float) -> bool:
        """Whether one of them would be computed at once."""
        return any(target.open(now) and target.room(self._slots, now) for target in self.serving(model))

    @property
    def usual(self) -> float:
        """Tokens of an answer, as they were of late."""
        return self._answer

    def _weigh(self, ask: Ask, targets: list[Target]) -> None:
        """What is known of the request's tokens: the whole by its bytes, and what each of these holds of it."""
        index = self.index
        ask.answer = ask.answer or self._answer
        if not ask.links:
            return
        ask.cached = index.cached(ask.links, [target.route.epoch for target in targets])
        ask.tokens = ask.tokens or ask.links[-1].size * index.tokens_per_byte

    def _absent(self, model: str) -> ColonnadeError:
        if model in self._deployed:
            return Overloaded(
                f"{model} has no ready replica yet", hint="`colonnade ps` says how far they are", code="no_replica"
            )
        names = ", ".join(self.names()) or "none"
        return InvalidRequest(
            f"there is no model {model[:100]!r}", hint=f"deployed: {names}", param="model", code="model_not_found"
        )

    # --- what was sent and has not begun to be answered

    def charge(self, target: Target, ask: Ask, now: float, *, heard: bool) -> Charge:
        """The request goes there now; `settle` the charge when its answer begins, or when it comes to nothing.
        `heard`: when its prompt is computed, that will be heard."""
        tokens = ask.uncached(target.route.epoch)
        self._fade(now)
        target.recent += tokens
        ahead = max(target.left(now), target.load.prefill)
        target.backlog += tokens
        target.due = max(target.due, now) + tokens / target.rates.prefill
        target.unbegun += heard
        self.index.coming(target.route.epoch, ask.links, 1)
        return Charge(target, ask.links, tokens, ahead + tokens, now, heard)

    def _fade(self, now: float) -> None:
        """All at once, so that they stay comparable at any time."""
        share = exp((self._faded_at - now) / RECENT)
        self._faded_at = now
        for target in self.targets.values():
            target.recent *= share

    def settle(self, charge: Charge, now: float) -> None:
        target = charge.target
        target.backlog = max(0.0, target.backlog - charge.tokens)
        target.due = now + target.backlog / target.rates.prefill
        target.unbegun -= charge.heard
        self.index.coming(target.route.epoch, charge.links, -1)

    def answered(self, target: Target, seconds: float) -> None:
        """An answer took so long from its first byte to its last."""
        steps = min(seconds / target.rates.step, LONGEST_ANSWER)
        self._answer += (steps - self._answer) * 0.02

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


def by_share(able: list[Target], shares: Mapping[str, float], noise: float) -> tuple[list[Target], float]:
    """Those of the version that chance picks, and what is left of chance. A version without a replica that can serve
    leaves its share to the others; where none has a share, all may serve."""
    there = {target.route.version for target in able}
    found = [(version, share) for version, share in sorted(shares.items()) if share > 0 and version in there]
    point = noise * sum(share for _, share in found)
    for version, share in found:
        if point < share or version == found[-1][0]:
            return [target for target in able if target.route.version == version], min(point / share, 1.0)
        point -= share
    return able, noise


RECENT = 30.0
"""Seconds in which what was sent fades to a third."""
ANSWER, LONGEST_ANSWER = 100.0, 4096.0
"""Steps of an answer: before any was seen, and what a longer one counts as."""


@dataclass(frozen=True, slots=True)
class Charge:
    """`tokens` to compute for it, `work` with those before it, sent `at`."""

    target: Target
    links: Sequence[Link]
    tokens: float
    work: float
    at: float
    heard: bool


def _none_open(model: str) -> Overloaded:
    return Overloaded(
        f"no replica of {model} can be reached now", hint="`colonnade ps` says how they are", code="no_replica"
    )


def _none_free(model: str) -> Overloaded:
    return Overloaded(
        f"every replica of {model} has as many requests as it takes", hint="gateway.replica_slots", code="no_slot"
    )


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

    def __init__(self, share: float = 0.1, most: float = 20.0, saved: float | None = None) -> None:
        """`saved`: what it begins with; None: all that it may keep."""
        self._share = share
        self._most = most
        self._tries = most if saved is None else saved

    def earn(self) -> None:
        if self._tries < self._most:
            self._tries = min(self._most, self._tries + self._share)

    def left(self) -> bool:
        return self._tries >= 1

    def spend(self) -> bool:
        """Whether one more try may be made."""
        if not self.left():
            return False
        self._tries -= 1
        return True
