"""An answer's pieces to bytes: a stream as `docs/stream-contract.md` has it, or one whole body. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import msgspec

from colonnade.replica.choice import Piece
from colonnade.replica.parts import join
from colonnade.replica.past import Past
from colonnade.replica.shape import Said, Shape, Usage
from colonnade.wire.errors import ColonnadeError
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
        """What the past of an answer still owes: events that came of its last tokens, and its end if it has one."""
        ...

    def error(self, error: ColonnadeError, request_id: str) -> list[Written]: ...


class StreamWriter:
    """Blocks, in the order of the pieces. After the last one, `data: [DONE]`."""

    def __init__(self, shape: Shape, epoch: str, choices: int, past: Past | None = None) -> None:
        """With a `past`, go on after it: nothing that it delivered is written again."""
        self._shape = shape
        self._epoch = epoch
        self._past = past
        self._positions = [0] * choices if past is None else [len(tokens) for tokens in past.tokens]
        self._finished = [False] * choices if past is None else list(past.finished)
        self._number = 0  # of the events that come of the same tokens
        self._opened = past is not None

    def write(self, index: int, piece: Piece, usage: Usage) -> list[Written]:
        written = [] if self._opened else self._open(usage, len(piece.tokens))
        comment = tokens_line(index, piece.tokens) if piece.tokens else b""
        if piece.tokens or piece.finish is not None:
            self._number = 0
        self._positions[index] += len(piece.tokens)
        if piece.silent:
            self._shape.quiet(index, piece)
            return [*written, Written(comment)] if comment else written
        self._finished[index] = piece.finish is not None
        return [*written, *self._blocks(self._shape.events(index, piece), usage, comment)]

    def rest(self, usage: Usage) -> list[Written]:
        if self._past is None:
            return []
        said = self._shape.opening(len(self._positions), usage)
        for index, piece in self._past.pieces:
            if piece.silent:
                self._shape.quiet(index, piece)
            else:
                said = self._shape.events(index, piece)
        self._number = self._past.event + 1
        return self._blocks(said, usage, after=self._number)

    def error(self, error: ColonnadeError, request_id: str) -> list[Written]:
        """Ends the stream, without [DONE]."""
        said = self._shape.failure(error, request_id)
        return [Written(event(msgspec.json.encode(said.body), name=said.name))]

    def _open(self, usage: Usage, new: int) -> list[Written]:
        self._opened = True
        before = Usage(usage.prompt, usage.cached, usage.completion - new)
        line = usage_line(before.prompt, before.cached, before.completion)
        said = self._shape.opening(len(self._positions), before)
        return self._events(said, line) if said else [Written(line)]

    def _blocks(self, said: list[Said], usage: Usage, comment: bytes = b"", after: int = 0) -> list[Written]:
        """The usage line stands in the last block before [DONE]."""
        if not all(self._finished):
            return self._events(said[after:], comment)
        said = [*said, *self._shape.closing(usage)][after:]
        line = usage_line(usage.prompt, usage.cached, usage.completion)
        if len(said) < 2:
            return [*self._events(said, comment + line), Written(DONE)]
        return [*self._events(said[:-1], comment), *self._events(said[-1:], line), Written(DONE)]

    def _events(self, said: list[Said], comments: bytes) -> list[Written]:
        """`comments` stand in the first one's block."""
        return [self._event(each, b"" if number else comments) for number, each in enumerate(said)]

    def _event(self, said: Said, comments: bytes) -> Written:
        event_id = EventId(self._epoch, tuple(self._positions), tuple(self._finished), self._number)
        self._number += 1
        return Written(comments + event(msgspec.json.encode(said.body), event_id, said.name), str(event_id))


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

    def error(self, error: ColonnadeError, request_id: str) -> list[Written]:
        """Nothing has been sent: the error is the answer, and the connection writes it with its status."""
        return []


def _join(pieces: list[Piece]) -> Piece:
    return Piece(
        tokens=tuple(token for piece in pieces for token in piece.tokens),
        parts=join([part for piece in pieces for part in piece.parts]),
        logprobs=tuple(each for piece in pieces for each in piece.logprobs),
        finish=pieces[-1].finish,
        stopped=pieces[-1].stopped,
        vector=pieces[-1].vector,
        scores=next((piece.scores for piece in pieces if piece.scores is not None), None),
    )
