"""Where replicas go: own room first, overflow by permission, and never out of a zone."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from colonnade.fleet.placement import Site, hand_over, part_of, place
from colonnade.fleet.placing import PlacementBook
from colonnade.fleet.versions import succeed
from colonnade.wire.routes import (
    ClusterSpec,
    Deployment,
    Observed,
    Offer,
    Placement,
    ReplicaStatus,
    Resources,
    Rollout,
)

LOST_S = 20.0
MINE = ClusterSpec("mine", zone="eu", owner="byo", resources={"h100": Offer(2)})
RENTED = ClusterSpec("rented", zone="eu", resources={"h100": Offer(8, committed=1)})
ABROAD = ClusterSpec("abroad", zone="us", resources={"h100": Offer(100)})
H100 = Resources("h100")


def desk(replicas: int, overflow: bool = False, *zones: str, **more: Any) -> Deployment:
    return Deployment("desk", "m", replicas, resources=H100, placement=Placement(zones, overflow), **more)


def shares(deployment: Deployment, *specs: ClusterSpec, lost: tuple[str, ...] = ()) -> dict[str, int]:
    plan = place([deployment], [Site(spec, "gone" if spec.name in lost else "") for spec in specs])
    return {name: number for name, number in plan.shares[deployment.name].items() if number}


def test_without_a_word_on_clusters_it_is_even() -> None:
    specs = [ClusterSpec(name) for name in ("b", "a", "c")]
    assert shares(Deployment("desk", "m", 5), *specs) == {"a": 2, "b": 2, "c": 1}


def test_own_and_committed_room_comes_first() -> None:
    assert shares(desk(3), MINE, RENTED) == {"mine": 2, "rented": 1}
    plan = place([desk(5)], [Site(MINE), Site(RENTED)])
    assert plan.missing["desk"] == (2, "mine: no more room; rented: no more room; placement.overflow is off")


def test_the_rest_overflows_where_it_may() -> None:
    assert shares(desk(5, True), MINE, RENTED) == {"mine": 2, "rented": 3}
    assert shares(desk(12, True), MINE, RENTED) == {"mine": 2, "rented": 8}
    plan = place([desk(5, True)], [Site(MINE), Site(RENTED)])
    assert plan.reasons["desk", "rented"] == "overflow: own and committed room is for 3 of 5"
    assert plan.reasons["desk", "mine"] == "own or committed room, 2 of the clusters share 5"


def test_a_lost_cluster_has_no_room() -> None:
    assert shares(desk(2, True), MINE, RENTED, lost=("mine",)) == {"rented": 2}
    assert shares(desk(2, True, "eu"), MINE, ABROAD, lost=("mine",)) == {}
    plan = place([desk(2, True, "eu")], [Site(MINE, "not heard for 20 s"), Site(ABROAD)])
    assert plan.missing["desk"] == (2, "mine: not heard for 20 s")
    assert plan.reasons["desk", "abroad"] == "its zone us is not allowed"


def test_a_zone_without_a_cluster() -> None:
    assert place([desk(1, False, "mars")], [Site(MINE)]).missing["desk"] == (1, "no cluster in mars")


def test_deployments_share_the_room() -> None:
    other = replace(desk(2), name="other")
    plan = place([other, desk(1)], [Site(MINE)])
    assert (plan.shares["desk"]["mine"], plan.shares["other"]["mine"]) == (1, 1)
    assert plan.missing == {"other": (1, "mine: no more room")}
    small = replace(desk(4), resources=Resources("h100", 0.5))
    assert shares(small, MINE) == {"mine": 4}
    assert shares(Deployment("desk", "m", 1), MINE) == {}  # it has no "cpu"


def test_what_moves_waits_until_it_is_ready_elsewhere() -> None:
    assert hand_over({"a": 0, "b": 2}, {"a": 2}, {}) == {"a": 2, "b": 2}
    assert hand_over({"a": 0, "b": 2}, {"a": 2}, {"b": 1}) == {"a": 1, "b": 2}
    assert hand_over({"a": 0, "b": 2}, {"a": 2}, {"b": 2}) == {"a": 0, "b": 2}
    assert hand_over({"a": 1}, {"a": 4}, {"a": 1}) == {"a": 1}


def test_both_versions_are_shared() -> None:
    trial = succeed(desk(4, rollout=Rollout((0.5,))), replace(desk(4, rollout=Rollout((0.5,))), model="n"))
    given = {"a": 3, "b": 2}
    parts = [part_of(trial, number, name, given) for name, number in given.items()]
    assert [(part.replicas, part.kept) for part in parts] == [(3, 2), (2, 1)]
    assert part_of(desk(3), 3, "a", {"a": 3}).kept == 0
    assert part_of(trial, 0, "a", {"a": 0}).kept == 0


ZONES = ("eu", "us", "")
SPECS = st.builds(
    ClusterSpec,
    st.sampled_from("abcd"),
    zone=st.sampled_from(ZONES),
    owner=st.sampled_from(("managed", "byo")),
    resources=st.one_of(
        st.just({}), st.builds(lambda n, c: {"h100": Offer(n, min(c, n))}, st.integers(0, 6), st.integers(0, 6))
    ),
)
WORLDS = st.lists(SPECS, max_size=4, unique_by=lambda spec: spec.name)


@given(WORLDS, st.sets(st.sampled_from("abcd")), st.integers(0, 12), st.booleans(), st.sets(st.sampled_from(ZONES[:2])))
def test_capacity_and_zones_hold(
    specs: list[ClusterSpec], lost: set[str], replicas: int, overflow: bool, zones: set[str]
) -> None:
    plan = place(
        [desk(replicas, overflow, *zones)], [Site(each, "gone" if each.name in lost else "") for each in specs]
    )
    given = plan.shares["desk"]
    assert sum(given.values()) + plan.missing.get("desk", (0, ""))[0] == replicas
    for spec in specs:
        number, offer = given[spec.name], spec.resources.get("h100", Offer(0))
        assert not number or (spec.name not in lost and (not zones or spec.zone in zones))
        assert not spec.resources or number <= offer.capacity
        if not overflow and spec.resources and spec.owner == "managed":
            assert number <= (offer.committed or 0)
    roomy = [
        spec for spec in specs if not spec.resources and spec.name not in lost and (not zones or spec.zone in zones)
    ]
    assert not roomy or "desk" not in plan.missing


class World:
    """A control plane's book, and clusters whose agents call, fall silent, and run what they were told last."""

    def __init__(self, specs: list[ClusterSpec]) -> None:
        self.now = 0.0
        self.book = PlacementBook({}, 0.0, LOST_S)
        self.observed = {spec.name: Observed(spec.name, 0, (), spec=spec) for spec in specs}
        self.shares: dict[str, dict[str, int]] = {}
        self.silent: set[str] = set()
        self.told: dict[str, int] = {}

    def look(self, deployment: Deployment) -> dict[str, int]:
        """All that are heard run, and are ready with, what they were told before."""
        for name, report in self.observed.items():
            if name not in self.silent:
                self.book.heard(name, self.now)
                ready = [ReplicaStatus(f"desk-{n}", "desk", f"e{n}", "ready") for n in range(self.told.get(name, 0))]
                starting = ReplicaStatus("desk-99", "desk", "e99", "starting")
                self.observed[name] = replace(report, replicas=(*ready, starting))
        self.shares = self.book.place([deployment], self.observed, self.now)
        given = self.shares["desk"]
        self.told |= {name: number for name, number in given.items() if name not in self.silent}
        return given

    def restart(self) -> None:
        self.book = PlacementBook(self.shares, self.now, LOST_S)


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("silence"), st.sampled_from("abcd")),
        st.tuples(st.just("return"), st.sampled_from("abcd")),
        st.tuples(st.just("time"), st.floats(0, 60)),
        st.tuples(st.just("restart"), st.just("")),
        st.tuples(st.just("full"), st.sampled_from("abcd")),
        st.tuples(st.just("replicas"), st.integers(0, 8)),
    ),
    max_size=25,
)


