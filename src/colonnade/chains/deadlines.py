"""How much of a call's time the next step gets. Only durations travel: clocks of two machines do not agree."""

from __future__ import annotations

HOP_SHARE = 0.02
HOP_MOST = 0.02


def call_budget(left: float | None, edge: float | None, step: float) -> float:
    """Seconds for a call: what is left to the request around it (None outside of one), what the edge and the step
    allow, the least of them. At most 0 means that there is no time to call at all."""
    return min(each for each in (left, edge, step) if each is not None)


def hop_budget(budget: float) -> float:
    """What is told to the other side: a little less, so that its own error, with its stack, is here before ours."""
    return budget - min(HOP_MOST, budget * HOP_SHARE)
