"""Verdicts on new versions: the pure core, on a clock of its own."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from colonnade.fleet.rollout import FAILURES, FORGET_S, RolloutBook, Seen, Standing, Verdict, standing, worse
from colonnade.fleet.versions import spec_of, succeed, version_of
from colonnade.wire.buckets import bucket
from colonnade.wire.routes import Demands, Deployment, Outcome, ReplicaStatus, Rollout

POLICY = Rollout(steps=(0.1, 0.5), step=60.0, requests=50)
OLD = Deployment("desk", "old", 4, rollout=POLICY)
TRIAL = succeed(OLD, replace(OLD, model="new"))
NEW_NAME, OLD_NAME = version_of(TRIAL), version_of(OLD)
WELL = Standing(1, 1)


class World:
    """One gateway's counts, and a look now and then."""

    def __init__(self) -> None:
        self.book = RolloutBook()
        self.now = 0.0
        self.sums: dict[str, Outcome] = {}
        self.deployment = TRIAL
        self.tell()
        self.look()

    def answer(self, version: str, requests: int, errors: int = 0, seconds: float = 0.1) -> None:
        was = self.sums.get(version, Outcome("desk", version))
        first = dict(Counter(was.first) + Counter({bucket(seconds): requests}))
        self.sums[version] = Outcome("desk", version, was.requests + requests, was.errors + errors, first)
        self.tell()

    def tell(self, gateway: str = "g") -> None:
        self.book.take(Demands(gateway, (), tuple(self.sums.values())), self.now)

    def look(self, after: float = 0.0, at: Standing = WELL) -> Verdict:
        self.now += after
        return self.book.decide(self.deployment, at, self.now)


def test_a_good_version_goes_on_step_by_step() -> None:
    world = World()
    world.answer(NEW_NAME, 49)
    assert world.look(61).kind == "wait"
    world.answer(NEW_NAME, 1)
    assert world.look() == Verdict("next", "50 requests, 0 failed, at 10% for 61 s")
    world.deployment = replace(TRIAL, stage=1)
    assert world.look() == Verdict("wait", "0 requests, 0 failed, at 50% for 0 s")
    world.answer(NEW_NAME, 50)
    assert world.look(59).kind == "wait"
    assert world.look(1).kind == "done"


def test_a_step_begins_when_its_replicas_are_ready() -> None:
    world = World()
    world.book = RolloutBook()
    world.tell()
    assert world.look(100, Standing(0, 1)) == Verdict("wait", "0 of its 1 replicas are ready")
    world.answer(NEW_NAME, 100)
    assert world.look(100).kind == "wait"
    assert world.look(60).kind == "next"


def test_few_requests_take_patience() -> None:
    world = World()
    world.answer(NEW_NAME, 3)
    assert world.look(299).kind == "wait"
    assert world.look(1).kind == "next"


def test_one_that_does_not_run_goes_back() -> None:
    assert World().look(1, Standing(0, 1, "desk-4: exit 3")) == Verdict("back", "its replicas fail: desk-4: exit 3")


def test_one_that_fails_requests_goes_back_at_once() -> None:
    world = World()
    world.answer(OLD_NAME, 100, 1)
    world.answer(NEW_NAME, 5, 5)
    why = "5 of its 5 requests failed, of the version before 1 of 100"
    assert world.look(1) == Verdict("back", why)


def test_one_that_is_slow_goes_back() -> None:
    world = World()
    world.answer(OLD_NAME, 100, seconds=0.1)
    world.answer(NEW_NAME, 49, seconds=1.0)
    assert world.look(1).kind == "wait"  # too few to tell
    world.answer(NEW_NAME, 1, seconds=1.0)
    assert world.look(1) == Verdict(
        "back", "its p95 to the first byte is above 1.01 s, that of the version before below 0.11 s"
    )


def test_what_fails_everywhere_is_not_its_fault() -> None:
    world = World()
    world.answer(OLD_NAME, 100, 50)
    world.answer(NEW_NAME, 100, 50)
    assert world.look(61).kind == "next"


def test_what_a_gateway_counted_before_is_the_pasts() -> None:
    world = World()
    world.sums[NEW_NAME] = Outcome("desk", NEW_NAME, 100, 100)
    world.tell("another")
    assert world.look(1) == Verdict("wait", "0 requests, 0 failed, at 10% for 1 s")
    world.answer(NEW_NAME, 0)  # the first gateway brings news of the same
    assert world.look(1).kind == "back"


def test_the_book_forgets() -> None:
    world = World()
    world.answer(NEW_NAME, 5, 5)
    world.book.keep((), world.now)
    assert world.look().kind == "wait"
    world.book.keep(("desk",), FORGET_S + 1)
    world.answer(NEW_NAME, 5, 5)
    assert world.look().kind == "wait"  # its first word again


def test_standing() -> None:
    def seat(number: int, **more: object) -> ReplicaStatus:
        base = ReplicaStatus(f"d-{number}", "d", f"e{number}", "ready", version="new", target="new", reason="r")
        return replace(base, **more)  # pyright: ignore[reportArgumentType]

    told = [seat(0), seat(1, version="old"), seat(2, target="old", version="old", failures=9), seat(3, state="failed")]
    assert standing(told, "new", 3) == Standing(1, 3)
    assert standing([*told, seat(4, failures=FAILURES, state="failed")], "new", 3) == Standing(1, 3, "d-4: r")


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
def test_a_version_that_fails_no_more_often_is_never_worse(new: int, bad: int, old: int, worst: int) -> None:
    mine, before = Seen(new, min(bad, new)), Seen(old, min(worst, old))
    if mine.errors * max(old, 1) <= before.errors * max(new, 1):
        assert worse(POLICY, mine, before) == ""


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200))
def test_a_version_as_fast_as_the_old_one_is_never_worse(times: list[float]) -> None:
    counts = Counter(bucket(each) for each in times)
    seen = Seen(len(times), 0, counts)
    assert worse(replace(POLICY, requests=0), seen, seen) == ""
    assert worse(replace(POLICY, requests=0), Seen(), Seen()) == ""


def test_the_old_version_is_the_one_before() -> None:
    assert TRIAL.before == spec_of(OLD)
