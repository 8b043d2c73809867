"""A prefix cache of a bounded number of tokens, in blocks; the least recently used block goes first.

A block's id stands for everything up to its end, so a prefix is there as far as its blocks are, from the first on. Of
one prefix, the ends are older than the beginnings, and go before them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from colonnade.simulate.arrival import BLOCK


class Lru:
    def __init__(self, tokens: int) -> None:
        self._most = tokens // BLOCK
        self._blocks: OrderedDict[int, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._blocks)

    def match(self, blocks: Sequence[int]) -> int:
        """Leading blocks that are there. Touches nothing."""
        for index, block in enumerate(blocks):
            if block not in self._blocks:
                return index
        return len(blocks)

    def store(self, blocks: Sequence[int]) -> tuple[list[int], list[int]]:
        """Positions of the blocks that are new, and the blocks that had to go."""
        new = [index for index, block in enumerate(blocks) if block not in self._blocks]
        for block in reversed(blocks):
            self._blocks[block] = None
            self._blocks.move_to_end(block)
        gone = [self._blocks.popitem(last=False)[0] for _ in range(len(self._blocks) - self._most)]
        return new, gone


def shared(prompts: Sequence[Sequence[int]], tokens: int) -> float:
    """The share of blocks that one cache of this size for all would have had."""
    cache, hits = Lru(tokens), 0
    for blocks in prompts:
        hits += cache.match(blocks)
        cache.store(blocks)
    return hits / max(1, sum(map(len, prompts)))
