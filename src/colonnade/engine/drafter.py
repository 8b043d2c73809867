"""What proposes tokens, and what it proposes.

A drafter guesses how a request goes on; the target model says which of the guesses are right (`engine/worker.py`). A
wrong guess costs arithmetic, never an answer.

A proposal may be a tree, so that drafters to come can say "this or that". What is verified today is its first path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Chances = NDArray[np.float32]
"""[V]: the distribution from which a draft was drawn."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """Tokens that may come next. `parents[i] < i` is the token that token i follows, -1 for the last known one; without
    parents they are one chain. `chances[i]` is what token i was drawn from; without chances nothing was: each was
    certain to be proposed."""

    tokens: Sequence[int] = ()
    parents: Sequence[int] = ()
    chances: Sequence[Chances] = ()

    def chain(self, count: int) -> Proposal:
        """The first path from the root, at most `count` long."""
        path = self._path()[:count]
        chances = tuple(self.chances[node] for node in path) if self.chances else ()
        return Proposal(tuple(self.tokens[node] for node in path), (), chances)

    def _path(self) -> Sequence[int]:
        if not self.parents:
            return range(len(self.tokens))
        path: list[int] = []
        end = -1
        for node, parent in enumerate(self.parents):
            if parent == end:
                path.append(node)
                end = node
        return path


NOTHING = Proposal()


class Drafter(Protocol):
    """Called by the scheduler between two steps, so that its work must be bounded.

    What it proposes may depend on what it is given alone; one that draws its proposals takes noise of the stream
    `noise.DRAFT`.
    """

    def propose(self, key: str, tokens: Sequence[int], count: int) -> Proposal:
        """How request `key` may go on: `count` tokens deep at most. `tokens` is all that is known of it, prompt
        included; from call to call they grow at the end alone."""
        ...

    def forget(self, key: str) -> None:
        """The request has ended; it may never have been asked about."""
        ...
