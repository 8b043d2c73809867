"""What is known of a Ray cluster's nodes: hosts that begin again, nodes that are lost and come back."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.drivers.base import Announced, DriverEvent, Exited, Life, ReplicaSpec, Started
from colonnade.drivers.ray.nodes import SLIVER, Key, News, Node, Nodes, needs

NODES = ("n1", "n2")


def spec(id: str = "a-0", epoch: str = "e1", cores: int = 0, gpus: float = 0.0, memory: int = 0) -> ReplicaSpec:
    return ReplicaSpec(id=id, epoch=epoch, argv=("x",), cores=cores, gpus=gpus, memory=memory)


def life(id: str = "a-0", epoch: str = "e1", url: str = "") -> Life:
    return Life(id=id, epoch=epoch, pid=1, url=url)


def told(*events: DriverEvent, run: str = "r1", until: int = 1, known: tuple[Key, ...] | None = None) -> News:
    keys = tuple((event.life.id, event.life.epoch) for event in events)
    return News(run, until, events, keys if known is None else known)


@pytest.fixture
def nodes() -> Nodes:
    nodes = Nodes()
    for name in NODES:
        nodes.appeared(Node(name, name, "127.0.0.2", {"CPU": 2.0, "GPU": 1.0}))
    return nodes


def test_a_life_is_told_of_once_whoever_says_it_first(nodes: Nodes) -> None:
    nodes.begin(spec(), 0.0)
    nodes.place(("a-0", "e1"), "n1")
    assert [type(event) for event in nodes.begun(("a-0", "e1"), "n1", life())] == [Started]
    events, fenced = nodes.news("n1", told(Started(life()), Announced(life(url="http://x"))))
    assert events == [Announced(life(url="http://x"))]
    assert fenced == []
    assert nodes.news("n1", told(Started(life(url="http://x")), Announced(life(url="http://x")), run="r2")) == ([], [])
    assert nodes.news("n1", told(Exited(life(), "exit 0"), run="r2"))[0] == [Exited(life(), "exit 0")]
    assert nodes.begun(("a-0", "e1"), "n1", life()) == []
    assert not nodes.lives


def test_one_that_is_found_listens_already(nodes: Nodes) -> None:
    found = life(url="http://x")
    assert nodes.news("n1", told(Started(found)))[0] == [Started(found), Announced(found)]


def test_what_a_host_did_not_live_to_tell_is_over(nodes: Nodes) -> None:
    nodes.news("n1", told(Started(life())))
    (exited,), _ = nodes.news("n1", told(run="r2"))
    assert isinstance(exited, Exited)
    assert "its host ended" in exited.reason


def test_one_that_waited_is_not_missed_before_it_has_begun(nodes: Nodes) -> None:
    nodes.begin(spec(), 0.0)
    nodes.waits(("a-0", "e1"))
    nodes.place(("a-0", "e1"), "n1")
    assert nodes.news("n1", told(run="r1")) == ([], [])
    assert nodes.begun(("a-0", "e1"), "n1", life()) == []
    assert len(nodes.news("n1", told(run="r2"))[0]) == 1


def test_one_that_ended_unseen_is_told_of_whole(nodes: Nodes) -> None:
    events, _ = nodes.news("n1", told(Exited(life(), "exit 3")))
    assert [type(event) for event in events] == [Started, Exited]


def test_lives_of_a_lost_node_are_fenced_when_they_come_back(nodes: Nodes) -> None:
    nodes.news("n1", told(Started(life())))
    assert nodes.heard_of("n1") == ("r1", 1)
    assert nodes.lost("n1", "gone") == [Exited(life(), "gone")]
    nodes.forget("n1")
    assert nodes.heard_of("n1") == ("", 0)
    back = Node("n3", "n1", "127.0.0.2")
    nodes.appeared(back)
    assert nodes.news("n3", told(Started(life()), known=(("a-0", "e1"),))) == ([], [("a-0", "e1")])
    assert nodes.news("n3", told(Exited(life(), "killed"))) == ([], [])
    assert not nodes.lives


def test_a_lost_node_is_no_target_until_it_is_heard(nodes: Nodes) -> None:
    nodes.lost("n1", "silent")
    assert {nodes.target(spec())} == {"n2"}
    nodes.appeared(Node("n1", "n1", "127.0.0.2", {"CPU": 2.0}))
    nodes.begin(spec("b-0"), 0.0)
    nodes.place(("b-0", "e1"), "n2")
    assert nodes.target(spec()) == "n1"


def test_replicas_of_a_deployment_are_spread_and_full_nodes_left_out(nodes: Nodes) -> None:
    for index, node in enumerate(("n1", "n2", "n1")):
        asked = spec(f"a-{index}", cores=1)
        nodes.begin(asked, 0.0)
        nodes.place((asked.id, "e1"), node)
    assert nodes.target(spec("a-3", cores=1)) == "n2"
    assert nodes.target(spec("b-0", cores=2)) == ""
    assert nodes.target(spec("b-0", gpus=1)) in NODES
    assert nodes.target(spec("b-0", gpus=2)) == ""


def test_one_that_waits_is_told_of_and_then_of_its_end(nodes: Nodes) -> None:
    key = ("a-0", "e1")
    nodes.begin(spec(), 7.0)
    assert [type(event) for event in nodes.waits(key)] == [Started]
    assert nodes.waits(key) == []
    assert nodes.stopping(key) == ""
    (exited,) = nodes.over(key, "no room")
    assert exited.life.stopping
    assert nodes.over(key, "no room") == nodes.waits(key) == []
    assert nodes.stopping(key) == ""
    nodes.place(key, "n1")
    nodes.begin(spec(), 7.0)
    assert nodes.over(key, "refused") == []


def test_needs_are_named_as_ray_names_them() -> None:
    assert needs(spec()) == {"CPU": SLIVER}
    assert needs(spec(cores=2, memory=1 << 30)) == {"CPU": 2.0, "memory": float(1 << 30)}
    assert needs(spec(gpus=0.5)) == {"CPU": SLIVER, "GPU": 0.5}


@dataclass
class Truth:
    """One node's host and replicas, which may die under it, and the driver's side, which must end up knowing."""

    nodes: Nodes = field(default_factory=Nodes)
    seen: list[DriverEvent] = field(default_factory=list)
    alive: dict[Key, Life] = field(default_factory=dict)
    pending: list[DriverEvent] = field(default_factory=list)
    known: set[Key] = field(default_factory=set)
    run: int = 0
    count: int = 0

    def begin(self, index: int) -> None:
        new = life(f"a-{index}", f"e{self.count}")
        self.nodes.begin(spec(new.id, new.epoch), 0.0)
        self.nodes.place((new.id, new.epoch), "n1")
        self.alive[new.id, new.epoch] = new
        self.known.add((new.id, new.epoch))
        self.pending.append(Started(new))
        self.count += 1
        self.seen += self.nodes.begun((new.id, new.epoch), "n1", new)

    def end(self, heard: bool) -> None:
        if self.alive:
            _, gone = self.alive.popitem()
            if heard:
                self.pending.append(Exited(gone, "exit 0"))
            else:  # with its host
                self.restart()

    def restart(self) -> None:
        self.run += 1
        self.pending = [Started(each) for each in self.alive.values()]
        self.known = set(self.alive)

    def hear(self) -> None:
        events, fenced = self.nodes.news("n1", News(str(self.run), 0, tuple(self.pending), tuple(self.known)))
        self.seen += events
        self.pending = []
        for key in fenced:
            if key in self.alive:
                self.pending.append(Exited(self.alive.pop(key), "fenced"))

    def lose(self) -> None:
        self.seen += self.nodes.lost("n1", "silent")


@given(st.lists(st.sampled_from(["begin", "end", "crash", "restart", "hear", "lose"]), max_size=30))
def test_in_the_end_the_driver_knows_what_runs_and_said_all_once(steps: list[str]) -> None:
    truth = Truth()
    for number, step in enumerate(steps):
        match step:
            case "begin":
                truth.begin(number)
            case "end" | "crash":
                truth.end(heard=step == "end")
            case "restart":
                truth.restart()
            case "hear":
                truth.hear()
            case _:
                truth.lose()
    truth.hear()
    truth.hear()
    assert set(truth.nodes.lives) == set(truth.alive)
    for kind in (Started, Exited):
        keys = [(event.life.id, event.life.epoch) for event in truth.seen if isinstance(event, kind)]
        assert len(keys) == len(set(keys))
        if kind is Exited:
            assert set(keys).isdisjoint(truth.alive)
