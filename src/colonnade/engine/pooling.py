"""Prompts as vectors [D]: what the hidden states of their tokens come to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from colonnade.engine.kernels.ops import Floats
from colonnade.engine.spot import Span, Spot
from colonnade.engine.step import Chunk
from colonnade.wire.messages import Scoring


@dataclass(slots=True)
class _Sum:
    """Of rows in the order of their positions, one after the other: where chunks were cut changes no bit of it."""

    total: NDArray[np.float64] | None = None
    rows: int = 0

    def add(self, hidden_TD: Floats) -> None:
        for hidden_D in hidden_TD:
            self.total = hidden_D.astype(np.float64) if self.total is None else self.total + hidden_D
            self.rows += 1

    def mean(self) -> Floats:
        assert self.total is not None
        return (self.total / self.rows).astype(np.float32)


class Pooling:
    """The running requests that want a vector, by slot."""

    def __init__(self) -> None:
        self._sums: dict[int, _Sum | None] = {}  # None: the last token alone counts

    def enter(self, slot: int, scoring: Scoring | None) -> None:
        self._sums.pop(slot, None)
        if scoring is not None and scoring.pooling:
            self._sums[slot] = _Sum() if scoring.pooling == "mean" else None

    def __bool__(self) -> bool:
        return bool(self._sums)

    def __contains__(self, slot: int) -> bool:
        return slot in self._sums

    def among(self, chunks: Iterable[Chunk]) -> bool:
        return bool(self._sums) and any(chunk.slot in self._sums for chunk in chunks)

    def take(self, hidden_SD: Floats, spans: Sequence[Span], spots: Sequence[Spot]) -> dict[int, Floats]:
        """Vectors [D] of the prompts that end here, by slot. `hidden_SD`: of the rows that `layout` counts."""
        for span in spans:
            if (total := self._sums.get(span.chunk.slot)) is not None:
                total.add(hidden_SD[span.rows])
        return {spot.slot: self._end(hidden_SD[spot.row], spot.slot) for spot in spots if spot.slot in self._sums}

    def _end(self, hidden_D: Floats, slot: int) -> Floats:
        total = self._sums.pop(slot)
        if total is None:
            return hidden_D
        total.add(hidden_D[np.newaxis])
        return total.mean()
