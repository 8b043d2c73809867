"""The parts of an answer. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Thought:
    """Reasoning, which is shown apart from the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """`arguments` is a JSON object as text, in the model's own spelling where it was JSON. `number`: of the answer's
    calls, from 0."""

    name: str
    arguments: str
    number: int = 0


Part = Text | Thought | Call


def join(parts: list[Part]) -> tuple[Part, ...]:
    """Neighbours of one kind of words made one."""
    joined: list[Part] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, Text) and isinstance(last, Text):
            joined[-1] = Text(last.text + part.text)
        elif isinstance(part, Thought) and isinstance(last, Thought):
            joined[-1] = Thought(last.text + part.text)
        else:
            joined.append(part)
    return tuple(joined)
