"""The stream contract: how a replica writes server-sent events, and how anyone reads them back.

The frozen description is docs/stream-contract.md. This module is its only implementation; all of it is pure.

    : tokens 0 512 88            <- tokens of choice 0 that gave no text yet: a comment line, flushed at once
    : tokens 0 91
    id: 7k3f9a/3                 <- epoch / tokens consumed for each choice
    data: {"choices": ...}       <- the block ends here, and only here

A block always has data: the `openai` client fails on one without after it has seen an id.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_ID = re.compile(r"([a-z0-9]{1,32})/((?:\d{1,9}f?)(?:,\d{1,9}f?)*)(?:\+(\d{1,9}))?", re.ASCII)
_TOKENS = re.compile(r"tokens (\d{1,9})((?: \d{1,9})+)", re.ASCII)
_USAGE = re.compile(r"usage( \w+=\d{1,12})+", re.ASCII)

KEEP_ALIVE = b":\n"
"""A comment line inside the block that is being written; never a block of its own."""

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class EventId:
    """Where a stream stands after an event: for each choice, tokens consumed and whether it has finished; `event`
    counts events before it that came of the same tokens."""

    epoch: str
    positions: tuple[int, ...]
    finished: tuple[bool, ...]
    event: int = 0

    def __str__(self) -> str:
        marks = (f"{p}{'f' if f else ''}" for p, f in zip(self.positions, self.finished, strict=True))
        return f"{self.epoch}/{','.join(marks)}{f'+{self.event}' if self.event else ''}"

    @classmethod
    def parse(cls, text: str) -> EventId | None:
        """None for what is not an id of ours: a client may send anything in Last-Event-ID."""
        match = _ID.fullmatch(text.strip())
        if match is None:
            return None
        marks = match[2].split(",")
        positions = tuple(int(m.rstrip("f")) for m in marks)
        return cls(match[1], positions, tuple(m.endswith("f") for m in marks), int(match[3] or 0))


def tokens_line(choice: int, tokens: Sequence[int]) -> bytes:
    assert tokens
    return f": tokens {choice} {' '.join(map(str, tokens))}\n".encode()


def usage_line(prompt: int, cached: int, completion: int) -> bytes:
    return f": usage prompt={prompt} cached={cached} completion={completion}\n".encode()


def event(data: bytes, event_id: EventId | None = None, name: str = "") -> bytes:
    """End the block. `data` must not hold a line break (JSON as we write it never does)."""
    assert data
    assert b"\n" not in data
    head = f"event: {name}\n" if name else ""
    head += f"id: {event_id}\n" if event_id is not None else ""
    return b"%sdata: %s\n\n" % (head.encode(), data)


@dataclass(slots=True)
class Event:
    """One whole block as read: `data` of all its data lines, `comments` without the colon."""

    data: str = ""
    id: str = ""
    name: str = ""
    comments: list[str] = field(default_factory=list[str])

    def tokens(self) -> Iterator[tuple[int, list[int]]]:
        """(choice, token ids) of each tokens line; a comment that is not quite one is only a comment."""
        for comment in self.comments:
            if match := _TOKENS.fullmatch(comment):
                yield int(match[1]), [int(token) for token in match[2].split()]

    def usage(self) -> dict[str, int] | None:
        """The counts of the last usage line."""
        for comment in reversed(self.comments):
            if _USAGE.fullmatch(comment):
                return {key: int(value) for key, value in (pair.split("=") for pair in comment.split()[1:])}
        return None


class EventReader:
    """Incremental: any split of the bytes gives the same events. `feed` returns the blocks that became whole.

    Follows the HTML standard's section 9.2 (line ends LF, CRLF or CR; one space after the colon dropped), except that
    comments are kept, and that a block without data is returned when it has comments or an id.
    """

    def __init__(self) -> None:
        self._pending = b""
        self._half = False  # the last chunk ended in CR: a LF that begins the next one belongs to it
        self._event = Event()
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[Event]:
        if not chunk:
            return []
        fresh = chunk.removeprefix(b"\n") if self._half else chunk
        self._half = chunk.endswith(b"\r")
        *lines, self._pending = re.split(rb"\r\n|\n|\r", self._pending + fresh)
        return [done for line in lines if (done := self._line(line.decode("utf-8", "replace"))) is not None]

    def _line(self, line: str) -> Event | None:
        if not line:
            return self._close()
        field_name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field_name:
            case "":
                self._event.comments.append(value)
            case "data":
                self._data.append(value)
            case "id":
                self._event.id = value
            case "event":
                self._event.name = value
            case _:
                pass  # the standard says: ignore the field
        return None

    def _close(self) -> Event | None:
        done, self._event = self._event, Event()
        done.data, self._data = "\n".join(self._data), []
        return done if done.data or done.comments or done.id else None
