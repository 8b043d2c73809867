"""A request as routing sees it: what it begins with, how long it is, and what each replica holds of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from colonnade.wire.prefix import Link


@dataclass(slots=True)
class Ask:
    """`tokens` is an estimate of the whole prompt; `cached` says, by epoch, how many of them need no computing there
    (an epoch that is not in it holds none). `answer`: tokens of the answer, as guessed."""

    links: Sequence[Link] = ()
    session: bytes = b""
    tokens: float = 0.0
    cached: Mapping[str, float] = field(default_factory=dict[str, float])
    answer: float = 0.0

    def uncached(self, epoch: str) -> float:
        return max(0.0, self.tokens - self.cached.get(epoch, 0.0))


NOTHING = Ask()
"""Of a request that nothing is known about."""
