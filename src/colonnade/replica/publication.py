"""What a replica publishes, and the snapshot that it adds up to. Pure: changes go in, numbered envelopes come out.

Changes are gathered and leave together, some 20 times a second at most; a phase leaves at once. `seq` counts what has
left, so a snapshot at `seq` is taken after everything gathered has left.
"""

from __future__ import annotations

from collections.abc import Iterable

from colonnade.replica.landmarks import Mark
from colonnade.replica.marks import Marks
from colonnade.wire.messages import (
    CacheChange,
    CacheChanged,
    Envelope,
    Load,
    LoadChanged,
    MarkChange,
    MarksChanged,
    Phase,
    Published,
    Snapshot,
    Stored,
)


class Publication:
    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.phase = Phase("starting")
        self.load = Load()
        self.seq = 0
        self._cache: dict[bytes, Stored] = {}
        self._told = Load()
        self._changes: list[CacheChange] = []
        self._marks = Marks()
        self._marked: list[MarkChange] = []

    @property
    def pending(self) -> bool:
        return bool(self._changes or self._marked) or self.load != self._told

    def expect(self, marks: Iterable[Mark]) -> None:
        """A request is about to be computed whose prompt has these."""
        self._marked += self._marks.expect(marks, self._cache)

    def note(self, load: Load, changes: Iterable[CacheChange]) -> None:
        """What one step brought."""
        self.load = load
        for change in changes:
            self._changes.append(change)
            if isinstance(change, Stored):
                self._cache[change.digest] = change
            else:
                self._cache.pop(change.digest, None)
            self._marked += self._marks.note(change)

    def flush(self) -> list[Envelope]:
        """All that was gathered."""
        out: list[Envelope] = []
        if self._changes:
            out.append(self._seal(CacheChanged(self._changes)))
            self._changes = []
        if self._marked:
            out.append(self._seal(MarksChanged(self._marked)))
            self._marked = []
        if self.load != self._told:
            out.append(self._seal(LoadChanged(self.load)))
            self._told = self.load
        return out

    def turn(self, phase: Phase) -> list[Envelope]:
        """A new phase, after what was gathered before it."""
        self.phase = phase
        return [*self.flush(), self._seal(phase)]

    def snapshot(self) -> Snapshot:
        """After `flush`."""
        assert not self.pending
        cache, marks = list(self._cache.values()), list(self._marks.held.values())
        return Snapshot(self.epoch, self.seq, self.phase.name, self.load, cache, marks)

    def _seal(self, event: Published) -> Envelope:
        self.seq += 1
        return Envelope(self.epoch, self.seq, event)
