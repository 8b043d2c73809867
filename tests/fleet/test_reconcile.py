"""The reconciler, one decision at a time. tests/fleet/test_reconcile_stateful.py has it against any history."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from colonnade.fleet.orders import (
    Begun,
    Closing,
    Ended,
    Event,
    Listening,
    Note,
    Order,
    Policy,
    Probe,
    Probed,
    Start,
    Stop,
    Tick,
    Wanted,
)
from colonnade.fleet.reconcile import Reconciler
from colonnade.fleet.versions import template, version_of
from colonnade.wire.routes import Deployment, ReplicaStatus, Version

TINY = Deployment(name="tiny", model="tiny-model")
NEWER = Deployment(name="tiny", model="newer-model", generation=2)


def epochs() -> Iterator[str]:
    yield from (f"e{number}" for number in range(1, 1000))


class Fleet:
    """A reconciler with a clock, and the world's part in a word each."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.core = Reconciler(policy or Policy(), epochs())
        self.now = 0.0

    def tell(self, event: Event) -> list[Order]:
        orders = self.core.handle(event, self.now)
        self.core.validate()
        return orders

    def want(self, *deployments: Deployment) -> list[Order]:
        return self.tell(Wanted(deployments))

    def ready(self, id: str, epoch: str) -> list[Order]:
        self.tell(Listening(id, epoch, f"http://{epoch}"))
        return self.tell(Probed(id, epoch, well=True))

    def states(self) -> list[tuple[str, str, str]]:
        return [(status.id, status.epoch, status.state) for status in self.core.statuses()]

    def status(self, id: str) -> ReplicaStatus:
        return next(status for status in self.core.statuses() if status.id == id)


def starts(orders: list[Order]) -> list[tuple[str, str]]:
    return [(order.id, order.epoch) for order in orders if isinstance(order, Start)]


def stops(orders: list[Order]) -> list[tuple[str, str]]:
    return [(order.id, order.epoch) for order in orders if isinstance(order, Stop)]


def sized(replicas: int, deployment: Deployment = TINY) -> Deployment:
    return Deployment(deployment.name, deployment.model, replicas, deployment.generation + replicas)


def begun(id: str, epoch: str, deployment: Deployment = TINY, stopping: bool = False, restarts: int = 0) -> Begun:
    name = id.rpartition("-")[0]
    return Begun(id, epoch, name, deployment.generation, template(deployment), restarts, 7, 1.0, stopping, "log")


def test_nothing_happens_before_anything_is_wanted() -> None:
    fleet = Fleet()
    assert fleet.tell(begun("tiny-0", "a")) == []
    assert fleet.tell(Tick()) == []
    assert fleet.states() == [("tiny-0", "a", "starting")]


def test_from_wanted_to_ready() -> None:
    fleet = Fleet()
    assert starts(fleet.want(TINY)) == [("tiny-0", "e1")]
    assert fleet.tell(begun("tiny-0", "e1")) == []
    assert fleet.tell(Listening("tiny-0", "e1", "http://x", "tcp://x")) == [
        Probe("tiny-0", "e1", "http://x", "ready", 0.0)
    ]
    assert fleet.tell(Listening("tiny-0", "e1", "http://y")) == []
    fleet.now = 2.5
    waits = [
        order.after_s
        for _ in range(4)
        for order in fleet.tell(Probed("tiny-0", "e1", False))
        if isinstance(order, Probe)
    ]
    assert waits == [0.1, 0.2, 0.25, 0.25]
    orders = fleet.tell(Probed("tiny-0", "e1", True))
    assert orders == [
        Note("ready", "tiny", "tiny-0", "e1", "ready after 2.50 s"),
        Probe("tiny-0", "e1", "http://x", "health", 2.0),
    ]
    assert fleet.core.statuses() == (
        ReplicaStatus(
            *("tiny-0", "tiny", "e1", "ready", 7, "http://x", "tcp://x", "", 0, 1.0, 2.5, 1),
            facts={"log": "log"},
            version=version_of(TINY),
            target=version_of(TINY),
        ),
    )
    assert fleet.want(TINY) == []
    assert fleet.core.wake_at() is None


