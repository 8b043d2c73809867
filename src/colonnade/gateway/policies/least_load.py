"""Least load: the fewest requests, then the fewest tokens, then whose turn it is.

rank = (in flight from here + running + waiting, tokens held, last turn)          pick argmin
"""

from __future__ import annotations

from collections.abc import Sequence

from colonnade.gateway.ask import Ask
from colonnade.gateway.policies.policy import Policy
from colonnade.gateway.target import Target


class LeastLoad(Policy):
    def pick(self, ask: Ask, targets: Sequence[Target], noise: float) -> Target:
        return min(targets, key=Target.rank)
