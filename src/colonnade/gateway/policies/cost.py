"""Cost: what the request would cost on each replica, in seconds; one of the near-cheapest gets it.

    cost =   REUSE * uncached / prefill         its own prompt, less what the replica's prefix cache holds
           + backlog / prefill                  what is to be computed before it
           + EVEN * recent / prefill            what was sent there of late (30 s, fading)
           + answer * slope * running           its answer's steps, slower by what else runs there
           + round_trip + price                 of the replica's region, and what its capacity costs

    near = { r : cost(r) <= cheapest * (1 + SPAN) + LEAST },       P(r) ~ exp(-(cost(r) - cheapest) / that span)

A token that is computed though another replica holds it delays those behind it, and takes room in a cache: it counts
`REUSE` times. Work that goes where much went before evicts what is there: `EVEN` spreads it. Both were found in the
simulator (`colonnade fleet simulate`, docs/performance.md): 1 and 0, the request's own time alone, hit less and spread
worse.

`uncached` comes from what replicas publish of their caches (`gateway.affinity`), `prefill` and `slope` are learned for
each replica (`gateway.rates`). `backlog` is the larger of what this gateway has sent there unanswered and what the
replica says: the one is new, the other knows of other gateways. Sampling keeps gateways that know the same from all
choosing the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp

from colonnade.gateway.ask import Ask
from colonnade.gateway.policies.policy import Policy
from colonnade.gateway.target import Target

REUSE = 4.0
EVEN = 2.0
SPAN = 0.02
LEAST = 0.001
"""Seconds: differences under it are not worth telling apart."""


class Cost(Policy):
    reads = True

    def pick(self, ask: Ask, targets: Sequence[Target], noise: float) -> Target:
        costs = [cost(ask, target) for target in targets]
        least = min(costs)
        span = least * SPAN + LEAST
        near = [
            (target, exp((least - each) / span))
            for target, each in zip(targets, costs, strict=True)
            if each <= least + span
        ]
        return _draw(near, noise)


def cost(ask: Ask, target: Target) -> float:
    """Seconds."""
    rates = target.rates
    waits = max(target.backlog, target.load.prefill)
    work = REUSE * ask.uncached(target.route.epoch) + waits + EVEN * target.recent
    slowdown = ask.answer * rates.slope * max(target.load.running, target.in_flight)
    return work / rates.prefill + slowdown + rates.round_trip + rates.price


def _draw(near: Sequence[tuple[Target, float]], noise: float) -> Target:
    """By weight: the first one at which the sum passes `noise` of the whole."""
    left = noise * sum(weight for _, weight in near)
    for target, weight in near:
        left -= weight
        if left < 0:
            return target
    return near[-1][0]
