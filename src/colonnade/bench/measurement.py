"""What is seen of one answer from outside, event by event. Pure: the time comes with the event."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from colonnade.bench.prompts import Sized
from colonnade.wire.stream import Event

DONE = "[DONE]"


@dataclass(frozen=True, slots=True)
class Measured:
    """One request. All times in seconds after the run's start.

    `planned` is the moment it was due, and what latencies are counted from: a generator that is late must make them
    worse, not hide it. `marks` are the moments at which tokens arrived, with their number.
    """

    planned: float
    sent: float
    ended: float
    sized: Sized
    marks: tuple[tuple[float, int], ...] = ()
    error: str = ""
    prompt: int = 0
    cached: int = 0
    completion: int = 0

    @property
    def ok(self) -> bool:
        return not self.error

    @property
    def late(self) -> float:
        return self.sent - self.planned

    @property
    def end_to_end(self) -> float:
        return self.ended - self.planned

    @property
    def first(self) -> float | None:
        """To the first token."""
        return self.marks[0][0] - self.planned if self.marks else None

    @property
    def gaps(self) -> list[float]:
        """Between a token and the one before it; tokens that came together share their time evenly."""
        spans = zip(self.marks, self.marks[1:], strict=False)
        return [(now - before) / count for (before, _), (now, count) in spans for _ in range(count)]

    @property
    def per_token(self) -> float | None:
        """Mean time of a token after the first event's: what a service level on a stream's speed is held against."""
        later = sum(count for _, count in self.marks[1:])
        return (self.marks[-1][0] - self.marks[0][0]) / later if later else None


@dataclass(slots=True)
class Recording:
    """Of one answer as it comes in."""

    planned: float
    sent: float
    sized: Sized
    marks: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    error: str = ""
    usage: dict[str, int] = field(default_factory=dict[str, int])
    done: bool = False

    def event(self, event: Event, now: float) -> None:
        if event.data == DONE:
            self.done = True
            return
        body = _decode(event.data)
        if "error" in body:
            self.error = code_of(body)
            return
        self._usage(event.usage(), body)
        count = sum(len(ids) for _, ids in event.tokens()) or _text_tokens(body)
        if count:
            self.marks.append((now, count))

    def close(self, now: float, error: str = "") -> Measured:
        """The connection is over; an answer without an end is broken."""
        failure = self.error or error or ("" if self.done else "stream_broken")
        completion = self.usage.get("completion", sum(count for _, count in self.marks))
        return Measured(
            self.planned,
            self.sent,
            now,
            self.sized,
            tuple(self.marks),
            failure,
            self.usage.get("prompt", 0),
            self.usage.get("cached", 0),
            completion,
        )

    def _usage(self, ours: dict[str, int] | None, body: dict[str, Any]) -> None:
        """From our comment line, else from the chunk that `stream_options` asks for."""
        theirs = body.get("usage")
        if ours is not None:
            self.usage.update(ours)
        elif theirs and "prompt" not in self.usage:
            details = theirs.get("prompt_tokens_details") or {}
            self.usage = {
                "prompt": theirs.get("prompt_tokens", 0),
                "cached": details.get("cached_tokens") or 0,
                "completion": theirs.get("completion_tokens", 0),
            }


def code_of(body: dict[str, Any]) -> str:
    """The code of an error envelope, ours or another's."""
    error = body.get("error")
    if isinstance(error, dict):
        return str(error.get("code") or error.get("type") or "error")
    return "error"


def _decode(data: str) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return {"error": {"code": "malformed_event"}}
    return body if isinstance(body, dict) else {"error": {"code": "malformed_event"}}


def _text_tokens(body: dict[str, Any]) -> int:
    """A server that does not tell its tokens: one for each choice with text."""
    return sum(1 for choice in body.get("choices") or () if choice.get("text"))
