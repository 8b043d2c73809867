"""One choice of an answer: tokens go in, text, tool calls and log-probabilities come out. Pure.

    tokens -> Detokenizer -> StopMatcher -> ToolCallParser -> Piece

Replaying the same tokens through a fresh `Choice` gives the same pieces: that is what resuming a stream rests on.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from colonnade.replica.detokenize import Decode, Detokenizer
from colonnade.replica.stops import StopMatcher
from colonnade.replica.toolcalls import Call, Found, ToolCallParser
from colonnade.wire.messages import Logprob


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """`offset` is where in the choice's text the token's own begins, in characters."""

    offset: int
    logprob: Logprob


@dataclass(frozen=True, slots=True)
class Piece:
    """What came of some tokens. `tokens` are those consumed, in order; the rest is "" or empty while text is held.

    `finish` is None while the choice goes on; else `stop`, `length` or `tool_calls`. With `abort`, it finished here
    and not in the engine, which is still to be told.
    """

    tokens: tuple[int, ...]
    text: str = ""
    calls: tuple[tuple[int, Call], ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish: str | None = None
    abort: bool = False

    @property
    def silent(self) -> bool:
        """Nothing to show: the tokens go out as comment lines alone."""
        return not self.text and not self.calls and self.finish is None


class Choice:
    """`tools`: None when text is text; else whether several calls are allowed."""

    def __init__(
        self, decode: Decode, context: Sequence[int] = (), stops: Sequence[str] = (), tools: bool | None = None
    ) -> None:
        self._detokenizer = Detokenizer(decode, context)
        self._stops = StopMatcher(stops)
        self._tools = None if tools is None else ToolCallParser(single=not tools)
        self._length = 0  # of the text before stops and tools are taken out
        self._shown = 0  # of the text after stops are taken out
        self._logprobs: list[TokenLogprob] = []
        self._calls = 0
        self.owed = 0
        """Of the log-probabilities held, how many last ones are not known: the tokens were recalled."""
        self.finish: str | None = None

    def feed(self, tokens: Sequence[int], logprobs: Sequence[Logprob] | None, finish: str | None) -> Piece:
        """Consume what one step brought. Tokens after the one that completes a stop string are not consumed."""
        assert self.finish is None
        found: list[Found] = []
        for index, token in enumerate(tokens):
            ends = finish == "stop" and index == len(tokens) - 1
            self._note(logprobs[index] if logprobs and not ends else None)
            found.append(self._show("" if ends else self._detokenizer.push(token)))
            if self._is_over():
                return self._end(tokens[: index + 1], found, "stop", abort=finish is None)
        if finish is None:
            return self._piece(tokens, found, None, abort=False)
        found.append(self._show(self._detokenizer.flush()))
        return self._end(tokens, found, finish, abort=False)

    def recall(self, tokens: Sequence[int], *, logprobs: bool) -> None:
        """Consume what one step brought in another life of the answer; what came of it has been delivered. With
        `logprobs`, those that are still to be shown are owed: `settle` brings them, before anything else is fed."""
        self.feed(tokens, [Logprob(token, 0.0) for token in tokens] if logprobs else None, None)
        self.owed = len(self._logprobs)

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

    def _show(self, text: str) -> Found:
        self._length += len(text)
        return self._parse(self._stops.feed(text))

    def _parse(self, text: str) -> Found:
        self._shown += len(text)
        return Found(text) if self._tools is None else self._tools.feed(text)

    def _is_over(self) -> bool:
        return self._stops.matched or (self._tools is not None and self._tools.done)

    def _rest(self) -> list[Found]:
        """What was held, at the end of the text."""
        held = [] if self._stops.matched else [self._parse(self._stops.flush())]
        return held if self._tools is None else [*held, self._tools.flush()]

    def _end(self, tokens: Sequence[int], found: list[Found], finish: str, *, abort: bool) -> Piece:
        found += self._rest()
        piece = self._piece(tokens, found, "stop" if self._stops.matched else finish, abort=abort)
        self.finish = piece.finish
        return piece

    def _piece(self, tokens: Sequence[int], found: list[Found], finish: str | None, *, abort: bool) -> Piece:
        text = "".join(each.text for each in found)
        calls = [call for each in found for call in each.calls]
        numbered = tuple(enumerate(calls, self._calls))
        self._calls += len(calls)
        if finish == "stop" and self._calls:
            finish = "tool_calls"
        quiet = not text and not calls and finish is None
        everything = finish is not None and not self._stops.matched
        logprobs = () if quiet else self._take_logprobs(everything=everything)
        return Piece(tuple(tokens), text, numbered, logprobs, finish, abort)

    def _take_logprobs(self, *, everything: bool) -> tuple[TokenLogprob, ...]:
        """Those of the tokens whose text is shown, at least in part: of a stop string's own tokens there is none."""
        count = bisect_left(self._logprobs, self._shown, key=lambda each: each.offset)
        taken = self._logprobs if everything else self._logprobs[:count]
        self._logprobs = self._logprobs[len(taken) :]
        return tuple(taken)
