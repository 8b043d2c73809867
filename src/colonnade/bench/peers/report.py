"""What was found: a row for each peer and precision, those that did not run included. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from colonnade.bench.peers.figures import Spread, spread
from colonnade.bench.peers.roster import OURS, Entry
from colonnade.bench.peers.workloads import NAMES, Sizes
from colonnade.bench.probe import Machine


class Row(msgspec.Struct, frozen=True):
    """`failed` says why there are no figures. `speeds`: tokens a second by workload. `ours_over`: our speed over
    theirs, taken round by round. `ready_s`: from the start of the process to its readiness. `agrees`: share of the
    short answers ahead of the figures that are ours, token by token; None for ours."""

    peer: str
    precision: str
    version: str = ""
    note: str = ""
    failed: str = ""
    ready_s: Spread | None = None
    agrees: float | None = None
    speeds: dict[str, Spread] = {}
    ours_over: dict[str, Spread] = {}


class Report(msgspec.Struct, frozen=True):
    """`before` and `after`: the machine, probed around the rounds."""

    model: str
    threads: int
    rounds: int
    seed: int
    sizes: Sizes
    started: str
    colonnade: str
    before: Machine
    after: Machine
    rows: tuple[Row, ...]


@dataclass(slots=True)
class Findings:
    """Of one entry, as the rounds go by."""

    version: str = ""
    note: str = ""
    failed: str = ""
    ready: list[float] = field(default_factory=list[float])
    agrees: list[float] = field(default_factory=list[float])
    speeds: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    def add(self, name: str, speed: float) -> None:
        self.speeds.setdefault(name, []).append(speed)


def rows(entries: Sequence[Entry], found: Mapping[str, Findings]) -> tuple[Row, ...]:
    """`found` by the entries' names."""
    ours = {each.precision: found[each.name] for each in entries if each.peer.name == OURS}
    return tuple(_row(entry, found[entry.name], ours[entry.precision]) for entry in entries)


def _row(entry: Entry, found: Findings, ours: Findings) -> Row:
    name, precision = entry.peer.name, entry.precision
    if found.failed:
        return Row(name, precision, found.version, found.note, found.failed)
    return Row(
        name,
        precision,
        found.version,
        found.note,
        ready_s=spread(found.ready),
        agrees=min(found.agrees) if found.agrees else None,
        speeds={each: spread(found.speeds[each]) for each in NAMES},
        ours_over={} if name == OURS or ours.failed else {each: _over(ours, found, each) for each in NAMES},
    )


def _over(ours: Findings, theirs: Findings, name: str) -> Spread:
    return spread([a / b for a, b in zip(ours.speeds[name], theirs.speeds[name], strict=True)])
