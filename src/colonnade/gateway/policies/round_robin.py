"""Round robin: the one whose last turn is longest ago.

pick argmin of the last turn
"""

from __future__ import annotations

from collections.abc import Sequence

from colonnade.gateway.ask import Ask
from colonnade.gateway.policies.policy import Policy
from colonnade.gateway.target import Target


class RoundRobin(Policy):
    def pick(self, ask: Ask, targets: Sequence[Target], noise: float) -> Target:
        return min(targets, key=_turn)


def _turn(target: Target) -> int:
    return target.turn
