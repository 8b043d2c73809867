"""The ledger equals the truth, whatever is killed, told again, or never heard."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colonnade.fleet import ledger
from colonnade.fleet.meter import STRETCH_MS, Meter, Rate
from colonnade.fleet.migrations import migrate
from colonnade.fleet.spool import Spool
from colonnade.wire.routes import ClusterSpec, Offer, ReplicaStatus, Stretch, TokenSum

RATE = Rate("h100", 2.0, "byo", "p1")
T0 = 1_700_000_000_000


def memory() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    migrate(db)
    return db


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    opened = memory()
    yield opened
    opened.close()


class World:
    """Lives that begin and end, an agent that may be killed at any moment, and a line that loses and repeats."""

    def __init__(self, folder: Path) -> None:
        self.now = T0
        self.file = folder / "usage.jsonl"
        self.db = memory()
        self.running: dict[str, ReplicaStatus] = {}
        self.truth: dict[str, int] = {}
        self.number = 0
        self.spool = Spool(self.file)
        self.meter = Meter(self.spool.marks, lambda _: RATE)

    def begin(self) -> None:
        self.number += 1
        epoch = f"e{self.number}"
        self.running[epoch] = ReplicaStatus(f"a-{self.number}", "a", epoch, "ready", started_at=self.now / 1000)
        self.look()

    def end(self) -> None:
        if self.running:
            epoch, status = self.running.popitem()
            self.truth[epoch] = self.now - round(status.started_at * 1000)
            self.look()

    def pass_time(self, ms: int) -> None:
        """As the agent's timer has it: a look at each stretch's end."""
        for _ in range(ms // STRETCH_MS):
            self.now += STRETCH_MS
            self.look()
        self.now += ms % STRETCH_MS

    def look(self) -> None:
        self.spool.add(self.meter.look(self.running.values(), self.now))
        self.spool.forget(self.meter.running())

    def kill(self, cut: int) -> None:
        """Nothing of its memory is left; of the file's last line, perhaps, a part that was not flushed."""
        self.spool.close()
        with self.file.open("ab") as file:
            file.write(b'{"replica":"a-1","epoch":"e1","deployment":"a"'[:cut])
        self.spool = Spool(self.file)
        self.meter = Meter(self.spool.marks, lambda _: RATE)
        self.look()
        self.meter.settle()

    def report(self, heard: bool, answered: bool) -> None:
        told = self.spool.pending(3)
        if heard:
            ledger.add_stretches(self.db, "c", told)
            if answered:
                self.spool.acknowledge(told)

    def settle(self) -> dict[str, int]:
        while self.running:
            self.end()
        while self.spool.pending(1):
            self.report(True, True)
        self.spool.close()
        found = dict(self.db.execute("SELECT epoch, sum(ended - begun) FROM usage GROUP BY epoch"))
        self.db.close()
        return found


STEPS = st.one_of(
    st.just(("begin",)),
    st.just(("end",)),
    st.tuples(st.just("pass_time"), st.integers(1, 35_000)),
    st.tuples(st.just("kill"), st.integers(0, 40)),
    st.tuples(st.just("report"), st.booleans(), st.booleans()),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(STEPS, max_size=30))
