"""The control plane: what is wanted, who may ask, what every cluster last reported. HTTP is `fleet.api`'s.

State lives in memory and in the store, and is changed here only: first checked, then stored, then told to those who
wait. Data planes do not need it: agents and gateways go on with what they heard last, and a control plane that starts
again knows at once what it knew, the clusters' last reports included.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec.structs import replace

from colonnade.fleet.apikeys import ApiKeys
from colonnade.fleet.autoscale import Decision
from colonnade.fleet.board import Board
from colonnade.fleet.budgeting import Budgeting, named
from colonnade.fleet.change import Change, check, check_generation, check_name
from colonnade.fleet.clusters import Cluster, alike
from colonnade.fleet.demand import Counts, DemandBook
from colonnade.fleet.keys import new_pepper
from colonnade.fleet.ledger import DIMENSIONS, Used
from colonnade.fleet.placement import part_of
from colonnade.fleet.placing import PlacementBook
from colonnade.fleet.rollout import RolloutBook, Verdict, standing
from colonnade.fleet.store import EVERY, Logged, Only, Store
from colonnade.fleet.tokens import Tokens
from colonnade.fleet.versions import numbers, share_of, succeed, version_of, went_back
from colonnade.fleet.views import global_id, routes_of
from colonnade.wire.errors import Conflict, InvalidRequest, NotFound
from colonnade.wire.routes import (
    Demands,
    Deployment,
    Desired,
    Happening,
    Observed,
    ReplicaStatus,
    Routes,
    Version,
)

LOST_S = 20.0
_REVISIONS_PER_START = 10**9
"""Revisions of one start of the control plane are above all of the start before."""


class ControlPlane:
    """Made by `open`. `auth`: whether gateways ask for keys. `clock`: Unix seconds."""

    def __init__(self, store: Store, begins: int, pepper: str, auth: bool, clock: Callable[[], float]) -> None:
        self._store = store
        self._pepper = pepper
        self._auth = auth
        self._clock = clock
        self._source = f"control-{begins}"
        self.tokens = Tokens(store, pepper, f"tokens-{begins}", clock)
        self._numbers = 0
        self._first = begins * _REVISIONS_PER_START
        self._deployments: dict[str, Deployment] = {}
        self.keys = ApiKeys(store, pepper, self._event, self._publish, clock)
        self._budgets = Budgeting(store)
        self._observed: dict[str, Observed] = {}
        self._seen: dict[str, float] = {}
        self._demand = DemandBook()
        self._rollouts = RolloutBook()
        self._places = PlacementBook({}, clock(), LOST_S)
        self._desired: dict[str, Board[tuple[Deployment, ...]]] = {}
        self._routes = Board(self._first, self._view())
        self._changing = asyncio.Lock()

    @classmethod
    async def open(
        cls, store: Store, auth: bool = True, clock: Callable[[], float] = time.time, lost_after: float = LOST_S
    ) -> ControlPlane:
        plane = cls(store, await store.begin(), await store.setting("pepper", new_pepper()), auth, clock)
        plane._deployments = {each.name: each for each in await store.deployments()}
        await plane.keys.read()
        plane._observed = {each.cluster: each for each in await store.observed()}
        stored = await store.setting("placement", "{}")
        plane._places = PlacementBook(msgspec.json.decode(stored, type=dict[str, dict[str, int]]), clock(), lost_after)
        await plane.tokens.read()
        await plane._budgets.look(plane.keys.all(), plane.deployments(), clock())
        plane._publish()
        return plane

    def close(self) -> None:
        """Answer everyone who waits."""
        for board in (self._routes, *self._desired.values()):
            board.close()

    # -- deployments --------------------------------------------------------------------------------------------------

    def deployments(self) -> list[Deployment]:
        return [each for _, each in sorted(self._deployments.items())]

    def deployment(self, name: str) -> Deployment:
        if name not in self._deployments:
            raise NotFound(f"no deployment {name!r}", hint="GET /v1/deployments lists them", code="no_such_deployment")
        return self._deployments[name]

    async def deploy(self, name: str, change: Change) -> Deployment:
        """The deployment as it is now; its generation grew if anything changed."""
        check(name, change)
        async with self._changing:
            return await self._deploy(name, change)

    async def _deploy(self, name: str, change: Change) -> Deployment:
        before = self._deployments.get(name)
        generation = before.generation if before else 0
        check_generation(before or Deployment(name, "", generation=0), change.generation)
        replicas = change.replicas if change.replicas is not None else before.replicas if before else 1
        if change.scaling is not None:
            replicas = min(max(replicas, change.scaling.min), change.scaling.max)
        wanted = Deployment(name, change.model, replicas, generation, change.settings, change.scaling, change.rollout)
        wanted = replace(wanted, resources=change.resources, placement=change.placement, budget=change.budget)
        wanted = wanted if before is None else succeed(before, wanted)
        if wanted == before:
            return wanted
        wanted = replace(wanted, generation=generation + 1)
        reason = f"{wanted.replicas} of {wanted.model}, generation {wanted.generation}, version {version_of(wanted)}"
        if wanted.stage is not None:
            reason += f", to {share_of(wanted):.0%} of the requests at first"
        return await self._keep(wanted, "deployed", reason)

    async def _keep(self, wanted: Deployment, kind: str, reason: str) -> Deployment:
        await self._store.put_deployment(wanted, self._event(kind, wanted.name, reason, of_deployment=True))
        self._deployments[wanted.name] = wanted
        self._publish()
        return wanted

    async def roll_back(self, name: str, to: str = "", generation: int | None = None) -> Deployment:
        """At once to the version before, or to one of those that the deployment had. Raises Conflict where there is
        none."""
        async with self._changing:
            now = self.deployment(name)
            check_generation(now, generation)
            wanted = await self._rolled_back(now, to)
            reason = (
                f"asked for: from version {version_of(now)} to {version_of(wanted)}, generation {wanted.generation}"
            )
            return await self._keep(wanted, "rolled back", reason)

    async def _rolled_back(self, now: Deployment, to: str) -> Deployment:
        if now.before is not None and to in ("", version_of(now.before)):
            return replace(went_back(now), generation=now.generation + 1)
        known = dict(await self._store.versions(now.name))
        if to not in known or to == version_of(now):
            had = ", ".join(name for name in known if name != version_of(now)) or "none"
            what = f"no other version {to!r}" if to else "no version before this one"
            raise Conflict(f"{now.name} has had {what}", hint=f"it had: {had}", code="no_such_version")
        return replace(went_back(replace(now, before=known[to])), generation=now.generation + 1)

    async def promote(self, source: str, name: str, generation: int | None = None) -> Deployment:
        """The version of one deployment comes into another, which keeps its numbers and its way of rolling out."""
        spec, now = self.deployment(source), self._deployments.get(name)
        if spec.stage is not None:
            raise Conflict(
                f"{source} is in the middle of a rollout",
                hint="promote what it has settled on: `colonnade fleet events` shows how far it is",
                code="rollout_under_way",
            )
        like = now or spec
        replicas = None if now is not None or spec.scaling is not None else spec.replicas
        kept = {"scaling": like.scaling, "rollout": like.rollout}
        kept |= {"resources": like.resources, "placement": like.placement, "budget": like.budget}
        change = Change(spec.model, replicas, spec.settings, generation, **kept)
        return await self.deploy(name, change)

    async def versions(self, name: str) -> list[tuple[str, Version]]:
        """Those that the deployment has had, the first first."""
        self.deployment(name)
        return list(await self._store.versions(name))

    async def judge(self) -> None:
        """Look at each rollout under way, and take its next step."""
        under_way = [each for each in self.deployments() if each.stage is not None]
        self._rollouts.keep((each.name for each in under_way), self._clock())
        for deployment in under_way:
            mine = [status for _, status in self.replicas() if status.deployment == deployment.name]
            at = standing(mine, version_of(deployment), numbers(deployment).fresh)
            verdict = self._rollouts.decide(deployment, at, self._clock())
            if verdict.kind != "wait":
                async with self._changing:
                    await self._step(deployment, verdict)

    async def _step(self, judged: Deployment, verdict: Verdict) -> None:
        """Only a step back is a change of what people asked for: it makes a generation."""
        now = self._deployments.get(judged.name)
        if now is None or now != judged or now.stage is None:
            return
        version = version_of(now)
        if verdict.kind == "back":
            wanted = replace(went_back(now), generation=now.generation + 1)
            await self._keep(wanted, "rolled back", f"version {version} to {version_of(wanted)}: {verdict.reason}")
        elif verdict.kind == "next":
            wanted = replace(now, stage=now.stage + 1)
            await self._keep(wanted, "ramped", f"version {version} to {share_of(wanted):.0%}: {verdict.reason}")
        else:
            await self._keep(replace(now, stage=None), "rolled out", f"version {version}: {verdict.reason}")

    async def take_demand(self, demands: Demands) -> None:
        if demands.demands:  # else it tells what a life that is over has left
            self._demand.take(demands, self._clock())
        self._rollouts.take(demands, self._clock())
        if demands.tokens:
            await self._store.keep_tokens(demands.gateway, demands.tokens)

    async def used(self, by: Sequence[str], since: float) -> list[Used]:
        """Raises InvalidRequest for what usage cannot be told apart by."""
        wrong = next((each for each in by if each not in DIMENSIONS), None)
        if wrong is not None:
            raise InvalidRequest(f"usage is not known by {wrong!r}", hint="by " + ", ".join(DIMENSIONS), param="by")
        lines = await self._store.used(by, since)
        if len(by) != 1:
            return lines
        budgets = named(self._budgets.limits, by[0])
        return [replace(each, budget=budgets.get(each.group[by[0]], "")) for each in lines]

    async def spend(self) -> None:
        """Look at the budgets; gateways hear of what is used up, and of what is there again."""
        now = self._clock()
        turns = await self._budgets.look(self.keys.all(), self.deployments(), now)
        self._publish()
        for turn in turns:
            event = self._event(turn.kind, turn.limit.name, turn.reason, of_deployment=turn.limit.of == "deployment")
            await self._store.tell(event)

    async def autoscale(self) -> None:
        """Look at the demand, and change what it asks to be changed."""
        scaled = {each.name: each.scaling for each in self.deployments() if each.scaling is not None}
        for name, decision in self._demand.decide(scaled, self._counts(scaled), self._clock()):
            async with self._changing:
                await self._rescale(name, decision)

    async def _rescale(self, name: str, decision: Decision) -> None:
        """The generation stays: it counts what people have changed."""
        before = self._deployments.get(name)
        if before is None or before.scaling is None or before.replicas == decision.replicas:
            return
        wanted = replace(before, replicas=decision.replicas)
        await self._keep(wanted, "scaled", f"{before.replicas} -> {wanted.replicas}: {decision.reason}")

    def _counts(self, names: Iterable[str]) -> dict[str, Counts]:
        ready = Counter(status.deployment for _, status in self.replicas() if status.state == "ready")
        return {name: Counts(self._deployments[name].replicas, ready[name]) for name in names}

    async def remove(self, name: str) -> None:
        async with self._changing:
            gone = self.deployment(name)
            event = self._event("removed", name, f"generation {gone.generation}", of_deployment=True)
            await self._store.remove_deployment(name, event)
            del self._deployments[name]
            self._publish()

    # -- clusters -----------------------------------------------------------------------------------------------------

    async def sync(self, observed: Observed, wait: float) -> Desired:
        """Take an agent's report; answer with what is wanted there, after `wait` seconds at most when that is what it
        knows. Raises Conflict for an agent that another has taken over from."""
        name = observed.cluster
        await self._take(observed)
        board = self._desired[name]
        await board.newer(observed.revision, wait)
        return Desired(board.revision, board.value)

    def beat(self, name: str, agent: str) -> None:
        """The agent is there. Raises NotFound for a cluster that has not reported yet."""
        known = self._observed.get(name)
        if known is None:
            raise NotFound(f"no cluster {name!r}", hint="GET /v1/clusters lists them", code="no_such_cluster")
        if agent >= known.agent:
            self._seen[name] = self._clock()
            self._places.heard(name, self._clock())

    async def _take(self, observed: Observed) -> None:
        name = observed.cluster
        check_name(name, "cluster")
        before = self._observed.get(name)
        if before is not None and observed.agent < before.agent:
            raise Conflict(
                f"cluster {name} has a later agent, {before.agent}",
                hint="one agent a cluster: stop the other one first",
                code="agent_fenced",
            )
        self._seen[name] = self._clock()
        self._places.heard(name, self._clock())
        overtaken = before is not None and (before.agent, before.sequence) > (observed.agent, observed.sequence)
        told = {"events": observed.events, "usage": observed.usage}
        latest = replace(before, **told) if overtaken and before is not None else observed
        known = self._observed[name] = replace(latest, events=(), usage=())
        self._publish()
        if before is None or latest.events or latest.usage or not alike(known, before):
            await self._store.keep_observed(latest)

    def clusters(self) -> list[Cluster]:
        return [
            Cluster(
                *(name, each.agent, self._seen.get(name), len(each.replicas)),
                lost=self._places.lost(name, self._clock()),
                spec=each.spec,
            )
            for name, each in sorted(self._observed.items())
        ]

    async def forget_cluster(self, name: str) -> None:
        """For one that will not come back: its replicas are no route any more, its share goes to the others."""
        if name not in self._observed:
            raise NotFound(f"no cluster {name!r}", hint="GET /v1/clusters lists them", code="no_such_cluster")
        del self._observed[name]
        self._seen.pop(name, None)
        self._places.forget(name)
        await self._store.forget_cluster(name, self._event("forgotten", name, "asked for"))
        self._publish()

    def replicas(self) -> list[tuple[str, ReplicaStatus]]:
        """With the cluster of each; ids are those over all clusters."""
        return [
            (name, replace(status, id=global_id(name, status.id)))
            for name, report in sorted(self._observed.items())
            for status in report.replicas
        ]

    # -- what others wait for -----------------------------------------------------------------------------------------

    async def routes(self, since: int, wait: float) -> Routes:
        await self._routes.newer(since, wait)
        return replace(self._routes.value, revision=self._routes.revision)

    async def events(self, after: int, limit: int, only: Only = EVERY) -> tuple[Logged, ...]:
        return await self._store.events(after, limit, only)

    async def settle(self) -> None:
        """Notice clusters that are lost or back, hand over what moves, and write down what was decided of places."""
        self._publish()
        tales, self._places.tales = self._places.tales, []
        if tales:
            events = tuple(self._event(each.kind, each.deployment, each.reason, of_deployment=True) for each in tales)
            events = tuple(replace(event, cluster=each.cluster) for event, each in zip(events, tales, strict=True))
            await self._store.keep_placement(msgspec.json.encode(self._places.shares).decode(), events)

    def _publish(self) -> None:
        self._routes.post(self._view())
        deployments = self.deployments()
        shares = self._places.place(deployments, self._observed, self._clock())
        for name in self._observed:
            wanted = tuple(part_of(each, shares[each.name][name], name, shares[each.name]) for each in deployments)
            board = self._desired.setdefault(name, Board(self._first, ()))
            if not self._places.lost(name, self._clock()):  # it hears nothing, and goes on until it is back
                board.post(wanted)

    def _view(self) -> Routes:
        limits = self._budgets.limits
        return routes_of(self._observed, self._deployments.values(), self.keys.all(), self._pepper, self._auth, limits)

    def _event(self, kind: str, subject: str, reason: str, *, of_deployment: bool = False) -> Happening:
        self._numbers += 1
        deployment = subject if of_deployment else ""
        return Happening(self._source, self._numbers, self._clock(), kind, subject, reason, deployment=deployment)
