"""The control plane over its real store, without HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from colonnade.fleet.allowance import AllowanceChange
from colonnade.fleet.change import Change
from colonnade.fleet.control import ControlPlane
from colonnade.fleet.keys import digest
from colonnade.fleet.sqlite import SqliteStore
from colonnade.wire.errors import Conflict, InvalidRequest, NotFound
from colonnade.wire.routes import Allowance, Demand, Demands, Happening, Observed, ReplicaStatus, Scaling

READY = ReplicaStatus("tiny-0", "tiny", "e1", "ready", url="http://x")
CHANGE = Change("tiny-model", 2)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(tmp_path / "state.db")
    yield opened
    await opened.close()


@pytest.fixture
async def plane(store: SqliteStore) -> ControlPlane:
    return await ControlPlane.open(store, clock=lambda: 1000.0)


def report(*replicas: ReplicaStatus, agent: str = "a1", sequence: int = 1, revision: int = -1) -> Observed:
    return Observed("local", revision, replicas, agent, sequence)


async def test_generations_grow_with_changes_and_guard_them(plane: ControlPlane) -> None:
    assert (await plane.deploy("tiny", CHANGE)).generation == 1
    assert (await plane.deploy("tiny", CHANGE)).generation == 1
    assert (await plane.deploy("tiny", Change("tiny-model", 3, generation=1))).generation == 2
    with pytest.raises(Conflict) as refused:
        await plane.deploy("tiny", Change("tiny-model", 4, generation=1))
    assert refused.value.reason == "generation_conflict"
    raced = [plane.deploy("tiny", Change("tiny-model", number, generation=2)) for number in (5, 6)]
    found = await asyncio.gather(*raced, return_exceptions=True)
    assert [type(each).__name__ for each in found] == ["Deployment", "Conflict"]
    await plane.remove("tiny")
    with pytest.raises(NotFound):
        plane.deployment("tiny")


@pytest.mark.parametrize(
    ("name", "change", "param"),
    [
        ("", CHANGE, "name"),
        ("../etc", CHANGE, "name"),
        ("x" * 64, CHANGE, "name"),
        ("tiny", Change(""), "model"),
        ("tiny", Change("m", -1), "replicas"),
        ("tiny", Change("m", 10_001), "replicas"),
        ("tiny", Change("m", 1, {"nonsense": "1"}), "settings.nonsense"),
        ("tiny", Change("m", scaling=Scaling(3, 2)), "scaling"),
        ("tiny", Change("m", scaling=Scaling(0, 0)), "scaling"),
        ("tiny", Change("m", scaling=Scaling(target=0.0)), "scaling"),
        ("tiny", Change("m", scaling=Scaling(idle=-1.0)), "scaling"),
    ],
)
async def test_what_cannot_be_is_refused(plane: ControlPlane, name: str, change: Change, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await plane.deploy(name, change)
    assert refused.value.param == param
    assert plane.deployments() == []


async def test_an_agent_waits_for_what_is_wanted(plane: ControlPlane) -> None:
    first = await plane.sync(report(), 60)
    assert first.deployments == ()
    waiting = asyncio.create_task(plane.sync(report(revision=first.revision, sequence=2), 60))
    await asyncio.sleep(0)
    await plane.deploy("tiny", CHANGE)
    second = await waiting
    assert second.revision > first.revision
    assert [each.replicas for each in second.deployments] == [2]
    assert await plane.sync(report(revision=second.revision, sequence=3), 0) == second


async def test_two_clusters_share(plane: ControlPlane) -> None:
    await plane.deploy("tiny", Change("m", 3))
    local = await plane.sync(report(), 60)
    assert [each.replicas for each in local.deployments] == [3]
    east = await plane.sync(Observed("east", -1, (READY,), "b1", 1), 60)
    assert [each.replicas for each in east.deployments] == [2]
    after = await plane.sync(report(revision=local.revision, sequence=2), 0)
    assert [each.replicas for each in after.deployments] == [3]  # until they are ready elsewhere
    ready = tuple(replace(READY, id=f"tiny-{number}", epoch=f"e{number}") for number in range(2))
    one = await plane.sync(report(READY, revision=after.revision, sequence=3), 0)
    assert [each.replicas for each in one.deployments] == [2]
    waiting = asyncio.create_task(plane.sync(report(READY, revision=one.revision, sequence=4), 60))
    await asyncio.sleep(0)
    await plane.sync(Observed("east", east.revision, ready, "b1", 2), 0)
    assert [each.replicas for each in (await waiting).deployments] == [1]
    assert [(each.name, each.seen) for each in plane.clusters()] == [("east", 1000.0), ("local", 1000.0)]
    ids = [status.id for _, status in plane.replicas()]
    assert ids == ["tiny-0@east", "tiny-1@east", "tiny-0"]
    await plane.forget_cluster("east")
    assert [each.replicas for each in (await plane.sync(report(sequence=5), 0)).deployments] == [3]
    with pytest.raises(NotFound):
        await plane.forget_cluster("east")


async def test_gateways_hear_of_replicas_and_keys(plane: ControlPlane) -> None:
    await plane.deploy("tiny", CHANGE)
    routes = await plane.routes(-1, 60)
    waiting = asyncio.create_task(plane.routes(routes.revision, 60))
    await asyncio.sleep(0)
    await plane.sync(report(READY), 0)
    routes = await waiting
    assert [route.url for route in routes.routes] == ["http://x"]
    key, record = await plane.keys.create("crm", "acme")
    routes = await plane.routes(routes.revision, 60)
    assert routes.keys == (record,)
    assert record.digest == digest(routes.pepper, key)
    assert (record.tenant, record.created) == ("acme", 1000)
    with pytest.raises(Conflict):
        await plane.keys.create("crm")
    await plane.keys.revoke("crm")
    assert (await plane.routes(routes.revision, 60)).keys == ()
    assert plane.keys.all() == []
    with pytest.raises(NotFound):
        await plane.keys.revoke("crm")


async def test_what_a_key_may_ask_for_is_changed_live(plane: ControlPlane) -> None:
    _, record = await plane.keys.create("crm", allowance=Allowance(requests_per_minute=9, weight=2.0))
    before = await plane.routes(-1, 0)
    assert before.keys == (record,)
    limited = await plane.keys.limit("crm", AllowanceChange(requests_per_minute=None, tokens_per_minute=50, priority=7))
    assert limited.allowance == Allowance(None, 50, 2.0, 7)
    after = await plane.routes(before.revision, 60)
    assert after.keys == (limited,)
    await plane.keys.limit("crm", AllowanceChange(priority=7))
    assert (await plane.routes(-1, 0)).revision == after.revision, "nothing has changed"
    told = [each.event.reason for each in await plane.events(0, 9) if each.event.kind == "key limited"]
    assert told == ["any number of requests, 50 tokens a minute, weight 2, priority 7"]
    with pytest.raises(NotFound):
        await plane.keys.limit("nobody", AllowanceChange())


@pytest.mark.parametrize(
    "allowance",
    [
        Allowance(requests_per_minute=-1),
        Allowance(tokens_per_minute=-1),
        Allowance(weight=0.0),
        Allowance(weight=float("nan")),
        Allowance(priority=101),
    ],
)
async def test_an_allowance_that_is_none(plane: ControlPlane, allowance: Allowance) -> None:
    with pytest.raises(InvalidRequest):
        await plane.keys.create("crm", allowance=allowance)
    assert plane.keys.all() == []


async def test_a_report_that_was_overtaken_counts_for_its_events_only(plane: ControlPlane) -> None:
    await plane.deploy("tiny", CHANGE)
    await plane.sync(report(READY, sequence=5), 0)
    late = Happening("local/a1", 1, 1.0, "start", "tiny-0", "why")
    await plane.sync(Observed("local", -1, (), "a1", 4, (late,)), 0)
    assert len((await plane.routes(-1, 0)).routes) == 1
    assert late in [each.event for each in await plane.events(0, 10)]


async def test_an_agent_that_was_followed_is_fenced_off(plane: ControlPlane) -> None:
    await plane.sync(report(READY, agent="a1"), 0)
    await plane.sync(report(READY, agent="a2"), 0)
    with pytest.raises(Conflict) as refused:
        await plane.sync(report(agent="a1", sequence=9), 0)
    assert refused.value.reason == "agent_fenced"


async def test_a_control_plane_that_starts_again_knows_what_it_knew(store: SqliteStore, plane: ControlPlane) -> None:
    await plane.deploy("tiny", CHANGE)
    await plane.keys.create("crm")
    await plane.sync(report(READY), 0)
    before = await plane.routes(-1, 0)
    plane.close()
    again = await ControlPlane.open(store)
    after = await again.routes(before.revision, 60)
    assert after.revision > before.revision
    assert (after.routes, after.keys, after.pepper) == (before.routes, before.keys, before.pepper)
    assert again.clusters()[0].seen is None
    kinds = [each.event.kind for each in await again.events(0, 10)]
    assert kinds == ["deployed", "key created"]
    await again.deploy("tiny", Change("tiny-model", 1))
    assert len(await again.events(0, 10)) == 3
    again.close()
    assert (await again.routes(after.revision + 1, 60)).routes == before.routes


async def test_replicas_follow_demand_and_the_log_says_why(plane: ControlPlane) -> None:
    await plane.deploy("tiny", Change("m", scaling=Scaling(0, 4, target=2)))
    await plane.sync(report(READY), 0)
    await plane.take_demand(Demands("g", (Demand("tiny", 9, 3),)))
    await plane.autoscale()
    assert plane.deployment("tiny").replicas == 2
    await plane.autoscale()  # the same demand: nothing to say
    told = [each.event for each in await plane.events(0, 10) if each.event.kind == "scaled"]
    assert [each.reason for each in told] == [
        "1 -> 2: 9.0 in flight over 6 s, 2 a replica: 4 wished, 1 ready, so 2 for now"
    ]
    assert plane.deployment("tiny").generation == 1


async def test_a_change_keeps_what_demand_decided_within_the_new_bounds(plane: ControlPlane) -> None:
    await plane.deploy("tiny", Change("m", 3))
    assert (await plane.deploy("tiny", Change("m", scaling=Scaling(0, 8)))).replicas == 3
    assert (await plane.deploy("tiny", Change("m", scaling=Scaling(0, 2)))).replicas == 2
    assert (await plane.deploy("tiny", Change("m"))).scaling is None


async def test_one_that_rests_is_told_to_gateways(plane: ControlPlane) -> None:
    await plane.deploy("fixed", Change("m", 0))
    await plane.deploy("tiny", Change("m", 0, scaling=Scaling(0, 2)))
    found = await plane.routes(-1, 0)
    assert (found.models, found.resting) == (("fixed", "tiny"), ("tiny",))


async def test_a_deployment_that_went_while_demand_was_weighed_stays_gone(plane: ControlPlane) -> None:
    await plane.deploy("tiny", Change("m", scaling=Scaling(2, 4)))
    weighing = asyncio.create_task(plane.autoscale())
    await plane.remove("tiny")
    await weighing
    assert plane.deployments() == []