def test_a_killed_replica_begins_again_at_once_with_the_reason() -> None:
    fleet = Fleet()
    fleet.want(TINY)
    fleet.ready("tiny-0", "e1")
    orders = fleet.tell(Ended("tiny-0", "e1", "killed by signal 9 (SIGKILL)"))
    assert starts(orders) == [("tiny-0", "e2")]
    assert Note("failed", "tiny", "tiny-0", "e1", "killed by signal 9 (SIGKILL)") in orders
    fleet.ready("tiny-0", "e2")
    status = fleet.status("tiny-0")
    assert (status.reason, status.restarts, status.state) == ("killed by signal 9 (SIGKILL)", 1, "ready")


def test_a_crash_loop_backs_off_and_a_settled_life_wipes_it_out() -> None:
    policy = Policy(backoff_first_s=1, backoff_limit_s=5, backoff_reset_s=10)
    fleet = Fleet(policy)
    fleet.want(TINY)
    gaps: list[float] = []
    for number in range(1, 7):
        began = fleet.now
        orders = fleet.tell(Ended("tiny-0", f"e{number}", "exit 1: bad luck"))
        while not starts(orders):
            assert fleet.status("tiny-0").state == "failed"
            assert fleet.status("tiny-0").reason == "exit 1: bad luck"
            wake = fleet.core.wake_at()
            assert wake is not None
            fleet.now = wake
            orders = fleet.tell(Tick())
        gaps.append(fleet.now - began)
    assert gaps == [0, 1, 2, 4, 5, 5]
    fleet.ready("tiny-0", "e7")
    fleet.now += 10
    assert starts(fleet.tell(Ended("tiny-0", "e7", "exit 1"))) == [("tiny-0", "e8")]
    assert fleet.status("tiny-0").restarts == 7


def test_what_does_not_become_ready_in_time_is_ended_and_begun_again() -> None:
    fleet = Fleet(Policy(start_s=60))
    fleet.want(TINY)
    assert fleet.core.wake_at() == 60
    fleet.now = 60
    orders = fleet.tell(Tick())
    assert stops(orders) == [("tiny-0", "e1")]
    assert fleet.status("tiny-0").reason == "not ready within 60 s of its start"
    orders = fleet.tell(Ended("tiny-0", "e1", "killed by signal 15 (SIGTERM)"))
    assert starts(orders) == [("tiny-0", "e2")]
    assert fleet.status("tiny-0").reason == "not ready within 60 s of its start"


@pytest.mark.parametrize(
    ("probes", "reason"),
    [
        ([Probed("tiny-0", "e1", False, True, "no step for 30 s")], "stalled: no step for 30 s"),
        ([Probed("tiny-0", "e1", False, False, "timed out")] * 3, "no good answer to 3 health probes: timed out"),
    ],
)
def test_a_stalled_replica_is_ended(probes: list[Probed], reason: str) -> None:
    fleet = Fleet()
    fleet.want(TINY)
    fleet.ready("tiny-0", "e1")
    for probe in probes[:-1]:
        assert [type(order) for order in fleet.tell(probe)] == [Probe]
    orders = fleet.tell(probes[-1])
    assert [order for order in orders if isinstance(order, Stop)] == [Stop("tiny-0", "e1", 2.0, reason)]
    assert fleet.tell(Probed("tiny-0", "e1", True)) == []  # a late answer
    assert starts(fleet.tell(Ended("tiny-0", "e1", "killed by signal 9"))) == [("tiny-0", "e2")]
    assert fleet.status("tiny-0").reason == reason


def test_a_good_probe_forgives_the_misses() -> None:
    fleet = Fleet()
    fleet.want(TINY)
    fleet.ready("tiny-0", "e1")
    for well in (False, False, True, False, False):
        assert stops(fleet.tell(Probed("tiny-0", "e1", well))) == []


