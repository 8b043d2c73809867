"""What every policy is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from colonnade.gateway.ask import Ask
from colonnade.gateway.target import Target


class Policy(ABC):
    """Holds no state of its own: what it knows is in the targets."""

    reads = False
    """Whether it looks at what a request begins with; if not, nobody hashes it."""

    @abstractmethod
    def pick(self, ask: Ask, targets: Sequence[Target], noise: float) -> Target:
        """One of `targets`, which are two or more; `noise` is uniform in [0, 1)."""
