"""What a change would do."""

from __future__ import annotations

from msgspec.structs import replace

from colonnade.fleet.placement import Site
from colonnade.fleet.planning import Line, as_asked, planned
from colonnade.fleet.versions import version_of
from colonnade.wire.routes import ClusterSpec, Deployment, Offer, Placement, Resources, Rollout, Scaling

MINE = Site(ClusterSpec("mine", zone="eu", owner="byo", resources={"h100": Offer(2, price=2.0)}))
RENTED = Site(ClusterSpec("rented", zone="us", resources={"h100": Offer(8, committed=0, price=5.0)}))
DESK = Deployment("desk", "m", 2, resources=Resources("h100"), placement=Placement(overflow=True))
KNOWN = {"desk": DESK}


def test_nothing_changes() -> None:
    assert planned(KNOWN, DESK, [MINE, RENTED]) == []


def test_more_replicas_overflow_and_cost_more() -> None:
    assert planned(KNOWN, replace(DESK, replicas=3), [MINE, RENTED]) == [
        Line("replicas", "2", "3"),
        Line("replicas on rented", "0", "1", "overflow: own and committed room is for 2 of 3"),
        Line("cost an hour, of all", "4.00", "9.00"),
    ]


def test_what_has_no_place_is_said() -> None:
    bound = replace(DESK, replicas=3, placement=Placement(("eu",)))
    why = "mine: no more room"
    assert Line("desk without a place", "0", "1", why) in planned(KNOWN, bound, [MINE, RENTED])
    full = {"desk": bound}
    other = replace(bound, name="other", replicas=0)
    assert not [each for each in planned(full, other, [MINE, RENTED]) if "without a place" in each.what]


def test_a_new_deployment() -> None:
    lines = planned({}, DESK, [MINE])
    assert Line("version", "", version_of(DESK), "it is new") in lines
    assert Line("replicas on mine", "0", "2", "own or committed room, 1 of the clusters share 2") in lines


def test_a_new_version_comes_in_by_steps_or_at_once() -> None:
    newer = replace(DESK, model="n")
    [line] = [each for each in planned(KNOWN, newer, [MINE, RENTED]) if each.what == "version"]
    assert (line.now, line.then) == (version_of(DESK), version_of(newer))
    assert line.why == "replica by replica, without a judgement"
    lines = planned(KNOWN, replace(newer, rollout=Rollout((0.05, 0.5))), [MINE, RENTED])
    assert "by steps of 5%, 50% of the requests, judged" in {each.why for each in lines}
    assert Line("replicas on rented", "0", "1", "overflow: own and committed room is for 2 of 3") in lines


def test_what_is_asked_for() -> None:
    asked = as_asked(DESK, "desk", {"model": "m", "scaling": {"min": 3, "max": 5}})
    assert (asked.replicas, asked.scaling) == (3, Scaling(3, 5))
    assert as_asked(DESK, "desk", {"model": "m"}).replicas == 2
    assert as_asked(None, "desk", {"model": "m"}).replicas == 1
    assert as_asked(None, "desk", {"model": "m", "replicas": 4}).generation == 0