def test_one_to_three_to_one() -> None:
    fleet = Fleet()
    fleet.want(TINY)
    fleet.ready("tiny-0", "e1")
    assert starts(fleet.want(sized(3))) == [("tiny-1", "e2"), ("tiny-2", "e3")]
    fleet.ready("tiny-1", "e2")
    fleet.ready("tiny-2", "e3")
    orders = fleet.want(sized(1))
    assert [(o.id, o.reason, o.grace_s) for o in orders if isinstance(o, Stop)] == [
        ("tiny-2", "scaled down to 1", 40.0),
        ("tiny-1", "scaled down to 1", 40.0),
    ]
    fleet.tell(Ended("tiny-2", "e3", "exit 0"))
    fleet.tell(Ended("tiny-1", "e2", "exit 0"))
    assert fleet.states() == [("tiny-0", "e1", "ready")]


def test_scaling_down_ends_what_serves_nobody_first() -> None:
    fleet = Fleet()
    fleet.want(sized(3))
    fleet.ready("tiny-1", "e2")
    fleet.tell(Ended("tiny-0", "e1", "exit 1"))
    fleet.tell(Ended("tiny-0", "e4", "exit 1"))  # backs off: no life
    assert stops(fleet.want(sized(2))) == []
    assert fleet.states() == [("tiny-1", "e2", "ready"), ("tiny-2", "e3", "starting")]
    assert stops(fleet.want(sized(1))) == [("tiny-2", "e3")]


def test_a_seat_that_is_wanted_again_need_not_wait_for_the_drain() -> None:
    fleet = Fleet()
    fleet.want(TINY)
    fleet.ready("tiny-0", "e1")
    fleet.want()
    assert fleet.status("tiny-0").reason == "the deployment was removed"
    assert starts(fleet.want(TINY)) == [("tiny-0", "e2")]
    assert stops(fleet.want()) == [("tiny-0", "e2")]
    assert starts(fleet.want(TINY)) == []  # two at most
    fleet.tell(Ended("tiny-0", "e1", "exit 0"))
    assert starts(fleet.tell(Ended("tiny-0", "e2", "exit 0"))) == [("tiny-0", "e3")]


def test_a_new_generation_rolls_one_at_a_time_replacement_first() -> None:
    fleet = Fleet()
    fleet.want(sized(2))
    fleet.ready("tiny-0", "e1")
    fleet.ready("tiny-1", "e2")
    orders = fleet.want(sized(2, NEWER))
    assert (starts(orders), stops(orders)) == ([("tiny-0", "e3")], [])
    assert stops(fleet.ready("tiny-0", "e3")) == [("tiny-0", "e1")]
    assert starts(fleet.tell(Ended("tiny-0", "e1", "exit 0"))) == [("tiny-1", "e4")]
    assert stops(fleet.ready("tiny-1", "e4")) == [("tiny-1", "e2")]
    assert starts(fleet.tell(Ended("tiny-1", "e2", "exit 0"))) == []
    assert {status.generation for status in fleet.core.statuses()} == {4}
    assert {status.restarts for status in fleet.core.statuses()} == {0}


def test_a_number_alone_rolls_nothing() -> None:
    fleet = Fleet()
    fleet.want(TINY)
    fleet.ready("tiny-0", "e1")
    assert fleet.want(Deployment("tiny", TINY.model, 1, generation=9)) == []


def test_a_bad_generation_leaves_the_old_one_serving() -> None:
    fleet = Fleet(Policy(backoff_first_s=1))
    fleet.want(TINY)
    fleet.ready("tiny-0", "e1")
    fleet.want(NEWER)
    assert starts(fleet.tell(Ended("tiny-0", "e2", "exit 1: no such model"))) == [("tiny-0", "e3")]
    assert starts(fleet.tell(Ended("tiny-0", "e3", "exit 1: no such model"))) == []
    assert fleet.core.wake_at() == 1
    assert (fleet.status("tiny-0").state, fleet.status("tiny-0").reason) == ("ready", "exit 1: no such model")
    fleet.now = 1
    assert starts(fleet.tell(Tick())) == [("tiny-0", "e4")]
    orders = fleet.want(Deployment("tiny", TINY.model, 1, generation=3))  # back to what serves
    assert (starts(orders), stops(orders)) == ([], [("tiny-0", "e4")])
    fleet.tell(Ended("tiny-0", "e4", "exit 0"))
    assert fleet.states() == [("tiny-0", "e1", "ready")]


