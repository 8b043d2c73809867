"""What both endpoints' answers have in common: the JSON around the text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from colonnade.replica.choice import Piece

FLOOR = -9999.0
"""Written for a probability of zero: JSON has no infinity."""


@dataclass(frozen=True, slots=True)
class Usage:
    prompt: int
    cached: int
    completion: int

    def body(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }


@dataclass(frozen=True, slots=True)
class Label:
    """What stands in every chunk of an answer."""

    request_id: str
    created: int
    model: str
    fingerprint: str
    token_bytes: Callable[[int], bytes]


class Shape(Protocol):
    """How one endpoint writes an answer. Pure."""

    def opening(self, choices: int) -> dict[str, Any] | None:
        """The event before any text, if the endpoint has one."""
        ...

    def chunk(self, index: int, piece: Piece) -> dict[str, Any]: ...

    def usage_chunk(self, usage: Usage) -> dict[str, Any]: ...

    def whole(self, pieces: Sequence[Piece], usage: Usage) -> dict[str, Any]:
        """The body of an answer without a stream; a piece for each choice, all its parts joined."""
        ...


def floor(logprob: float) -> float:
    return max(logprob, FLOOR)
