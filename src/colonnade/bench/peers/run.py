"""The comparison itself: environments and weights first, then the turns, one process at a time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from colonnade.bench.peers import environment, weights
from colonnade.bench.peers.environment import Unavailable
from colonnade.bench.peers.figures import Done, agreement, fault, figure
from colonnade.bench.peers.order import turns
from colonnade.bench.peers.process import Running, running
from colonnade.bench.peers.report import Findings
from colonnade.bench.peers.roster import OURS, WRITER, Entry
from colonnade.bench.peers.workloads import Sizes, warm_up, workloads


@dataclass(frozen=True, slots=True)
class Plan:
    """`scratch`: folder for environments, weights and logs, kept from run to run. `timeout` in seconds, of a
    workload and of an installation."""

    model: str
    layers: int
    entries: tuple[Entry, ...]
    sizes: Sizes
    rounds: int
    threads: int
    seed: int
    scratch: Path
    timeout: float


Tell = Callable[[str], None]


class Comparison:
    """`found` has what each entry did, by its name. A peer that fails once is left alone from then on."""

    def __init__(self, plan: Plan, tell: Tell) -> None:
        self._plan, self._tell = plan, tell
        self.found = {entry.name: Findings() for entry in plan.entries}
        self._pythons: dict[str, Path] = {}
        self._asked: dict[str, dict[str, object]] = {}
        self._ours: dict[str, Done] = {}
        """What we answered to the warm-up, by precision."""

    def prepare(self) -> None:
        """Raises BadModel where there is no such model."""
        self._plan.scratch.mkdir(parents=True, exist_ok=True)
        folder = weights.folder(self._plan.model, self._plan.layers, self._plan.scratch)
        for entry in self._plan.entries:
            self._guarded(entry, lambda entry=entry: self._equip(entry, folder))

    def measure(self) -> None:
        for number, entry in turns(self._plan.entries, self._plan.rounds):
            if not self.found[entry.name].failed:
                self._tell(f"round {number + 1} of {self._plan.rounds}: {entry.name}")
                self._guarded(entry, lambda number=number, entry=entry: self._turn(number, entry))

    def _guarded(self, entry: Entry, work: Callable[[], None]) -> None:
        try:
            work()
        except Unavailable as error:
            self._tell(f"{entry.name} does not run: {error.message}")
            self.found[entry.name].failed = error.message

    def _equip(self, entry: Entry, folder: Path) -> None:
        plan, kind = self._plan, entry.peer.kind(entry.precision)
        self._pythons[entry.name] = self._python(entry.peer.name, entry.peer.packages)
        written: dict[str, str] = {}
        if kind:
            writer = self._python("gguf", WRITER)
            written[kind] = str(weights.gguf(writer, folder, kind, plan.scratch, plan.timeout))
        self._asked[entry.name] = {
            "folder": str(folder),
            "gguf": written,
            "precision": entry.precision,
            "threads": plan.threads,
            "together": max(plan.sizes.together, 4),
            "cache_tokens": plan.sizes.cache_tokens,
            "scratch": str(plan.scratch),
        }

    def _python(self, name: str, packages: tuple[str, ...]) -> Path:
        if not packages:
            return Path(sys.executable)
        return environment.python(self._plan.scratch / "environments" / name, packages, self._plan.timeout)

    def _turn(self, number: int, entry: Entry) -> None:
        plan, found = self._plan, self.found[entry.name]
        log = plan.scratch / f"{entry.name.replace(' ', '-')}.log"
        start = (self._pythons[entry.name], entry.peer.script, self._asked[entry.name], log, plan.timeout)
        with running(*start) as peer:
            found.version, found.note = peer.hello.version, peer.hello.note
            self._warm(entry, peer, found)
            speeds = self._speeds(number, peer)
        found.ready.append(peer.ready_s)
        for name, speed in speeds:
            found.add(name, speed)

    def _warm(self, entry: Entry, peer: Running, found: Findings) -> None:
        work = warm_up(self._plan.seed)
        done = peer.work(work)
        _faultless(fault(work, done))
        if entry.peer.name == OURS:
            self._ours[entry.precision] = done
        elif entry.precision in self._ours:
            found.agrees.append(agreement(self._ours[entry.precision], done))

    def _speeds(self, number: int, peer: Running) -> Sequence[tuple[str, float]]:
        speeds: list[tuple[str, float]] = []
        for work in workloads(self._plan.sizes, self._plan.seed, number):
            done = peer.work(work)
            _faultless(fault(work, done))
            speeds.append((work.name, figure(work, done)))
        return speeds


def _faultless(fault: str) -> None:
    if fault:
        raise Unavailable(fault)
