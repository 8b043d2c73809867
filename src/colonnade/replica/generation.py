"""One request's life: what is submitted to the engine, and what becomes of the tokens that come back.

The first choice of each prompt goes first; the others follow with its first token, and find the prompt in the cache.
It alone has its prompt scored, where that is asked for: the others tell the same scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol

from colonnade.replica.choice import Choice, Piece
from colonnade.replica.identity import Identity
from colonnade.replica.order import Order, Version
from colonnade.replica.past import Past
from colonnade.replica.shape import Usage
from colonnade.replica.spool import Spool
from colonnade.replica.writer import Writer
from colonnade.wire.errors import ColonnadeError, Internal, Overloaded
from colonnade.wire.messages import Delta, Logprob, Namespace, Scoring, Submit

Listener = Callable[[Delta | ColonnadeError], None]


class Engine(Protocol):
    """What a generation needs of the engine's client."""

    def submit(self, submit: Submit, listener: Listener) -> None:
        """`listener` is called with each delta; with an error, it is called for the last time."""
        ...

    def abort(self, key: str) -> None: ...


class Watch(Protocol):
    """Told of what happened, for the metrics and for who counts the requests in flight."""

    def first_token(self) -> None: ...

    def tokens(self, choice: int, count: int) -> None: ...

    def over(self, generation: Generation, outcome: str) -> None: ...


