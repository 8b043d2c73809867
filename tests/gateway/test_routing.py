"""Which replica: least loaded, whatever comes, goes and fails."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from colonnade.gateway.ask import Ask
from colonnade.gateway.routing import EJECTION, RetryBudget, Table, Target, by_share
from colonnade.gateway.sequence import Sequence
from colonnade.gateway.stats import BOUNDS, Histogram, Stats
from colonnade.wire.errors import InvalidRequest, Overloaded
from colonnade.wire.messages import Load
from colonnade.wire.routes import Route, Routes, Share


def table(*epochs: str, models: tuple[str, ...] = ("m",)) -> Table:
    made = Table()
    made.update(routed(*epochs, models=models))
    return made


def routed(*epochs: str, models: tuple[str, ...] = ("m",)) -> Routes:
    routes = tuple(Route(f"r-{epoch}", epoch, f"http://h/{epoch}", "m", aliases=("alias", "m")) for epoch in epochs)
    return Routes(revision=1, routes=routes, models=models)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 9)), min_size=1))
def test_the_least_loaded_is_chosen(loads: list[tuple[int, int, int, int]]) -> None:
    made = table(*(f"e{number}" for number in range(len(loads))))
    for target, (here, running, waiting, tokens) in zip(made.targets.values(), loads, strict=True):
        target.in_flight = here
        target.load = Load(running=running, waiting=waiting, tokens=tokens)
    least = min((here + running + waiting, tokens) for here, running, waiting, tokens in loads)
    chosen = made.choose("m", 0.0)
    assert (chosen.in_flight - 1 + chosen.load.running + chosen.load.waiting, chosen.load.tokens) == least


def test_equals_take_turns() -> None:
    made = table("a", "b", "c")
    chosen = []
    for _ in range(6):
        target = made.choose("alias", 0.0)
        made.release(target, probe=False)
        chosen.append(target.route.epoch)
    assert chosen == ["a", "b", "c"] * 2


def test_names() -> None:
    made = table("a", models=("m", "later"))
    assert made.names() == ["alias", "later", "m"]
    with pytest.raises(Overloaded):
        made.choose("later", 0.0)
    with pytest.raises(InvalidRequest) as refused:
        made.choose("huge", 0.0)
    assert refused.value.hint == "deployed: alias, later, m"
    with pytest.raises(InvalidRequest) as refused:
        Table().choose("huge", 0.0)
    assert refused.value.hint == "deployed: none"


def test_a_stream_goes_on_where_it_is() -> None:
    made = table("a", "b")
    made.targets["a"].in_flight = 9
    assert made.choose("m", 0.0, epoch="a").route.epoch == "a"
    assert made.choose("m", 0.0, (made.targets["a"],), epoch="a").route.epoch == "b"
    assert made.choose("m", 0.0, epoch="gone").route.epoch == "b"
    other = Route("x", "x", "http://x", "other")
    made.update(Routes(revision=2, routes=(*routed("b").routes, other), models=("m",)))
    assert made.choose("m", 0.0, epoch="x").route.epoch == "b", "of another model"


def test_ejection_and_the_probe() -> None:
    made = table("a")
    (target,) = made.targets.values()
    made.unreachable(target, 10.0)
    assert not made.others("m", 10.0 + EJECTION / 2, ())
    with pytest.raises(Overloaded):
        made.choose("m", 10.0 + EJECTION / 2)
    probe = made.choose("m", 10.0 + EJECTION)
    assert probe.probing
    with pytest.raises(Overloaded):
        made.choose("m", 10.0 + EJECTION)
    made.release(probe, probe=True)
    assert made.choose("m", 10.0 + EJECTION).probing
    made.reached(target)
    made.release(target, probe=True)
    assert not made.choose("m", 10.0 + EJECTION).probing


def test_what_leaves_gets_nothing() -> None:
    made = table("a", "b")
    made.targets["a"].leaving = True
    assert made.choose("m", 0.0).route.epoch == "b"


def test_an_epoch_that_ended_is_forgotten() -> None:
    made = table("a", "b")
    kept, ended = made.targets["a"], made.targets["b"]
    came, went = made.update(routed("a", "c"))
    assert [target.route.epoch for target in came] == ["c"]
    assert went == [ended]
    assert made.targets["a"] is kept
    moved = Route("r-a", "a", "http://elsewhere", "m")
    came, went = made.update(Routes(revision=3, routes=(moved,)))
    assert came == [made.targets["a"]]
    assert kept in went, "an epoch at another address is not the same life"


class Life(RuleBasedStateMachine):
    """Requests in flight are counted right, and only what may be chosen is, in any order of things."""

    def __init__(self) -> None:
        super().__init__()
        self.table = table("a", "b")
        self.now = 0.0
        self.held: list[tuple[Target, bool]] = []

    @rule(epochs=st.sets(st.sampled_from("abcd")))
    def update(self, epochs: set[str]) -> None:
        self.table.update(routed(*sorted(epochs)))

    @rule(seconds=st.sampled_from([0.0, 0.4, 1.1]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(model=st.sampled_from(["m", "alias"]))
    def choose(self, model: str) -> None:
        free = [target for target in self.table.targets.values() if target.open(self.now)]
        assert bool(free) == self.table.others(model, self.now, ())
        try:
            chosen = self.table.choose(model, self.now)
        except (Overloaded, InvalidRequest):
            assert not free
            return
        assert chosen in free
        self.held.append((chosen, chosen.probing))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), how=st.sampled_from(["well", "unreachable", "left"]))
    def end(self, data: st.DataObject, how: str) -> None:
        target, probe = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        if how == "well":
            self.table.reached(target)
        elif how == "unreachable":
            self.table.unreachable(target, self.now)
        self.table.release(target, probe=probe)

    @invariant()
    def counted(self) -> None:
        for target in self.table.targets.values():
            assert target.in_flight == sum(held is target for held, _ in self.held)
            assert not target.probing or any(held is target and probe for held, probe in self.held)


Life.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestLife = Life.TestCase


@given(st.lists(st.booleans(), max_size=200))
def test_retries_are_a_share_of_requests(steps: list[bool]) -> None:
    budget = RetryBudget(share=0.1, most=5)
    spent = 0
    for earns in steps:
        if earns:
            budget.earn()
        else:
            spent += budget.spend()
    assert spent <= 5 + 0.1 * sum(steps)
    budget = RetryBudget(share=0.5, most=1)
    assert [budget.spend(), budget.spend()] == [True, False]
    budget.earn()
    budget.earn()
    assert budget.spend()


def test_numbers() -> None:
    numbers = Sequence("e")
    assert numbers.take("other", 4) == "foreign"
    assert numbers.take("e", 4) == "gap", "the first one says nothing of what was before"
    assert [numbers.take("e", seq) for seq in (5, 5, 4, 7)] == ["next", "old", "old", "gap"]
    assert not numbers.at("e", 6), "older than what is known"
    assert not numbers.at("other", 9)
    assert numbers.at("e", 9)
    assert numbers.take("e", 10) == "next"
    assert Sequence("e").at("e", 0)


@given(st.lists(st.floats(0, 1000), max_size=50))
def test_histograms(seconds: list[float]) -> None:
    histogram = Histogram()
    for each in seconds:
        histogram.add(each)
    counted = histogram.buckets()
    assert [count for _, count in counted] == [sum(s <= bound for s in seconds) for bound in (*BOUNDS, float("inf"))]
    stats = Stats()
    stats.took("m", 0.1, 0.2)
    stats.took("m", 0.1, 0.2)
    assert stats.times["m"][1].buckets()[-1] == ("+Inf", 2)


def versions(**shares: float) -> Table:
    """Two replicas of version one, one of two."""
    made = Table()
    routes = tuple(Route(f"r-{e}", e, f"http://h/{e}", "m", version=v) for e, v in (("a", "1"), ("b", "1"), ("c", "2")))
    given = tuple(Share("m", version[1:], share) for version, share in shares.items())
    made.update(Routes(revision=1, routes=routes, models=("m",), shares=given))
    return made


def test_versions_get_their_shares() -> None:
    made = versions(v1=0.75, v2=0.25)
    chosen = [made.choose("m", 0.0, noise=step / 100).route.version for step in range(100)]
    assert (chosen.count("1"), chosen.count("2")) == (75, 25)


def test_a_version_that_cannot_serve_leaves_its_share() -> None:
    made = versions(v1=0.5, v2=0.5)
    made.targets["c"].leaving = True
    assert {made.choose("m", 0.0, noise=step / 10).route.version for step in range(10)} == {"1"}
    made = versions(v1=0.5, v2=0.5)
    tried = [made.targets["a"], made.targets["b"]]
    assert made.choose("m", 0.0, without=tried).route.version == "2"


def test_a_version_without_a_share_serves_only_alone() -> None:
    made = versions(v1=1.0)
    assert {made.choose("m", 0.0, noise=step / 10).route.version for step in range(10)} == {"1"}
    for epoch in "ab":
        made.targets[epoch].leaving = True
    assert made.choose("m", 0.0).route.version == "2"


@given(st.dictionaries(st.sampled_from("123"), st.floats(0, 1)), st.floats(0, 1, exclude_max=True))
def test_chance_that_is_left_is_chance(shares: dict[str, float], noise: float) -> None:
    able = [Target(Route(f"r-{v}", v, "http://h", "m", version=v)) for v in "12"]
    found, left = by_share(able, shares, noise)
    assert found
    assert 0 <= left <= 1
    if any(shares.get(v, 0) > 0 for v in "12"):
        assert all(shares.get(target.route.version, 0) > 0 for target in found)


def test_how_many_a_replica_gets() -> None:
    silent, telling = Target(Route("r", "e", "http://r", "m")), Target(Route("r", "e", "http://r", "m", "tcp://r"))
    silent.in_flight = 1000
    assert silent.room(0, 0.0), "it never says"
    assert not silent.room(1000, 0.0)
    telling.in_flight = 15
    assert telling.room(0, 0.0)
    telling.in_flight = 16
    assert not telling.room(0, 0.0), "it has not said yet"
    assert telling.room(17, 0.0)
    telling.load, telling.pulse.known = Load(slots=16), True
    assert telling.room(0, 0.0), "an eighth more than its slots"
    telling.in_flight = 18
    assert not telling.room(0, 0.0)
    telling.load = Load()
    assert telling.room(0, 0.0), "it says that it does not say"


def test_others_go_where_they_are_computed_soon() -> None:
    """Streams say when they begin; what is reckoned of the others is not gone by."""
    table = Table()
    table.update(Routes(1, (Route("r", "e", "http://r", "m"),)))
    target = table.targets["e"]
    ask = Ask(tokens=8000.0)  # two seconds of computing
    unheard = table.charge(target, ask, 0.0, heard=False)
    assert table.free("m", 0.0)
    heard = table.charge(target, ask, 0.0, heard=True)
    assert heard.work == 16000
    assert not table.free("m", 3.9)
    assert table.free("m", 3.99), "a little ahead, so that it is never idle"
    table.settle(unheard, 1.0)
    assert not table.free("m", 2.9)
    assert target.left(2.0) == 4000
    table.settle(heard, 1.5)
    assert table.free("m", 1.5)
    assert (target.backlog, target.unbegun, target.left(1.5)) == (0.0, 0, 0.0)
