"""Prompts as token ids, made to a trace's lengths and shared prefixes.

Block k of a prompt covers the scaled positions [floor(512 k F), floor(512 (k + 1) F)), and its tokens are a fixed
function of (seed, hash id): the same id gives the same tokens wherever it stands, so two prompts share exactly the
prefix that the trace says they share. What no id covers is drawn for the request alone.

Pure: every token is a function of the seed, the request and the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from colonnade.bench.trace import BLOCK, Request

_SHARED, _OWN = 1, 2  # kinds of streams of random numbers


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Ids that are drawn: [low, high)."""

    low: int
    high: int

    @classmethod
    def of(cls, size: int) -> Vocabulary:
        """Special tokens and single bytes lie at the ends: leave out the lowest 300 and the highest sixteenth."""
        low = min(300, size // 2)
        return cls(low, max(low + 1, size - size // 16))


@dataclass(frozen=True, slots=True)
class Sized:
    """A request's lengths as they will be sent. `clipped`: they did not fit the context."""

    prompt: int
    output: int
    clipped: bool


@dataclass(frozen=True, slots=True)
class Scale:
    """`factor` for every length; `context`: the most tokens of prompt and output together, None for no limit."""

    factor: float = 1.0
    context: int | None = None

    def size(self, request: Request) -> Sized:
        """At least one token each. The output may take half the context, the prompt what is left."""
        prompt, output = (max(1, round(length * self.factor)) for length in (request.prompt, request.output))
        if self.context is None or prompt + output <= self.context:
            return Sized(prompt, output, False)
        kept = min(output, max(1, self.context // 2))
        return Sized(min(prompt, max(1, self.context - kept)), kept, True)


@dataclass(frozen=True, slots=True)
class Prompts:
    """Makes the prompts of one run."""

    vocabulary: Vocabulary
    scale: Scale
    seed: int = 0

    def tokens(self, index: int, request: Request) -> list[int]:
        """Of the request that is number `index` of the run."""
        wanted = self.scale.size(request).prompt
        shared = np.concatenate([np.empty(0, dtype=np.int64), *self._blocks(request, wanted)])[:wanted]
        own = self._draw(_OWN, index, wanted - len(shared))
        return [*shared.tolist(), *own.tolist()]

    def _blocks(self, request: Request, wanted: int) -> Iterator[np.ndarray]:
        longest = math.ceil(BLOCK * self.scale.factor) + 1
        for number, block in enumerate(request.blocks):
            start, end = (math.floor(BLOCK * self.scale.factor * n) for n in (number, number + 1))
            if start >= wanted:
                return
            yield self._draw(_SHARED, block, longest)[: end - start]

    def _draw(self, kind: int, key: int, count: int) -> np.ndarray:
        # Ids of any sign and size: a seed sequence takes only what is not negative.
        random = np.random.default_rng((self.seed, kind, key & (2**64 - 1)))
        return random.integers(self.vocabulary.low, self.vocabulary.high, count)
