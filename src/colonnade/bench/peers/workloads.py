"""What every peer is given: prompts of token ids, and how many at a time. Pure: a round has its prompts."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import msgspec
import numpy as np

LOWEST, HIGHEST = 300, 900
"""Ids of the prompts: plain tokens in the vocabulary of either model."""

SERVE, DECODE_1, DECODE_4, PREFILL = "serve", "decode, batch 1", "decode, batch 4", "prefill"
NAMES = (SERVE, DECODE_1, DECODE_4, PREFILL)
UNITS = {
    SERVE: "output tokens/s",
    DECODE_1: "tokens/s",
    DECODE_4: "tokens/s",
    PREFILL: "prompt tokens/s",
}
_START = 16
"""Tokens of the prompts that decode goes on from."""


class Sizes(msgspec.Struct, frozen=True):
    """`groups` of `prompts` each, with a `prefix` of their own and `fresh` tokens behind it, `output` tokens out,
    `together` at a time; `decode` tokens out at batch 1 and 4; `prefill` tokens in."""

    groups: int = 8
    prompts: int = 16
    prefix: int = 512
    fresh: int = 64
    output: int = 64
    together: int = 16
    decode: int = 64
    prefill: int = 1024

    @property
    def longest(self) -> int:
        """Tokens of the longest request."""
        return max(self.prefix + self.fresh + self.output, self.prefill + 1, _START + self.decode)

    @property
    def cache_tokens(self) -> int:
        """For all that run at a time if they share nothing, and the shared prefixes beside: for every peer alike."""
        prefixes = self.groups * self.prefix
        running = max(self.together * (self.prefix + self.fresh + self.output), 4 * (_START + self.decode))
        return max(running, self.longest) + prefixes + 1024


@dataclass(frozen=True, slots=True)
class Request:
    """`ids`: the ids of what is answered are wanted, whatever they cost."""

    prompt: list[int]
    tokens: int
    ids: bool = False


@dataclass(frozen=True, slots=True)
class Workload:
    name: str
    requests: tuple[Request, ...]
    together: int

    def asked(self) -> dict[str, object]:
        return {"requests": [asdict(each) for each in self.requests], "together": self.together}


def warm_up(seed: int) -> Workload:
    """Ahead of what is measured: first answers take longer, and these are compared with ours."""
    random = np.random.default_rng((seed, 99))
    return Workload("warm-up", tuple(Request(_ids(random, 24), 8, ids=True) for _ in range(4)), 2)


def workloads(sizes: Sizes, seed: int, number: int) -> list[Workload]:
    """Of one round. No prompt of a round begins like one of another, so that no cache helps across rounds."""
    random = np.random.default_rng((seed, number))
    return [
        Workload(SERVE, tuple(_serve(sizes, random)), sizes.together),
        _decode(DECODE_1, 1, sizes, random),
        _decode(DECODE_4, 4, sizes, random),
        Workload(PREFILL, (Request(_ids(random, sizes.prefill), 1),), 1),
    ]


def _serve(sizes: Sizes, random: np.random.Generator) -> list[Request]:
    """In an order drawn by lot: neighbours seldom share their prefix, as where many people talk to one service."""
    prefixes = [_ids(random, sizes.prefix) for _ in range(sizes.groups)]
    groups: list[int] = random.permutation(np.repeat(np.arange(sizes.groups), sizes.prompts)).tolist()
    return [Request(prefixes[group] + _ids(random, sizes.fresh), sizes.output) for group in groups]


def _decode(name: str, batch: int, sizes: Sizes, random: np.random.Generator) -> Workload:
    return Workload(name, tuple(Request(_ids(random, _START), sizes.decode) for _ in range(batch)), batch)


def _ids(random: np.random.Generator, count: int) -> list[int]:
    return random.integers(LOWEST, HIGHEST, count).tolist()
