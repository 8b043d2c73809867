"""The rules of other routers, written down from their documentation to compare with. They are not offered to users.

`Sglang`, cache_aware of the SGLang router (sgl-model-gateway/src/policies/cache_aware.rs):

    if max_load - min_load > absolute and max_load > relative * min_load:   least load
    elif longest match / prompt > threshold:                                the replica with the longest match
    else:                                                                   least load
    load counts requests; a match is in what was sent there, of which `TREE` characters are remembered

`Dynamo`, the KV router of NVIDIA Dynamo (lib/kv-router/src/scheduling/selector.rs), linear cost, temperature 0:

    cost = max(prefill blocks under way + the prompt's - those cached there, 0) + decode blocks under way
    what is cached comes from events, what is under way from the router's own books
"""

from __future__ import annotations

from collections.abc import Sequence

from colonnade.gateway.affinity import Index
from colonnade.gateway.ask import Ask
from colonnade.gateway.policies.policy import Policy
from colonnade.gateway.target import Target
from colonnade.simulate.arrival import BLOCK, BYTES_PER_TOKEN
from colonnade.simulate.lru import Lru

TREE = 1 << 24
"""Characters of each replica's tree, its default max_tree_size."""


class Sglang(Policy):
    reads = True

    def __init__(self, absolute: int = 64, relative: float = 1.5, threshold: float = 0.3) -> None:
        self._absolute, self._relative, self._threshold = absolute, relative, threshold
        self._trees: dict[str, Lru] = {}

    def pick(self, ask: Ask, targets: Sequence[Target], noise: float) -> Target:
        blocks = [int.from_bytes(link.digest, "big") for link in ask.links]
        chosen = self._choose(blocks, targets)
        self._tree(chosen).store(blocks)
        return chosen

    def _choose(self, blocks: list[int], targets: Sequence[Target]) -> Target:
        loads = [target.in_flight for target in targets]
        least = min(targets, key=lambda target: (target.in_flight, target.turn))
        if max(loads) - min(loads) > self._absolute and max(loads) > self._relative * min(loads):
            return least
        best = max(targets, key=lambda target: self._tree(target).match(blocks))
        return best if self._tree(best).match(blocks) > self._threshold * len(blocks) else least

    def _tree(self, target: Target) -> Lru:
        return self._trees.setdefault(target.route.epoch, Lru(TREE // BYTES_PER_TOKEN))


class Dynamo(Policy):
    """`decode`: blocks of what runs, by epoch; whoever simulates keeps the books."""

    reads = True

    def __init__(self, index: Index, decode: dict[str, int]) -> None:
        self._index = index
        self._decode = decode

    def pick(self, ask: Ask, targets: Sequence[Target], noise: float) -> Target:
        held = self._index.cached(ask.links, [target.route.epoch for target in targets], coming=False)

        def cost(target: Target) -> float:
            epoch = target.route.epoch
            prefill = (target.backlog + ask.tokens - held.get(epoch, 0.0)) / BLOCK
            return max(prefill, 0.0) + self._decode.get(epoch, 0)

        return min(targets, key=cost)
