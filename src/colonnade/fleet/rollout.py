"""Whether a new version goes on, waits, or goes back. Pure: what both versions did and `now` in, a verdict out.

A rollout has steps, shares of the requests. A step ends well when it has lasted `rollout.step` seconds with all of its
replicas ready and the new version has answered `rollout.requests` requests; after PATIENCE times as long, fewer will
do. It ends badly, at any time, for one of three reasons:

- **It does not run**: a replica of it failed FAILURES times in a row.
- **Errors**: the share of its requests that failed is above the old version's by more than `rollout.errors`, with
  97.5 % certainty (the lower bound of E. B. Wilson's score interval, "Probable inference", JASA 1927).
- **Latency**: its p95 to the first byte is above `rollout.latency` times the old version's, where both have answered
  enough: the lower bound of the one against the upper bound of the other, by the normal approximation of an order
  statistic (95 % each), and SLACK_S at least.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Literal

from colonnade.fleet.versions import share_of, version_of
from colonnade.wire.buckets import quantile
from colonnade.wire.routes import Demands, Deployment, Outcome, ReplicaStatus, Rollout

FAILURES = 3
PATIENCE = 5.0
SLACK_S = 0.05
FORGET_S = 3600.0
"""A gateway that was not heard for so long is gone."""


@dataclass
class Seen:
    """What one version did since the step began. `first`: `wire.buckets` of the time to the first byte."""

    requests: int = 0
    errors: int = 0
    first: Counter[int] = field(default_factory=Counter[int])

    def add(self, now: Outcome, before: Outcome | None) -> None:
        """Outcomes count from the gateway's start; only what is new counts here."""
        self.requests += now.requests - (before.requests if before else 0)
        self.errors += now.errors - (before.errors if before else 0)
        known: Mapping[int, int] = before.first if before else {}
        for index, count in now.first.items():
            self.first[index] += count - known.get(index, 0)


@dataclass(frozen=True)
class Standing:
    """The new version's replicas: how many serve, how many should, and why one keeps failing, if one does."""

    ready: int
    wanted: int
    failing: str = ""


@dataclass(frozen=True)
class Verdict:
    kind: Literal["wait", "next", "done", "back"]
    reason: str


def standing(statuses: Iterable[ReplicaStatus], version: str, wanted: int) -> Standing:
    of_it = [each for each in statuses if each.target == version]
    ready = sum(each.state == "ready" and each.version == version for each in of_it)
    failing = next((f"{each.id}: {each.reason}" for each in of_it if each.failures >= FAILURES), "")
    return Standing(ready, wanted, failing)


def worse(rollout: Rollout, new: Seen, old: Seen) -> str:
    """Why the new version is worse than the old one; empty when nothing says so."""
    usual = old.errors / old.requests if old.requests else 0.0
    if _wilson_low(new.errors, new.requests) > usual + rollout.errors:
        return (
            f"{new.errors} of its {new.requests} requests failed, of the version before {old.errors} of {old.requests}"
        )
    if min(sum(new.first.values()), sum(old.first.values())) < max(rollout.requests, 1):
        return ""
    least, most = _p95(new.first, -1), _p95(old.first, +1)
    if least > most * rollout.latency + SLACK_S:
        return f"its p95 to the first byte is above {least:.2f} s, that of the version before below {most:.2f} s"
    return ""


def _wilson_low(errors: int, requests: int, z: float = 1.96) -> float:
    if not errors:
        return 0.0
    share, z2 = errors / requests, z * z / requests
    return (share + z2 / 2 - z * sqrt(share * (1 - share) / requests + z2 / (4 * requests))) / (1 + z2)


def _p95(counts: Mapping[int, int], side: int) -> float:
    """Its lower (-1) or upper (+1) bound with 95 % certainty, in seconds."""
    share = 0.95 + side * 1.645 * sqrt(0.95 * 0.05 / sum(counts.values()))
    return quantile(counts, min(max(share, 0.0), 1.0))


class Trial:
    """One rollout's step under way."""

    def __init__(self, version: str, stage: int) -> None:
        self.version = version
        self.stage = stage
        self.seen: dict[str, Seen] = {}
        self._since: float | None = None

    def decide(self, deployment: Deployment, at: Standing, now: float) -> Verdict:
        """`deployment` is at this stage of a rollout."""
        rollout, before = deployment.rollout, deployment.before
        assert rollout is not None
        assert before is not None
        new, old = self.seen.get(self.version, Seen()), self.seen.get(version_of(before), Seen())
        if at.failing:
            return Verdict("back", f"its replicas fail: {at.failing}")
        if why := worse(rollout, new, old):
            return Verdict("back", why)
        if at.ready < at.wanted:
            return Verdict("wait", f"{at.ready} of its {at.wanted} replicas are ready")
        self._since = now if self._since is None else self._since
        return self._by_time(rollout, new, share_of(deployment), now - self._since)

    def _by_time(self, rollout: Rollout, new: Seen, share: float, lasted: float) -> Verdict:
        said = f"{new.requests} requests, {new.errors} failed, at {share:.0%} for {lasted:.0f} s"
        enough = new.requests >= rollout.requests or lasted >= rollout.step * PATIENCE
        if lasted < rollout.step or not enough:
            return Verdict("wait", said)
        return Verdict("next" if self.stage + 1 < len(rollout.steps) else "done", said)


class RolloutBook:
    """The trials under way, fed by what gateways report."""

    def __init__(self) -> None:
        self._trials: dict[str, Trial] = {}
        self._told: dict[str, tuple[float, dict[tuple[str, str], Outcome]]] = {}

    def take(self, demands: Demands, now: float) -> None:
        """What a gateway counted before its first word here is the past's."""
        outcomes = {(each.deployment, each.version): each for each in demands.outcomes}
        known = self._told.get(demands.gateway)
        self._told[demands.gateway] = now, outcomes
        for (deployment, version), outcome in outcomes.items():
            if known is not None and deployment in self._trials:
                seen = self._trials[deployment].seen.setdefault(version, Seen())
                seen.add(outcome, known[1].get((deployment, version)))

    def decide(self, deployment: Deployment, at: Standing, now: float) -> Verdict:
        """Of a deployment with a rollout under way."""
        assert deployment.stage is not None
        version, trial = version_of(deployment), self._trials.get(deployment.name)
        if trial is None or (trial.version, trial.stage) != (version, deployment.stage):
            trial = self._trials[deployment.name] = Trial(version, deployment.stage)
        return trial.decide(deployment, at, now)

    def keep(self, names: Iterable[str], now: float) -> None:
        """Forget all other trials, and gateways that are gone."""
        wanted = set(names)
        self._trials = {name: trial for name, trial in self._trials.items() if name in wanted}
        self._told = {name: said for name, said in self._told.items() if said[0] >= now - FORGET_S}