def test_the_ledger_equals_the_truth(steps: list[tuple[str, int, bool]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        for name, *given in steps:
            getattr(world, name)(*given)
        found = world.settle()
        assert found == {epoch: ms for epoch, ms in world.truth.items() if ms}


def test_a_life_that_ends_while_nobody_watches_counts_to_its_last_stretch(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.begin()
    world.pass_time(25_000)
    world.running.clear()
    world.kill(0)
    assert world.settle() == {"e1": 20_000}
    assert world.spool.marks == {} or world.meter.running() == frozenset()


def test_a_clock_that_is_set_back_takes_nothing_back() -> None:
    meter = Meter({}, lambda _: RATE)
    life = ReplicaStatus("a-0", "a", "e", "ready", started_at=T0 / 1000)
    assert meter.look([life], T0) == ()
    (first,) = meter.look([life], T0 + 10_000)
    assert meter.look([life], T0 + 5_000) == ()
    assert meter.look([], T0 + 4_000) == ()
    assert (first.begun, first.ended, first.resource, first.amount, first.owner) == (
        T0,
        T0 + 10_000,
        "h100",
        2.0,
        "byo",
    )


def test_what_has_not_begun_or_has_failed_is_not_metered() -> None:
    meter = Meter({}, lambda _: RATE)
    life = ReplicaStatus("a-0", "a", "e", "failed", started_at=T0 / 1000)
    assert meter.look([life, ReplicaStatus("a-1", "a", "f", "starting")], T0 + 60_000) == ()
    assert meter.running() == frozenset()


def stretch(begun: int, ended: int, **more: str) -> Stretch:
    given = {
        "replica": "a-0",
        "epoch": "e",
        "deployment": "a",
        "version": "v",
        "price": "p1",
        "resource": "h100",
        **more,
    }
    return Stretch(begun=begun, ended=ended, amount=2.0, **given)


def test_a_bill(db: sqlite3.Connection) -> None:
    east = ClusterSpec("east", owner="byo", resources={"h100": Offer(8, price=3.6)})
    ledger.add_prices(db, "east", east, "p1")
    ledger.add_prices(db, "east", east, "p1")
    ledger.add_stretches(db, "east", [stretch(0, 10_000), stretch(10_000, 30_000), stretch(10_000, 30_000)])
    ledger.add_stretches(db, "west", [stretch(0, 5_000, epoch="w", price="", deployment="b")])
    (whole,) = ledger.used(db, (), 0.0)
    assert (whole.replica_seconds, whole.unit_seconds, round(whole.cost, 9)) == (35.0, 70.0, 0.06)
    by = ledger.used(db, ("deployment", "cluster"), 20.0)
    assert [(line.group, line.replica_seconds) for line in by] == [({"deployment": "a", "cluster": "east"}, 10.0)]
    assert ledger.used(db, (), 1e9) == []


def test_a_life_is_one_line_while_its_rate_is_the_same_however_often_it_is_told(db: sqlite3.Connection) -> None:
    life = [stretch(begun, begun + 10_000) for begun in range(0, 60_000, 10_000)]
    for told in (life[:3], life[1:3], life[:5], life[4:], life):
        ledger.add_stretches(db, "east", told)
    ledger.add_stretches(db, "east", [stretch(60_000, 61_000, price="p2")])
    rows = db.execute("SELECT begun, ended, price FROM usage ORDER BY begun").fetchall()
    assert rows == [(0, 60_000, "p1"), (60_000, 61_000, "p2")]


def test_what_is_old_is_forgotten_of_lives_that_are_over(db: sqlite3.Connection) -> None:
    ledger.add_stretches(db, "east", [stretch(0, 5_000), stretch(0, 9_000, epoch="f")])
    ledger.add_tokens(db, "g", [TokenSum(0, "crm", "a", 7, 3), TokenSum(1, "crm", "a", 1, 1)])
    ledger.forget(db, 8.0)
    (line,) = ledger.used(db, (), 0.0)
    assert (line.replica_seconds, line.prompt_tokens) == (9.0, 8)
    ledger.forget(db, 3600.0)
    (line,) = ledger.used(db, (), 0.0)
    assert (line.replica_seconds, line.prompt_tokens) == (0.0, 1)


def test_tokens_of_a_gateway_count_once(db: sqlite3.Connection) -> None:
    for prompt in (10, 30, 20):  # the last one was overtaken
        ledger.add_tokens(db, "g1", [TokenSum(5, "crm", "a", prompt, 1)])
    ledger.add_tokens(db, "g2", [TokenSum(6, "crm", "a", 5, 5), TokenSum(6, "web", "b", 1, 1)])
    lines = ledger.used(db, ("key",), 0.0)
    assert [(line.group["key"], line.prompt_tokens, line.completion_tokens) for line in lines] == [
        ("crm", 35, 6),
        ("web", 1, 1),
    ]
    (late,) = ledger.used(db, ("deployment",), 6 * 3600.0)[:1]
    assert (late.group, late.prompt_tokens) == ({"deployment": "a"}, 5)


def test_time_and_tokens_of_a_deployment_are_one_line(db: sqlite3.Connection) -> None:
    ledger.add_stretches(db, "east", [stretch(0, 1_000)])
    ledger.add_tokens(db, "g", [TokenSum(0, "crm", "a", 7, 3)])
    (line,) = ledger.used(db, ("deployment",), 0.0)
    assert (line.replica_seconds, line.prompt_tokens, line.completion_tokens) == (1.0, 7, 3)