@settings(deadline=None)
@given(WORLDS, st.sampled_from(ZONES[:2]), st.booleans(), EVENTS)
def test_nothing_leaves_its_zone_whatever_fails(
    specs: list[ClusterSpec], zone: str, overflow: bool, events: list[tuple[str, Any]]
) -> None:
    world, deployment = World(specs), desk(3, overflow, zone)
    for kind, what in events:
        match kind:
            case "silence":
                world.silent.add(what)
            case "return":
                world.silent.discard(what)
            case "time":
                world.now += what
            case "restart":
                world.restart()
            case "full" if what in world.observed:
                report = world.observed[what]
                spec = replace(report.spec or ClusterSpec(what), resources={"h100": Offer(0)})
                world.observed[what] = replace(report, spec=spec)
            case "replicas":
                deployment = replace(deployment, replicas=what)
        given = world.look(deployment)
        zones = {name: (report.spec or ClusterSpec(name)).zone for name, report in world.observed.items()}
        assert all(zones[name] == zone for name, number in given.items() if number)
        assert all(zones[name] == zone for name, number in world.told.items() if number)
        assert all(tale.reason for tale in world.book.tales)


def test_overflow_when_its_own_is_gone_and_back_again() -> None:
    deployment = desk(2, True)
    world = World([MINE, replace(RENTED, resources={"h100": Offer(8, committed=0)})])
    assert world.look(deployment) == {"mine": 2, "rented": 0}
    world.silent.add("mine")
    world.now = LOST_S - 1
    assert world.look(deployment) == {"mine": 2, "rented": 0}
    world.now = LOST_S
    assert world.look(deployment) == {"mine": 0, "rented": 2}
    world.silent.clear()
    assert world.look(deployment) == {"mine": 2, "rented": 0}  # what it runs has been ready all along
    assert [(tale.cluster, tale.reason) for tale in world.book.tales] == [
        ("mine", "0 -> 2 on mine: own or committed room, 1 of the clusters share 2"),
        ("mine", "2 -> 0 on mine: not heard for 20 s"),
        ("rented", "0 -> 2 on rented: overflow: own and committed room is for 0 of 2"),
        ("mine", "0 -> 2 on mine: own or committed room, 1 of the clusters share 2"),
        ("rented", "2 -> 0 on rented: others have room of their own"),
    ]


