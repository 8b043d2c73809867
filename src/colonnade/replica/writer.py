"""An answer's pieces to bytes: a stream as `docs/stream-contract.md` has it, or one whole body. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from colonnade.replica.choice import Piece
from colonnade.replica.past import Past
from colonnade.replica.shape import Shape, Usage
from colonnade.wire.stream import DONE, EventId, event, tokens_line, usage_line


@dataclass(frozen=True, slots=True)
class Written:
    """Whole lines; `id` where they end with an event that carries one."""

    data: bytes
    id: str = ""


class Writer(Protocol):
    """`usage` is that of all choices up to and with the piece; the last piece of the last choice ends the answer."""

    def write(self, index: int, piece: Piece, usage: Usage) -> list[Written]: ...

    def rest(self, usage: Usage) -> list[Written]:
        """What follows the last piece of the last choice: for an answer whose choices had all finished before."""
        ...

    def error(self, envelope: dict[str, Any]) -> list[Written]: ...


class StreamWriter:
    """Blocks, in the order of the pieces. After the last one, `data: [DONE]`."""

    def __init__(self, shape: Shape, epoch: str, choices: int, include_usage: bool, past: Past | None = None) -> None:
        """With a `past`, go on after it: nothing that it delivered is written again."""
        self._shape = shape
        self._epoch = epoch
        self._include_usage = include_usage
        self._positions = [0] * choices if past is None else [len(tokens) for tokens in past.tokens]
        self._finished = [False] * choices if past is None else list(past.finished)
        self._opened = past is not None

    def write(self, index: int, piece: Piece, usage: Usage) -> list[Written]:
        written = [] if self._opened else self._open(usage, len(piece.tokens))
        self._positions[index] += len(piece.tokens)
        comment = tokens_line(index, piece.tokens) if piece.tokens else b""
        if piece.silent:
            return [*written, Written(comment)] if comment else written
        self._finished[index] = piece.finish is not None
        if not all(self._finished):
            return [*written, self._event(self._shape.chunk(index, piece), comment)]
        return written + self._last(index, piece, usage, comment)

    def error(self, envelope: dict[str, Any]) -> list[Written]:
        """Ends the stream, without [DONE]."""
        return [Written(event(msgspec.json.encode(envelope)))]

    def _open(self, usage: Usage, new: int) -> list[Written]:
        self._opened = True
        line = usage_line(usage.prompt, usage.cached, usage.completion - new)
        opening = self._shape.opening(len(self._positions))
        return [Written(line) if opening is None else self._event(opening, line)]

    def _last(self, index: int, piece: Piece, usage: Usage, comment: bytes) -> list[Written]:
        """The usage line stands in the last block before [DONE]."""
        line = usage_line(usage.prompt, usage.cached, usage.completion)
        chunk = self._shape.chunk(index, piece)
        if not self._include_usage:
            return [self._event(chunk, comment + line), Written(DONE)]
        return [self._event(chunk, comment), *self.rest(usage)]

    def rest(self, usage: Usage) -> list[Written]:
        if not self._include_usage:
            return [Written(DONE)]
        line = usage_line(usage.prompt, usage.cached, usage.completion)
        return [self._event(self._shape.usage_chunk(usage), line), Written(DONE)]

    def _event(self, body: dict[str, Any], comments: bytes) -> Written:
        event_id = EventId(self._epoch, tuple(self._positions), tuple(self._finished))
        return Written(comments + event(msgspec.json.encode(body), event_id), str(event_id))


class WholeWriter:
    """Nothing until the last choice has finished; then the whole body."""

    def __init__(self, shape: Shape, choices: int) -> None:
        self._shape = shape
        self._pieces: list[list[Piece]] = [[] for _ in range(choices)]

    def write(self, index: int, piece: Piece, usage: Usage) -> list[Written]:
        self._pieces[index].append(piece)
        if not all(pieces and pieces[-1].finish for pieces in self._pieces):
            return []
        body = self._shape.whole([_join(pieces) for pieces in self._pieces], usage)
        return [Written(msgspec.json.encode(body))]

    def rest(self, usage: Usage) -> list[Written]:
        """An answer that is not a stream has no past."""
        return []

    def error(self, envelope: dict[str, Any]) -> list[Written]:
        """Nothing has been sent: the error is the answer, and the connection writes it with its status."""
        return []


def _join(pieces: list[Piece]) -> Piece:
    return Piece(
        tokens=tuple(token for piece in pieces for token in piece.tokens),
        text="".join(piece.text for piece in pieces),
        calls=tuple(call for piece in pieces for call in piece.calls),
        logprobs=tuple(each for piece in pieces for each in piece.logprobs),
        finish=pieces[-1].finish,
    )
