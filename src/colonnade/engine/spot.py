"""Which rows of a step's logits are whose: where a token is drawn, with the draft that it decides on, and scores."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from colonnade.engine.acceptance import Guess
from colonnade.engine.step import Chunk, Drawn


class Spot(msgspec.Struct, frozen=True):
    """A place where a token is drawn: after the last known token of a chunk, or after its first `drafts` drafts."""

    chunk: Chunk
    row: int
    """Of the logits."""
    slot: int
    position: int
    """Of the token in its slot."""
    drafts: int = 0

    @property
    def guess(self) -> Guess | None:
        """The draft in this place."""
        chunk = self.chunk
        if self.drafts == len(chunk.drafts):
            return None
        return Guess(chunk.drafts[self.drafts], chunk.chances[self.drafts] if chunk.chances else None)

    def right(self, drawn: Drawn) -> bool:
        """Whether the draft is what was drawn, so that the next place counts."""
        drafts = self.chunk.drafts
        return self.drafts < len(drafts) and drafts[self.drafts] == drawn.token and not drawn.error

    def next(self) -> Spot:
        return Spot(self.chunk, self.row + 1, self.slot, self.position + 1, self.drafts + 1)

    def chain(self) -> list[Spot]:
        """This first place and one behind each draft."""
        chunk, row, slot, position = self.chunk, self.row, self.slot, self.position
        return [Spot(chunk, row + more, slot, position + more, more) for more in range(1 + len(chunk.drafts))]

    def until_wrong(self, draws: list[Drawn]) -> list[Drawn]:
        """Those of a chain's draws that count: up to the first that is not the draft in its place."""
        for count, (draft, drawn) in enumerate(zip(self.chunk.drafts, draws, strict=False), 1):
            if drawn.error or drawn.token != draft:
                return draws[:count]
        return draws


class Span(msgspec.Struct, frozen=True):
    """The rows of logits that give the scores of a chunk."""

    chunk: Chunk
    row: int
    """The first of them."""

    @property
    def rows(self) -> slice:
        first, end = self.chunk.scored
        return slice(self.row, self.row + end - first)


def layout(chunks: Sequence[Chunk]) -> tuple[list[Span], list[Spot]]:
    """Where scores and first draws are: a chunk has a row for each score, then one for its draw and one behind each
    draft."""
    spans: list[Span] = []
    spots: list[Spot] = []
    row = 0
    for chunk in chunks:
        if chunk.scored[1]:
            spans.append(Span(chunk, row))
            row += chunk.scored[1] - chunk.scored[0]
        if chunk.sample:
            spots.append(Spot(chunk, row, chunk.slot, chunk.known))
            row += 1 + len(chunk.drafts)
    return spans, spots
