"""How many replicas demand asks for: the pure core, on a clock of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from colonnade.fleet.autoscale import Autoscaler, Decision, Pace, Sample
from colonnade.fleet.demand import Counts, DemandBook
from colonnade.wire.routes import Demand, Demands, Scaling

PACE = Pace(stable_s=60.0, panic_s=6.0, panic_at=2.0, blind_s=5.0)


@dataclass
class World:
    """A deployment whose replicas are ready `start_s` after they were ordered; a look every second."""

    scaling: Scaling
    start_s: float = 0.0
    replicas: int = 1
    now: float = 0.0
    served: int = 0  # ready at the last look
    scaler: Autoscaler = field(default_factory=lambda: Autoscaler(PACE))
    born: list[float] = field(default_factory=list[float])
    said: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.born = [-1e9] * self.replicas

    @property
    def ready(self) -> int:
        return sum(at + self.start_s <= self.now for at in self.born)

    def run(self, seconds: int, demand: int) -> list[int]:
        """The number of replicas after each second."""
        return [self.step(demand) for _ in range(seconds)]

    def step(self, demand: int | None) -> int:
        self.now += 1
        if demand is not None:
            self.scaler.observe(Sample(self.now, demand))
        self.served = self.ready
        decision = self.scaler.decide(self.scaling, self.now, self.replicas, self.served)
        if decision.replicas != self.replicas:
            self.said.append(decision.reason)
        self.born = (self.born + [self.now] * decision.replicas)[: decision.replicas]
        self.replicas = decision.replicas
        return self.replicas


def test_calm_demand_gets_what_the_target_says() -> None:
    world = World(Scaling(1, 10, target=4), replicas=3)
    assert world.run(120, 12)[-1] == 3
    assert world.said == []


def test_a_burst_doubles_what_is_ready_until_it_is_met() -> None:
    world = World(Scaling(1, 100, target=1), start_s=5.0)
    seen = world.run(60, 40)
    assert seen[-1] == 40
    assert sorted(set(seen)) == [2, 4, 8, 16, 32, 40]
    assert "16 ready, so 32 for now" in " ".join(world.said)


def test_a_burst_that_meets_no_replica_activates_one() -> None:
    world = World(Scaling(0, 10, target=4), start_s=3.0, replicas=0)
    assert world.run(30, 0)[-1] == 0
    seen = world.run(20, 30)
    assert seen[0] == seen[2] == 1
    assert seen[-1] == 8


def test_down_goes_slowly_and_never_below_what_the_last_minute_asked_for() -> None:
    world = World(Scaling(1, 16, target=1), replicas=16)
    world.run(70, 16)
    falling = world.run(200, 0)
    assert falling[50] == 16
    assert falling[-1] == 1
    assert all(after >= before // 2 for before, after in pairwise(falling))


def test_in_panic_nothing_goes_down() -> None:
    world = World(Scaling(1, 16, target=1), replicas=1)
    world.run(70, 1)
    world.run(8, 8)
    top = world.replicas
    assert min(world.run(40, 0)) == top > 1


def test_the_last_replica_rests_after_the_idle_time() -> None:
    world = World(Scaling(0, 4, target=4, idle=100.0))
    world.run(60, 1)
    assert world.run(90, 0)[-1] == 1
    assert world.run(60, 0)[-1] == 0
    assert world.said == ["no demand for 121 s"]


def test_several_go_down_to_one_before_it_rests() -> None:
    world = World(Scaling(0, 4, target=4, idle=300.0), replicas=2)
    assert world.run(150, 0)[-1] == 1


def test_blind_nothing_changes() -> None:
    world = World(Scaling(1, 4, target=1), replicas=3)
    world.run(120, 3)
    assert [world.step(None) for _ in range(300)][-1] == 3
    decision = world.scaler.decide(world.scaling, world.now, 3, 3)
    assert decision == Decision(3, "no gateway has reported demand for 5 s: nothing changes")


def test_bounds_hold_even_when_blind() -> None:
    scaler = Autoscaler(PACE)
    assert scaler.decide(Scaling(2, 4), 0.0, 0, 0) == Decision(2, "at least 2 are wanted")
    assert scaler.decide(Scaling(2, 4), 0.0, 9, 9) == Decision(4, "at most 4 are wanted")


@given(
    st.builds(lambda low, more, target: Scaling(low, low + more, target), *[st.integers(0, 5)] * 2, st.floats(0.5, 9)),
    st.lists(st.one_of(st.none(), st.integers(0, 200)), max_size=150),
    st.floats(0, 30),
)
def test_within_bounds_and_never_down_while_blind_or_too_fast(
    scaling: Scaling, demands: list[int | None], start_s: float
) -> None:
    scaling = Scaling(scaling.min, max(1, scaling.max), scaling.target, idle=20.0)
    world = World(scaling, start_s, replicas=max(1, scaling.min))
    silent = 0
    for demand in demands:
        before = world.replicas
        after = world.step(demand)
        silent = silent + 1 if demand is None else 0
        assert scaling.min <= after <= scaling.max
        assert after <= max(before, 2 * world.served, 1, scaling.min)
        if silent > PACE.blind_s:
            assert after == before


def test_the_book_adds_up_gateways_and_forgets_the_silent() -> None:
    book = DemandBook(PACE)
    scaled = {"a": Scaling(1, 10, target=1)}
    counts = {"a": Counts(1, 1)}
    for at in (0.0, 1.0, 2.0):
        book.take(Demands("g1", (Demand("a", 3), Demand("b", 9))), at)
        book.take(Demands("g2", (Demand("a", 2, 1),)), at)
        decided = dict(book.decide(scaled, counts, at))
    assert decided["a"].replicas == 2
    assert "5.0 in flight" in decided["a"].reason
    assert "nothing changes" in dict(book.decide(scaled, counts, 20.0))["a"].reason
    assert dict(book.decide({}, {}, 21.0)) == {}
