"""The reconciler against any history: whatever the world does, it never breaks its invariants, and once the world is
fair again it ends at exactly what is wanted."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import count, pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from colonnade.fleet.orders import Begun, Ended, Event, Listening, Policy, Probe, Probed, Start, Stop, Tick, Wanted
from colonnade.fleet.reconcile import Reconciler
from colonnade.fleet.versions import template
from colonnade.wire.routes import Deployment, Version

POLICY = Policy(start_s=20, backoff_first_s=1, backoff_limit_s=8, backoff_reset_s=10)
NAMES = ("a", "a-1", "b")


@dataclass
class Real:
    """A process as the world knows it."""

    start: Start
    since: float
    listening: bool = False
    told_to_stop: bool = False
    probes: int = 0  # orders not answered yet
    ready: bool = False


@dataclass
class World:
    """The driver, the replicas and the control plane, without a mind of their own."""

    now: float = 0.0
    wanted: dict[str, Deployment] = field(default_factory=dict)
    lives: dict[tuple[str, str], Real] = field(default_factory=dict)
    starts: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    generation: int = 0
    numbers: count[int] = field(default_factory=count)

    def restart_agent(self) -> None:
        self.core = Reconciler(POLICY, (f"e{number:06d}" for number in self.numbers))

    def tell(self, event: Event) -> None:
        for order in self.core.handle(event, self.now):
            match order:
                case Start():
                    self.start(order)
                case Stop():
                    assert order.reason
                    self.lives[order.id, order.epoch].told_to_stop = True
                case Probe():
                    self.lives[order.id, order.epoch].probes += 1
                case _:
                    assert order.reason
        self.core.validate()

    def start(self, order: Start) -> None:
        assert (order.id, order.epoch) not in self.lives
        others = [real for (id, _), real in self.lives.items() if id == order.id]
        assert len(others) <= 1
        assert all(real.ready for real in others)
        self.lives[order.id, order.epoch] = Real(order, self.now)
        self.starts[order.id].append(self.now)
        self.tell(self.begun(order, stopping=False))

    @staticmethod
    def begun(order: Start, stopping: bool) -> Begun:
        wanted = order.deployment
        kind = template(wanted)
        return Begun(order.id, order.epoch, wanted.name, wanted.generation, kind, order.restarts, 1, 0.0, stopping)

    def want(self, name: str, replicas: int, model: str) -> None:
        self.generation += 1
        self.wanted[name] = Deployment(name, model, replicas, self.generation)
        self.tell(Wanted(tuple(self.wanted.values())))

    def try_out(self, name: str, replicas: int, kept: int) -> None:
        """A version comes in: some seats stay at the one before."""
        self.generation += 1
        before = self.wanted[name]
        trial = Deployment(name, "m3", replicas, self.generation, before=Version(before.model), kept=kept)
        self.wanted[name] = trial
        self.tell(Wanted(tuple(self.wanted.values())))

    def end(self, key: tuple[str, str]) -> None:
        del self.lives[key]
        self.tell(Ended(*key, "exit 1: of its own accord"))

    def listen(self, key: tuple[str, str]) -> None:
        self.lives[key].listening = True
        self.tell(Listening(*key, f"http://{key[1]}"))

    def answer(self, key: tuple[str, str], well: bool, stalled: bool = False) -> None:
        real = self.lives[key]
        real.probes -= 1
        real.ready |= well
        self.tell(Probed(*key, well, stalled, "" if well else "no"))

    def advance(self, seconds: float) -> None:
        """As the shell does: Tick at each time that was asked for."""
        target = self.now + seconds
        while (wake := self.core.wake_at()) is not None and wake <= target:
            assert wake > self.now
            self.now = wake
            self.tell(Tick())
        self.now = target


class Histories(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.world = World()
        self.world.restart_agent()

    def pick(self, data: st.DataObject, **wanted: bool) -> tuple[str, str] | None:
        keys = [
            key
            for key, real in sorted(self.world.lives.items())
            if all(bool(getattr(real, name)) == value for name, value in wanted.items())
        ]
        return data.draw(st.sampled_from(keys)) if keys else None

    @rule(name=st.sampled_from(NAMES), replicas=st.integers(0, 3), model=st.sampled_from(["m1", "m2"]))
    def want(self, name: str, replicas: int, model: str) -> None:
        self.world.want(name, replicas, model)

    @precondition(lambda self: self.world.wanted)
    @rule(data=st.data(), replicas=st.integers(0, 3), kept=st.integers(0, 3))
    def try_out(self, data: st.DataObject, replicas: int, kept: int) -> None:
        self.world.try_out(data.draw(st.sampled_from(sorted(self.world.wanted))), replicas, kept)

    @precondition(lambda self: self.world.wanted)
    @rule(data=st.data())
    def unwant(self, data: st.DataObject) -> None:
        del self.world.wanted[data.draw(st.sampled_from(sorted(self.world.wanted)))]
        self.world.tell(Wanted(tuple(self.world.wanted.values())))

    @rule(data=st.data())
    def a_replica_listens(self, data: st.DataObject) -> None:
        if key := self.pick(data, listening=False):
            self.world.listen(key)

    @rule(data=st.data(), well=st.booleans(), stalled=st.booleans())
    def a_probe_returns(self, data: st.DataObject, well: bool, stalled: bool) -> None:
        if key := self.pick(data, probes=True):
            self.world.answer(key, well, stalled and not well)

    @rule(data=st.data())
    def a_replica_ends(self, data: st.DataObject) -> None:
        if key := self.pick(data):
            self.world.end(key)

    @rule(data=st.data())
    def a_stop_is_done(self, data: st.DataObject) -> None:
        if key := self.pick(data, told_to_stop=True):
            self.world.end(key)

    @rule(seconds=st.floats(0.01, 30))
    def time_passes(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule()
    def the_agent_is_killed_and_comes_back(self) -> None:
        world = self.world
        world.restart_agent()
        world.starts.clear()  # its memory of failures went with it
        for key, real in sorted(world.lives.items()):
            real.probes = 0
            world.tell(world.begun(real.start, real.told_to_stop))
            if real.listening:
                world.tell(Listening(*key, f"http://{key[1]}"))
        world.tell(Wanted(tuple(world.wanted.values())))

    @invariant()
    def never_more_lives_than_wanted_but_for_what_goes_and_one_replacement(self) -> None:
        for name, wanted in self.world.wanted.items():
            staying = [
                real
                for (id, _), real in self.world.lives.items()
                if id.rpartition("-")[0] == name and not real.told_to_stop
            ]
            assert len(staying) <= wanted.replicas + 1

    @invariant()
    def statuses_are_what_runs(self) -> None:
        statuses = self.world.core.statuses()
        assert {(s.id, s.epoch) for s in statuses if s.state != "failed"} == set(self.world.lives)
        assert all(s.reason for s in statuses if s.state in {"failed", "draining"})

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self._be_fair()
        world = self.world
        for name, wanted in world.wanted.items():
            mine = {key: real for key, real in world.lives.items() if key[0].rpartition("-")[0] == name}
            assert len(mine) == wanted.replicas
            assert all(real.ready and not real.told_to_stop for real in mine.values())
            run = Counter(template(real.start.deployment) for real in mine.values())
            kept = min(wanted.kept, wanted.replicas)
            old = Counter({template(wanted.before): kept} if wanted.before is not None else {})
            assert run == +(Counter({template(wanted): wanted.replicas - kept}) + old)
        assert sum(wanted.replicas for wanted in world.wanted.values()) == len(world.lives)
        assert all(status.state == "ready" for status in world.core.statuses())

    def _be_fair(self) -> None:
        """Stops are done, what starts listens and is ready, and nothing fails any more."""
        world = self.world
        for _ in range(60):
            for key in sorted(world.lives):
                real = world.lives.get(key)
                if real is None:
                    continue
                if real.told_to_stop:
                    world.end(key)
                elif not real.listening:
                    world.listen(key)
                elif real.probes:
                    world.answer(key, True)
            world.advance(POLICY.backoff_limit_s)


class CrashLoops(RuleBasedStateMachine):
    """All that starts ends: the starts of a seat are spaced."""

    @initialize(replicas=st.integers(1, 2))
    def begin(self, replicas: int) -> None:
        self.world = World()
        self.world.restart_agent()
        self.world.want("a", replicas, "m1")

    @rule(seconds=st.floats(0.0, 3.0))
    def all_crash(self, seconds: float) -> None:
        for key in sorted(self.world.lives):
            self.world.end(key)
        self.world.advance(seconds)

    @invariant()
    def starts_are_spaced(self) -> None:
        for times in self.world.starts.values():
            for failures, (before, after) in enumerate(pairwise(times), start=1):
                assert after - before >= POLICY.backoff(failures) - 1e-9


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestCrashLoops = CrashLoops.TestCase
TestCrashLoops.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
