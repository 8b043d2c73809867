"""A request of a simulation. `blocks` name the prompt's prefixes: one id for each `BLOCK` tokens, the last one begun.

Where a trace names none, a prompt shares nothing."""

from __future__ import annotations

from dataclasses import dataclass

from colonnade.wire.prefix import WHOLE, Link

BLOCK = 512
BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Arrival:
    """`at` in seconds, `prompt` and `output` in tokens; a larger `priority` goes first."""

    at: float
    prompt: int
    output: int
    blocks: tuple[int, ...] = ()
    tenant: str = ""
    priority: int = 0

    def links(self) -> list[Link]:
        """As the gateway would hash them."""
        return [
            Link(name(block), self.reach(index) * BYTES_PER_TOKEN, 0, WHOLE) for index, block in enumerate(self.blocks)
        ]

    def reach(self, index: int) -> int:
        """Tokens up to the end of a block."""
        return min((index + 1) * BLOCK, self.prompt)


def name(block: int) -> bytes:
    return block.to_bytes(8, "big")
