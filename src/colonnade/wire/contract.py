"""Does a stream keep the contract of docs/stream-contract.md? Pure; for tests of whatever writes or relays streams."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from colonnade.wire.stream import Event, EventId, EventReader


def violations(stream: bytes, after: EventId | None = None, *, told: bool = True) -> list[str]:
    """What is wrong with a whole stream, in words, each with its block's number; empty for one that keeps the contract.

    `after`: the stream is the rest of one, sent again from behind this event. `told` False: it is of an engine that
    tells no token ids, so that positions count events, and usage may stand at the end alone.
    """
    *whole, rest = stream.split(b"\n\n")
    found = [f"the stream ends inside a block: {rest!r}"] if rest else []
    found += [f"block {number}: {wrong}" for number, block in enumerate(whole) for wrong in _shape(block)]
    if found:
        return found
    events = [event for block in whole for event in EventReader().feed(block + b"\n\n")]
    state = _State(after, told)
    found = [f"block {number}: {wrong}" for number, event in enumerate(events) for wrong in state.take(event)]
    return [*found, *_ends(events, after, told)]


def _shape(block: bytes) -> Iterator[str]:
    """Comments, then `event:`, `id:` and `data:` in this order, each once, the first two optional."""
    names = [line.split(b":", 1)[0].decode("utf-8", "replace") for line in block.split(b"\n")]
    fields = [name for name in names if name]
    if names != [""] * (len(names) - len(fields)) + fields:
        yield "a comment after a field"
    if "data" not in fields:
        yield "no data"
    elif fields not in (["data"], ["id", "data"], ["event", "data"], ["event", "id", "data"]):
        yield f"fields are {', '.join(fields)}"


@dataclass
class _State:
    """How far each choice is by its tokens lines; the ids must say the same."""

    after: EventId | None
    told: bool
    consumed: dict[int, int] = field(default_factory=dict[int, int])

    def __post_init__(self) -> None:
        self.consumed = dict(enumerate(self.after.positions)) if self.after else {}

    def take(self, event: Event) -> Iterator[str]:
        for comment in event.comments:
            yield from self._comment(Event(comments=[comment]))
        if event.data == "[DONE]" or is_error(event):
            yield from ["an end with an id"] if event.id else []
        else:
            yield from self._id(event.id)

    def _comment(self, line: Event) -> Iterator[str]:
        for choice, tokens in line.tokens():
            self.consumed[choice] = self.consumed.get(choice, 0) + len(tokens)
        usage = line.usage()
        if not self.told:
            yield from ["a tokens line"] if self.consumed else []
        elif usage is not None and usage.get("completion") != sum(self.consumed.values()):
            yield f"usage says {usage}, the tokens lines {self.consumed}"

    def _id(self, text: str) -> Iterator[str]:
        now = EventId.parse(text)
        if now is None:
            yield f"{text!r} is not an id"
            return
        counted = {c: p for c, p in enumerate(now.positions) if p or c in self.consumed}
        if self.told and counted != self.consumed:
            yield f"id says {text}, the tokens lines {self.consumed}"
        if self.after is not None:
            yield from _step(self.after, now)
        self.after = now


def _step(before: EventId, now: EventId) -> Iterator[str]:
    if len(before.positions) != len(now.positions):
        yield f"id {now} does not go on from {before}"
        return
    if any(new < old for old, new in zip(before.positions, now.positions, strict=True)):
        yield f"id {now} falls behind {before}"
    for choice, ended in enumerate(before.finished):
        if ended and (not now.finished[choice] or now.positions[choice] != before.positions[choice]):
            yield f"choice {choice} goes on after its end: {before}, {now}"


def _ends(events: Sequence[Event], after: EventId | None, told: bool) -> Iterator[str]:
    ends = [number for number, event in enumerate(events) if event.data == "[DONE]" or is_error(event)]
    if ends != [len(events) - 1]:
        yield "neither [DONE] nor an error ends the stream" if not ends else "something follows the end"
    elif events[-1].data == "[DONE]" and len(events) > 1:
        if told and after is None and events[0].usage() is None:
            yield "no usage in the first block"
        if events[-2].usage() is None:
            yield "no usage in the last block before [DONE]"


def is_error(event: Event) -> bool:
    """Whether the event is the one envelope of `wire.errors`."""
    try:
        body: object = msgspec.json.decode(event.data)
    except msgspec.DecodeError:
        return False
    return isinstance(body, dict) and "error" in body
