"""Where a token is drawn, and the draft that it decides on."""

from __future__ import annotations

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
