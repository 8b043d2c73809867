"""What the endpoints' answers have in common: the JSON around the text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from colonnade.replica.choice import Piece
from colonnade.replica.parts import Call
from colonnade.wire.errors import ColonnadeError

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
    weights: str = ""
    """The label of the weights' version."""


@dataclass(frozen=True, slots=True)
class Said:
    """One event of a stream. `name` is written where the endpoint's events have names."""

    body: dict[str, Any]
    name: str = ""


class Shape(Protocol):
    """How one endpoint writes an answer. Pure: what it knows comes of the pieces, in their order."""

    def opening(self, choices: int, usage: Usage) -> list[Said]:
        """The events before any text, if the endpoint has some."""
        ...

    def events(self, index: int, piece: Piece) -> list[Said]:
        """Those that a piece gives which is not silent: at least one."""
        ...

    def quiet(self, index: int, piece: Piece) -> None:
        """A silent piece, which gives none."""
        ...

    def closing(self, usage: Usage) -> list[Said]:
        """Those after the last piece of the last choice."""
        ...

    def whole(self, pieces: Sequence[Piece], usage: Usage) -> Any:
        """The body of an answer without a stream; a piece for each choice, all its parts joined."""
        ...

    def failure(self, error: ColonnadeError, request_id: str) -> Said:
        """What ends a stream that cannot go on."""
        ...


class Unstreamed:
    """What the shapes of endpoints without streams have in common."""

    def opening(self, choices: int, usage: Usage) -> list[Said]:
        return []

    def events(self, index: int, piece: Piece) -> list[Said]:
        raise AssertionError("it is not streamed")

    def quiet(self, index: int, piece: Piece) -> None:
        """Nothing is kept of it."""

    def closing(self, usage: Usage) -> list[Said]:
        return []

    def failure(self, error: ColonnadeError, request_id: str) -> Said:
        return Said(error.envelope(request_id))


def floor(logprob: float) -> float:
    return max(logprob, FLOOR)


def call_id(request_id: str, choice: int, call: Call) -> str:
    """Derived from the request's, so that a replay gives the same."""
    return hashlib.sha256(f"{request_id}/{choice}/{call.number}".encode()).hexdigest()[:24]
