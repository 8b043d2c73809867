"""What is known of a Ray cluster's nodes and of the lives on them. Pure: `drivers.ray.driver` acts on it.

What hosts tell goes in, what the driver's watch says comes out. A host may begin again at any moment and tells
everything from the start then; a node may fall silent, be given up, and come back with lives that have been replaced:
those are *fenced*, named to be stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from msgspec.structs import replace

from colonnade.drivers.base import Announced, DriverEvent, Exited, Life, ReplicaSpec, Started

Key = tuple[str, str]  # id, epoch
SLIVER = 0.01
"""Of a CPU: what a replica reserves that says nothing of what it takes. Ray knows no empty reservation."""
_EPSILON = 1e-9


class News(msgspec.Struct, frozen=True):
    """What a host says: all that happened since the `until` that the driver had of the same run, or since its start."""

    run: str  # one life of the host: its pid, a dot and a word
    until: int
    events: tuple[DriverEvent, ...]
    known: tuple[Key, ...]
    """Every life that this run has known: what an earlier run knew and this one does not is over."""


class Node(msgspec.Struct, frozen=True):
    """One node as Ray has it, with what it has in all."""

    id: str
    name: str
    address: str
    resources: dict[str, float] = {}


class Placed(msgspec.Struct):
    """`node` is empty while it waits for a place. `told`: Started was. `begun`: its host has said so."""

    life: Life
    node: str = ""
    need: dict[str, float] = {}
    told: bool = False
    begun: bool = False


class Nodes:
    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.lives: dict[Key, Placed] = {}
        self._runs: dict[str, tuple[str, int]] = {}
        self._fenced: set[Key] = set()

    def heard_of(self, node: str) -> tuple[str, int]:
        """The run of its host, and how much of it is known."""
        return self._runs.get(node, ("", 0))

    def appeared(self, node: Node) -> None:
        self.nodes[node.id] = node

    def begin(self, spec: ReplicaSpec, now: float) -> None:
        """It is asked for. Nothing is said of it until it has begun or has to wait."""
        life = Life(id=spec.id, epoch=spec.epoch, started_at=now, labels=spec.labels)
        self.lives[spec.id, spec.epoch] = Placed(life, need=needs(spec))

    def waits(self, key: Key) -> list[DriverEvent]:
        """There is no room for it yet."""
        return self._started(self.lives[key]) if key in self.lives else []

    def place(self, key: Key, node: str) -> None:
        if key in self.lives:
            self.lives[key].node = node

    def begun(self, key: Key, node: str, life: Life) -> list[DriverEvent]:
        """Its host has started it; it may have said so already, and its end too."""
        return list(self._heard(node, Started(life))) if key in self.lives else []

    def stopping(self, key: Key) -> str:
        """The node of a life that is told to stop, if it has one."""
        placed = self.lives.get(key)
        if placed is None:
            return ""
        placed.life = replace(placed.life, stopping=True)
        return placed.node

    def over(self, key: Key, reason: str) -> list[DriverEvent]:
        """It ended, or never began; nothing is said of one of which nothing was said."""
        placed = self.lives.pop(key, None)
        return [Exited(placed.life, reason)] if placed is not None and placed.told else []

    def news(self, node: str, news: News) -> tuple[list[DriverEvent], list[Key]]:
        """What the watch has to say, and the lives that are fenced and have to be stopped."""
        run, _ = self.heard_of(node)
        events = [said for event in news.events for said in self._heard(node, event)]
        if run != news.run:
            gone = [key for key, placed in self.lives.items() if placed.node == node and placed.begun]
            for key in set(gone) - set(news.known):
                events += self.over(key, "ended, and its host ended before it could say how")
        self._runs[node] = (news.run, news.until)
        fenced = [key for key in news.known if key in self._fenced]
        return events, fenced

    def lost(self, node: str, reason: str) -> list[DriverEvent]:
        """Its lives are given up. Should they come back, they are fenced; it is no target until it is heard again."""
        self.nodes.pop(node, None)
        gone = [key for key, placed in self.lives.items() if placed.node == node]
        self._fenced.update(gone)
        return [event for key in gone for event in self.over(key, reason)]

    def forget(self, node: str) -> None:
        """Ray knows it no more. What runs there under another node's id is heard of anew."""
        self._runs.pop(node, None)

    def target(self, spec: ReplicaSpec) -> str:
        """The node with room for it that has the fewest replicas of its deployment, then the fewest of all; empty when
        none has. Ray alone would fill one node before the next."""
        need = needs(spec)
        rooms = [node for node in self.nodes.values() if self._has_room(node, need)]
        kin = _kin(spec.id, spec.labels)
        return min(rooms, key=lambda node: self._crowd(node.id, kin)).id if rooms else ""

    def _crowd(self, node: str, kin: str) -> tuple[int, int, str]:
        here = [placed.life for placed in self.lives.values() if placed.node == node]
        return sum(_kin(life.id, life.labels) == kin for life in here), len(here), node

    def _has_room(self, node: Node, need: dict[str, float]) -> bool:
        taken = [placed.need for placed in self.lives.values() if placed.node == node.id]
        return all(
            sum(each.get(name, 0.0) for each in taken) + amount <= node.resources.get(name, 0.0) + _EPSILON
            for name, amount in need.items()
        )

    def _heard(self, node: str, event: DriverEvent) -> Iterable[DriverEvent]:
        key = (event.life.id, event.life.epoch)
        if key in self._fenced:
            if isinstance(event, Exited):
                self._fenced.discard(key)
            return ()
        if isinstance(event, Exited):
            return self._exited(key, event)
        placed = self.lives.setdefault(key, Placed(replace(event.life, url="", events="")))
        placed.node, placed.begun = node, True
        announced = bool(event.life.url) and not placed.life.url
        placed.life = event.life if event.life.url or not placed.life.url else placed.life
        said = self._started(placed)
        return [*said, Announced(placed.life)] if announced else said

    def _exited(self, key: Key, event: Exited) -> Sequence[DriverEvent]:
        placed = self.lives.pop(key, None) or Placed(event.life)
        return [*self._started(placed), event]

    def _started(self, placed: Placed) -> list[DriverEvent]:
        if placed.told:
            return []
        placed.told = True
        return [Started(placed.life)]


def needs(spec: ReplicaSpec) -> dict[str, float]:
    """What Ray is to reserve for it, by the names that Ray has."""
    asked = {"CPU": float(spec.cores) or SLIVER, "GPU": spec.gpus, "memory": float(spec.memory)}
    return {name: amount for name, amount in asked.items() if amount}


def _kin(id: str, labels: dict[str, str]) -> str:
    return labels.get("deployment") or id.rpartition("-")[0]
