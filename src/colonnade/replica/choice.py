"""One choice of an answer: tokens go in, text, reasoning, calls and log-probabilities come out. Pure.

    tokens -> Detokenizer -> StopMatcher -> SpeechParser -> Piece

Replaying the same tokens through a fresh `Choice` gives the same pieces: that is what resuming a stream rests on.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from colonnade.replica.detokenize import Decode, Detokenizer
from colonnade.replica.parts import Call, Part, Text, Thought, join
from colonnade.replica.speech import Listening, SpeechParser
from colonnade.replica.stops import StopMatcher
from colonnade.wire.messages import Logprob


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """`offset` is where in the choice's text the token's own begins, in characters."""

    offset: int
    logprob: Logprob


@dataclass(frozen=True, slots=True)
class Piece:
    """What came of some tokens. `tokens` are those consumed, in order; the rest is empty while text is held.

    `finish` is None while the choice goes on; else `stop`, `length` or `tool_calls`, and `stopped` the stop string that
    ended it, "" where none did. With `abort`, it finished here and not in the engine, which is still to be told.
    """

    tokens: tuple[int, ...]
    parts: tuple[Part, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish: str | None = None
    abort: bool = False
    stopped: str = ""
    vector: bytes = b""
    """Of the prompt, where it is asked for: float32, little-endian."""
    scores: tuple[Logprob, ...] | None = None
    """Of the prompt's own tokens, with the first of a choice's pieces that is not silent, where they were asked for."""

    @property
    def silent(self) -> bool:
        """Nothing to show: the tokens go out as comment lines alone."""
        return not self.parts and self.finish is None

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def reasoning(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Thought))

    @property
    def calls(self) -> tuple[Call, ...]:
        return tuple(part for part in self.parts if isinstance(part, Call))


class Choice:
    """`listening`: None when text is text. `tell_end`: a token that ends the choice keeps its log-probability."""

    def __init__(
        self,
        decode: Decode,
        context: Sequence[int] = (),
        stops: Sequence[str] = (),
        listening: Listening | None = None,
        *,
        tell_end: bool = False,
    ) -> None:
        self._detokenizer = Detokenizer(decode, context)
        self._stops = StopMatcher(stops)
        self._speech = None if listening is None else SpeechParser(listening)
        self._tell_end = tell_end
        self._length = 0  # of the text before stops and tools are taken out
        self._shown = 0  # of the text after stops are taken out
        self._logprobs: list[TokenLogprob] = []
        self.owed = 0
        """Of the log-probabilities held, how many last ones are not known: the tokens were recalled."""
        self.finish: str | None = None

    def feed(self, tokens: Sequence[int], logprobs: Sequence[Logprob] | None, finish: str | None) -> Piece:
        """Consume what one step brought. Tokens after the one that completes a stop string are not consumed."""
        assert self.finish is None
        found: list[list[Part]] = []
        for index, token in enumerate(tokens):
            ends = finish == "stop" and index == len(tokens) - 1
            self._note(logprobs[index] if logprobs and (self._tell_end or not ends) else None)
            found.append(self._show("" if ends else self._detokenizer.push(token)))
            if self._is_over():
                return self._end(tokens[: index + 1], found, "stop", abort=finish is None)
        if finish is None:
            return self._piece(tokens, found, None, abort=False)
        found.append(self._show(self._detokenizer.flush()))
        return self._end(tokens, found, finish, abort=False)

    def recall(self, tokens: Sequence[int], *, logprobs: bool, finish: str | None = None) -> Piece:
        """Consume what one step brought in another life of the answer; what came of it has been delivered. With
        `logprobs`, those that are still to be shown are owed: `settle` brings them, before anything else is fed."""
        piece = self.feed(tokens, [Logprob(token, 0.0) for token in tokens] if logprobs else None, finish)
        self.owed = len(self._logprobs) if self.finish is None else 0
        return piece

    def settle(self, logprobs: Sequence[Logprob]) -> bool:
        """The next ones owed. False when they are of other tokens: this is not the answer that was begun."""
        start = len(self._logprobs) - self.owed
        self.owed -= len(logprobs)
        assert self.owed >= 0
        for index, logprob in enumerate(logprobs, start):
            if self._logprobs[index].logprob.token != logprob.token:
                return False
            self._logprobs[index] = TokenLogprob(self._logprobs[index].offset, logprob)
        return True

    def _note(self, logprob: Logprob | None) -> None:
        if logprob is not None:
            self._logprobs.append(TokenLogprob(self._length, logprob))

    def _show(self, text: str) -> list[Part]:
        self._length += len(text)
        return self._parse(self._stops.feed(text))

    def _parse(self, text: str) -> list[Part]:
        self._shown += len(text)
        if self._speech is not None:
            return self._speech.feed(text)
        return [Text(text)] if text else []

    def _is_over(self) -> bool:
        return self._stops.matched or (self._speech is not None and self._speech.done)

    def _rest(self) -> list[list[Part]]:
        """What was held, at the end of the text."""
        held = [] if self._stops.matched else [self._parse(self._stops.flush())]
        return held if self._speech is None else [*held, self._speech.flush()]

    def _end(self, tokens: Sequence[int], found: list[list[Part]], finish: str, *, abort: bool) -> Piece:
        found += self._rest()
        piece = self._piece(tokens, found, "stop" if self._stops.matched else finish, abort=abort)
        self.finish = piece.finish
        return piece

    def _piece(self, tokens: Sequence[int], found: list[list[Part]], finish: str | None, *, abort: bool) -> Piece:
        parts = join([part for each in found for part in each])
        if finish == "stop" and self._speech is not None and self._speech.calls:
            finish = "tool_calls"
        quiet = not parts and finish is None
        everything = finish is not None and not self._stops.matched
        logprobs = () if quiet else self._take_logprobs(everything=everything)
        return Piece(tuple(tokens), parts, logprobs, finish, abort, self._stops.word)

    def _take_logprobs(self, *, everything: bool) -> tuple[TokenLogprob, ...]:
        """Those of the tokens whose text is shown, at least in part: of a stop string's own tokens there is none."""
        count = bisect_left(self._logprobs, self._shown, key=lambda each: each.offset)
        taken = self._logprobs if everything else self._logprobs[:count]
        self._logprobs = self._logprobs[len(taken) :]
        return tuple(taken)