def test_after_a_start_nobody_goes_down_for_a_cluster_that_has_not_called() -> None:
    world = World([MINE, replace(RENTED, resources={"h100": Offer(8, committed=0)})])
    deployment = desk(2, True)
    world.look(deployment)
    world.silent.add("mine")
    world.now = 100.0
    assert world.look(deployment)["rented"] == 2
    world.restart()
    assert world.look(deployment) == {"mine": 2, "rented": 2}  # its time to call
    world.now += LOST_S
    assert world.look(deployment) == {"mine": 0, "rented": 2}
    assert world.book.tales[-1].kind == "placed"


def test_what_has_no_place_is_told_once() -> None:
    world = World([MINE])
    for _ in range(3):
        world.look(desk(3))
    world.look(desk(2))
    world.look(desk(3))
    told = [tale.reason for tale in world.book.tales if tale.kind == "unplaced"]
    assert told == ["1 without a place: mine: no more room"] * 2
    world.book.forget("mine")


def test_those_with_less_choice_go_first() -> None:
    free = replace(desk(2, True), name="a")
    plan = place([free, desk(2, False, "eu")], [Site(MINE), Site(ABROAD)])
    assert plan.shares == {"desk": {"abroad": 0, "mine": 2}, "a": {"abroad": 2, "mine": 0}}
    assert plan.missing == {}
