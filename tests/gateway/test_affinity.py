"""The index of prefixes: it converges to what replicas hold, whatever happens to their events."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colonnade.gateway.affinity import Index
from colonnade.gateway.routing import Table
from colonnade.gateway.target import Target
from colonnade.gateway.view import AGAIN, View
from colonnade.replica.landmarks import Mark
from colonnade.replica.publication import Publication
from colonnade.wire.messages import Envelope, Load, Marked, MarksChanged, Phase, Removed, Stored, Unmarked
from colonnade.wire.prefix import WHOLE, Link
from colonnade.wire.routes import Route, Routes

Steps = list[tuple[str, int]]


def link(name: bytes, size: int) -> Link:
    return Link(name, size, 0, WHOLE)


class Channel:
    """Events between a real publication and a view of it; they may be lost, doubled, overtaken, and of another life."""

    def __init__(self) -> None:
        self.index = Index()
        self.lives = 0
        self.under_way: list[Envelope] = []
        self.now = 0.0
        self.restart()

    def restart(self) -> None:
        if self.lives:
            self.index.forget(self.epoch)
        self.lives += 1
        self.epoch = f"e{self.lives}"
        self.truth = Publication(self.epoch)
        self.view = View(Target(Route("r", self.epoch, "http://r", "m")), self.index)

    def happen(self, what: str, which: int) -> None:
        name = b"%d" % which
        match what:
            case "stored":
                self.truth.expect([Mark(b"link " + name, which + 1, name)])
                self.truth.note(Load(), [Stored(name, which + 1)])
                self.under_way += self.truth.flush()
            case "removed":
                self.truth.note(Load(), [Removed(name)])
                self.under_way += self.truth.flush()
            case "lost":
                del self.under_way[which : which + 1]
            case "doubled":
                self.under_way += self.under_way[which : which + 1]
            case "overtaken":
                self.under_way.insert(0, self.under_way.pop()) if self.under_way else None
            case "arrives":
                self.arrive()
            case "restart":
                self.restart()
            case _:
                self.now += AGAIN

    def arrive(self, *, snapshot: bool = False) -> None:
        if not self.under_way:
            return
        if self.view.take(self.under_way.pop(0), self.now):
            self.view.asked(self.now)
            if snapshot:
                self.mend()

    def mend(self) -> None:
        self.under_way += self.truth.flush()
        self.view.mend(self.truth.snapshot())


WHATS = [
    "stored",
    "stored",
    "stored",
    "removed",
    "lost",
    "doubled",
    "overtaken",
    "arrives",
    "arrives",
    "restart",
    "late",
]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(WHATS), st.integers(0, 5)), max_size=60), st.booleans())
def test_the_index_converges_to_what_the_replica_holds(steps: Steps, snapshot: bool) -> None:
    channel = Channel()
    for what, which in steps:
        channel.happen(what, which)
        if snapshot:
            channel.arrive(snapshot=True)
    channel.now += AGAIN
    channel.under_way += channel.truth.turn(Phase("ready"))
    while channel.under_way:
        channel.arrive(snapshot=True)
    assert channel.view.whole
    assert channel.index.held(channel.epoch) == {mark.mark: mark.length for mark in channel.truth.snapshot().marks}
    for life in range(1, channel.lives):
        assert not channel.index.held(f"e{life}"), "what an ended epoch held is forgotten"


def test_a_snapshot_that_is_older_changes_nothing() -> None:
    channel = Channel()
    old = channel.truth.snapshot()
    channel.happen("stored", 1)
    channel.arrive()
    channel.arrive()
    assert not channel.view.mend(old)
    assert channel.index.held(channel.epoch) == {b"link 1": 2}
    assert not channel.view.whole
    assert not channel.view.take(Envelope(channel.epoch, 3, Phase("ready")), channel.now), "asked a moment ago"
    assert channel.view.take(Envelope(channel.epoch, 4, Phase("draining")), channel.now + AGAIN)
    assert channel.view.target.leaving


def test_the_longest_link_counts() -> None:
    index = Index()
    index.apply("a", [Marked(b"1", 10), Marked(b"2", 20)])
    index.apply("b", [Marked(b"1", 10)])
    asked = [link(b"1", 40), link(b"2", 80), link(b"3", 120)]
    assert index.cached(asked, ["a", "b", "c"]) == {"a": 20, "b": 10}
    assert index.cached(asked[:1], ["a", "b"]) == {"a": 10, "b": 10}
    index.apply("a", [Unmarked(b"2"), Unmarked(b"never")])
    assert index.cached(asked, ["a", "b"]) == {"a": 10, "b": 10}
    index.replace("a", [Marked(b"3", 30)])
    assert index.held("a") == {b"3": 30}
    index.forget("a")
    assert index.cached(asked, ["a", "b"]) == {"b": 10}


def test_what_is_on_its_way_counts_until_it_is_settled() -> None:
    index = Index()
    asked = [link(b"1", 400)]
    index.coming("a", asked, 1)
    index.coming("a", asked, 1)
    index.coming("b", asked, 1)
    assert index.cached(asked, ["a", "b"]) == {"a": 100.0, "b": 100.0}
    index.coming("b", asked, -1)
    index.coming("a", asked, -1)
    assert index.cached(asked, ["a", "b"]) == {"a": 100.0}
    index.coming("a", asked, -1)
    assert index.cached(asked, ["a", "b"]) == {}


def test_bytes_a_token_are_learned() -> None:
    index = Index()
    index.apply("a", [Marked(b"1", 1000)])
    for _ in range(50):
        index.cached([link(b"1", 2000)], ["a"])
    assert index.tokens_per_byte == pytest.approx(0.5, rel=0.01)


def test_a_table_forgets_with_its_routes() -> None:
    table = Table()
    table.update(Routes(1, (Route("r", "e1", "http://r", "m"),)))
    table.index.apply("e1", [Marked(b"1", 10)])
    table.update(Routes(2, (Route("r", "e2", "http://r", "m"),)))
    assert not table.index.held("e1")
    view = View(table.targets["e2"], table.index)
    assert not view.take(Envelope("e1", 9, MarksChanged([Marked(b"1", 10)])), 0.0)
    assert not table.index.held("e1"), "what a zombie says is not heard"