def test_what_is_starting_gives_way_to_a_new_generation() -> None:
    fleet = Fleet()
    fleet.want(TINY)
    assert stops(fleet.want(NEWER)) == [("tiny-0", "e1")]
    assert starts(fleet.tell(Ended("tiny-0", "e1", "exit 0"))) == [("tiny-0", "e2")]
    assert fleet.status("tiny-0").restarts == 0


def test_adoption_keeps_what_runs() -> None:
    fleet = Fleet()
    fleet.tell(begun("tiny-0", "a", restarts=4))
    assert fleet.core.unprobed() == 0
    fleet.tell(Listening("tiny-0", "a", "http://a"))
    assert fleet.core.unprobed() == 1
    assert fleet.want(TINY) == []
    orders = fleet.tell(Probed("tiny-0", "a", True))
    assert Note("ready", "tiny", "tiny-0", "a", "found ready") in orders
    assert (fleet.core.unprobed(), fleet.core.lives()) == (0, 1)
    status = fleet.status("tiny-0")
    assert (status.state, status.restarts, status.ready_s, status.pid) == ("ready", 4, None, 7)


def test_adoption_in_the_middle_of_a_roll() -> None:
    fleet = Fleet()
    fleet.tell(begun("tiny-0", "a"))
    fleet.tell(begun("tiny-0", "b", NEWER))
    fleet.tell(begun("tiny-0", "z", stopping=True))
    fleet.tell(begun("tiny-0", "z", stopping=True))
    assert fleet.want(NEWER) == []  # which of them serves is not known yet
    fleet.ready("tiny-0", "a")
    assert stops(fleet.ready("tiny-0", "b")) == [("tiny-0", "a")]
    fleet.tell(Ended("tiny-0", "z", "exit 0"))
    fleet.tell(Ended("tiny-0", "a", "exit 0"))
    assert fleet.states() == [("tiny-0", "b", "ready")]


def test_what_was_found_and_is_not_wanted_goes() -> None:
    fleet = Fleet()
    fleet.want()
    assert stops(fleet.tell(begun("old-3", "a"))) == [("old-3", "a")]
    fleet.tell(Ended("old-3", "a", "exit 0"))
    assert fleet.states() == []


def test_closing_ends_all_and_begins_nothing() -> None:
    fleet = Fleet()
    fleet.want(sized(2))
    fleet.ready("tiny-0", "e1")
    assert set(stops(fleet.tell(Closing("the agent goes")))) == {("tiny-0", "e1"), ("tiny-1", "e2")}
    assert fleet.want(sized(3)) == []
    fleet.tell(Ended("tiny-1", "e2", "exit 0"))
    fleet.tell(Ended("tiny-0", "e1", "exit 0"))
    assert fleet.core.lives() == 0
    assert Fleet().tell(Closing("at once")) == []


def test_news_of_nobody_is_ignored() -> None:
    fleet = Fleet()
    fleet.want(TINY)
    for event in (Ended("x-0", "e", ""), Probed("tiny-0", "e9", True), Listening("tiny-5", "e", "u")):
        assert fleet.tell(event) == []
    fleet.want()
    assert fleet.tell(Listening("tiny-0", "e1", "http://late")) == []


def test_backoff_is_bounded_however_often_it_fails() -> None:
    assert Policy().backoff(10_000) == Policy().backoff_limit_s