class Generation:
    """Runs by the engine's reports alone: no task of its own. `error` is what ended it, if something did."""

    def __init__(
        self,
        serial: str,
        order: Order,
        identity: Identity,
        choices: list[Choice],
        writer: Writer,
        spool: Spool,
        engine: Engine,
        watch: Watch,
        past: Past | None = None,
        version: Version = Version(),  # noqa: B008
    ) -> None:
        self.order = order
        self.version = version
        self.identity = identity
        self.spool = spool
        self.error: ColonnadeError | None = None
        self.started = False
        self._serial = serial
        self._choices = choices
        self._writer = writer
        self._engine = engine
        self._watch = watch
        self._submitted: set[int] = set()
        self._begun: set[int] = set()
        self._scores: dict[int, list[Logprob]] = {}  # of each prompt, by its first choice
        self._spoken = {index for index, piece in (past.pieces if past else ()) if not piece.silent}
        self._past = past
        self._cached = past.cached if past else 0
        self._completion = past.completion if past else 0
        self._over = False

    def start(self) -> None:
        """Of each prompt, the first choice that has not finished."""
        for written in self._writer.rest(self.usage):
            self.spool.append(written)
        opened = (next(self._open(group), None) for group in range(0, self.order.choices, self.order.n))
        firsts = [first for first in opened if first is not None]
        for first in firsts[:1] if self.order.leads else firsts:
            self._submit(first)
        if not self._submitted:
            self._end("ok", None)

    def _open(self, group: int) -> Iterator[int]:
        """Choices of one prompt that have not finished."""
        return (index for index in range(group, group + self.order.n) if self._choices[index].finish is None)

    def cancel(self, error: ColonnadeError | None = None) -> None:
        """The engine is told within this call; the stream ends with `error`, if given."""
        if not self._over:
            self._end("cancelled" if error is None else error.reason, error)

    @property
    def usage(self) -> Usage:
        return Usage(self.order.prompt_tokens, self._cached, self._completion)

    @property
    def drawn(self) -> Usage:
        """What was computed here: an answer that goes on was counted where it began."""
        if self._past is None:
            return self.usage
        return Usage(0, 0, self._completion - self._past.completion)

    def _key(self, index: int) -> str:
        return f"{self._serial}.{index}"

    @property
    def _priority(self) -> int:
        """The header's goes first: who runs the replica sets it, and a client's body does not undo it."""
        return self.order.priority if self.identity.priority is None else self.identity.priority

    def _submit(self, index: int) -> None:
        prompt, choice = divmod(index, self.order.n)
        self._submitted.add(index)
        self._engine.submit(
            Submit(
                key=self._key(index),
                prompt=list(self.order.prompts[prompt]),
                sampling=self.order.sampling[prompt],
                choice=choice,
                replay=self._past.replay(index) if self._past else [],
                namespace=Namespace(self.identity.tenant, self.order.salt),
                priority=self._priority,
                begun=self.started or (self.order.silent and len(self._submitted) > 1),
                marks=sorted({mark.length for mark in self.order.marks}),
                scoring=self._scoring(index),
            ),
            lambda report: self._report(index, report),
        )

    def _scoring(self, index: int) -> Scoring | None:
        """It is the one to have the prompt scored, unless all choices of the prompt have told the scores already."""
        group = index - index % self.order.n
        if self.order.scoring is None or group in self._scores or self._spoken.issuperset(self._open(group)):
            return None
        self._scores[group] = []
        return self.order.scoring

    def _report(self, index: int, report: Delta | ColonnadeError) -> None:
        """An error ends all choices, even one that has finished: what came last of it could not be written."""
        if self._over:
            return
        if isinstance(report, ColonnadeError):
            self._end(report.reason, report)
        elif self._choices[index].finish is not None:
            return
        elif report.finish == "error":
            self._end("engine_error", Internal(report.reason or "the engine gave this request up"))
        elif report.scores is not None:
            self._scores[index - index % self.order.n] += report.scores
        else:
            self._delta(index, report)

    def _delta(self, index: int, delta: Delta) -> None:
        first = not self.started
        self.started = True
        if first:
            self._watch.first_token()
        if index - index % self.order.n not in self._begun:
            self._follow(index - index % self.order.n, delta.cached)
        if self.order.silent:
            delta = Delta(delta.key, delta.position, [], finish="length", vector=delta.vector)
        if owed := self._choices[index].owed:
            if not self._choices[index].settle((delta.logprobs or [])[:owed]):
                self._end("replay_differs", Internal("the answer cannot be gone on with: other tokens were drawn"))
                return
            if len(delta.tokens) <= owed:
                return
            delta = Delta(
                delta.key, delta.position + owed, delta.tokens[owed:], (delta.logprobs or [])[owed:], delta.finish
            )
        self._feed(index, delta)

    def _feed(self, index: int, delta: Delta) -> None:
        piece = self._scored(index, self._choices[index].feed(delta.tokens, delta.logprobs, delta.finish))
        piece = replace(piece, vector=delta.vector) if delta.vector else piece
        self._completion += len(piece.tokens)
        self._watch.tokens(index, len(piece.tokens))
        if piece.abort:
            self._engine.abort(self._key(index))
        fits = [self.spool.append(written) for written in self._writer.write(index, piece, self.usage)]
        if all(choice.finish is not None for choice in self._choices):
            self._end("ok", None)
        elif not all(fits):
            self._cut()

    def _scored(self, index: int, piece: Piece) -> Piece:
        """With the prompt's scores, where it is the choice's first to be seen."""
        if self.order.scoring is None or piece.silent or index in self._spoken:
            return piece
        self._spoken.add(index)
        return replace(piece, scores=tuple(self._scores[index - index % self.order.n]))

    def _follow(self, group: int, cached: int) -> None:
        """The first token of a prompt's first choice is here: the prompt is computed, the others may share it."""
        self._begun.add(group)
        if self._past is None:
            self._cached += cached
        for other in self._open(group):
            if other not in self._submitted:
                self._submit(other)
        if self.order.leads and len(self._begun) == 1:
            for later in range(0, self.order.choices, self.order.n):
                if later not in self._submitted:
                    self._submit(later)

    def _cut(self) -> None:
        error = Overloaded(
            "the reader of this stream fell too far behind",
            code="reader_too_slow",
            hint="read faster, or set spool_limit",
        )
        self.spool.cut(self._writer.error(error, self.identity.request_id))
        self._end(error.reason, error)

    def _end(self, outcome: str, error: ColonnadeError | None) -> None:
        self._over = True
        self.error = error
        for index in self._submitted:
            if self._choices[index].finish is None:
                self._engine.abort(self._key(index))
        if not self.spool.ended:
            self._close(error)
        self._watch.over(self, outcome)

    def _close(self, error: ColonnadeError | None) -> None:
        """An error before the answer has begun has its own status; after that it is an event."""
        if error is not None and (self.spool.begun or self.spool.end > 0):
            for written in self._writer.error(error, self.identity.request_id):
                self.spool.append(written)
        self.spool.close()