def test_no_time_counts_while_a_life_fetches_its_model() -> None:
    fleet = Fleet(Policy(start_s=10.0))
    fleet.want(TINY)
    fleet.tell(Listening("tiny-0", "e1", "http://x"))
    fleet.now = 9.0
    fleet.tell(Probed("tiny-0", "e1", False, doing="fetching org/tiny: 50 %"))
    status = fleet.status("tiny-0")
    assert (status.state, status.reason) == ("starting", "fetching org/tiny: 50 %")
    assert status.facts["doing"] == status.reason
    fleet.now = 18.0
    fleet.tell(Probed("tiny-0", "e1", False))
    assert fleet.status("tiny-0").reason == ""
    assert fleet.core.wake_at() == 19.0
    fleet.now = 19.0
    fleet.tell(Tick())
    assert fleet.status("tiny-0").state == "draining"


def test_what_a_life_fetched_is_not_told_any_more_when_it_is_ready() -> None:
    fleet = Fleet()
    fleet.want(TINY)
    fleet.tell(Listening("tiny-0", "e1", "http://x"))
    fleet.tell(Probed("tiny-0", "e1", False, doing="fetching"))
    fleet.tell(Probed("tiny-0", "e1", True))
    status = fleet.status("tiny-0")
    assert (status.state, status.reason, status.facts) == ("ready", "", {})


OLD = Version("tiny-model")
TRIAL = Deployment("tiny", "newer-model", 3, 2, before=OLD, kept=2)


def versions(fleet: Fleet) -> dict[str, str]:
    """By seat, the model that its staying life runs, or is to run."""
    names = {version_of(TINY): "old", version_of(TRIAL): "new"}
    return {each.id: names[each.version] for each in fleet.core.statuses() if each.state != "draining"}


def serving(number: int) -> Fleet:
    fleet = Fleet()
    fleet.want(replace(TINY, replicas=number))
    for index in range(number):
        fleet.ready(f"tiny-{index}", f"e{index + 1}")
    return fleet


def test_a_version_that_comes_in_gets_a_seat_of_its_own() -> None:
    fleet = serving(2)
    fleet.want(TRIAL)
    assert versions(fleet) == {"tiny-0": "old", "tiny-1": "old", "tiny-2": "new"}
    assert fleet.status("tiny-2").state == "starting"


def test_the_next_step_replaces_a_seat_of_the_old_one() -> None:
    fleet = serving(2)
    fleet.want(TRIAL)
    fleet.ready("tiny-2", "e3")
    orders = fleet.want(replace(TRIAL, kept=1))
    assert [order.id for order in orders if isinstance(order, Start)] == ["tiny-1"]
    assert not [order for order in orders if isinstance(order, Stop)]
    orders = fleet.ready("tiny-1", "e4")
    assert [(order.id, order.epoch) for order in orders if isinstance(order, Stop)] == [("tiny-1", "e2")]


def test_going_back_ends_the_new_version_and_touches_nothing_else() -> None:
    fleet = serving(2)
    fleet.want(TRIAL)
    fleet.ready("tiny-2", "e3")
    orders = fleet.want(replace(TINY, replicas=2, generation=3))
    assert [order.id for order in orders if isinstance(order, Start | Stop)] == ["tiny-2"]


def test_a_version_that_fails_is_counted_for_its_seat() -> None:
    fleet = serving(2)
    fleet.want(TRIAL)
    for _ in range(3):
        epoch = fleet.status("tiny-2").epoch
        fleet.tell(Ended("tiny-2", epoch, "exit 3"))
        fleet.now += 1.0
        fleet.tell(Tick())
    status = fleet.status("tiny-2")
    assert (status.failures, status.target, status.reason) == (3, version_of(TRIAL), "exit 3")
    fleet.want(replace(TINY, replicas=3))
    assert fleet.status("tiny-2").failures == 0


def test_a_seat_that_was_found_keeps_the_version_it_runs() -> None:
    fleet = Fleet()
    for index, found in enumerate((TRIAL, TINY, TINY)):
        fleet.tell(Begun(f"tiny-{index}", f"e{index + 100}", "tiny", 1, template(found)))
    fleet.want(TRIAL)
    assert versions(fleet) == {"tiny-0": "new", "tiny-1": "old", "tiny-2": "old"}
    assert [each.target == each.version for each in fleet.core.statuses()] == [True] * 3
