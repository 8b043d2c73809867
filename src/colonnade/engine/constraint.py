"""The grammars of the running requests, by slot.

The masks of a step are made on a thread of their own while the forward pass runs; a few at once, since waking the
thread takes longer: also for the places after drafts, which the matcher follows and takes back when they turn out
wrong. A matcher is that thread's from `prepare` to `ready`, and else its caller's: what an answer forces to follow is
known before the next step is planned.

    enter(slot, grammar, tokens)   a request begins, or begins again: its matcher follows the tokens drawn so far
    prepare(spots)                 the masks of a step are begun: of each row of logits that is drawn from
    ready()                        waits; the bits of each row of logits are in `words_SW`
    settle(slot, tokens)           these were drawn; returns what comes next, as far as that can be foreseen
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from colonnade.engine.aside import Aside
from colonnade.engine.grammar import Compiler, Matcher, Words, allowed, word_count
from colonnade.engine.sampler import Allowed
from colonnade.engine.spot import Spot
from colonnade.wire.messages import Grammar

KEPT = 128
"""Compiled grammars kept for requests to come."""

FEW = 4
"""Masks that are made without the thread."""

NARROW = 64
"""Tokens allowed: with more than these the text is free, and a piece of a word forces nothing."""

_ALLOWED, _FORBIDDEN = np.float32(0.0), np.float32(-np.inf)
"""What is added to a token's logit."""

MakeCompiler = Callable[[], Compiler]


@dataclass(slots=True)
class _Row:
    grammar: Grammar
    matcher: Matcher | None = None  # None until the grammar is compiled, and after it failed
    error: str = ""
    pending: list[int] = field(default_factory=list[int])  # drawn, and not yet followed
    followed: int = 0  # drafts followed in this step
    place: int = 0  # of its first draw in this step


class Constraints:
    """`make` is called once, on the thread, when the first grammar comes. `foresee`: whether anything is said to come
    next."""

    def __init__(self, make: MakeCompiler, vocab_size: int, *, foresee: bool = True) -> None:
        self._make = make
        self._vocab_size = vocab_size
        self._foresee = foresee
        self._compiler: Compiler | None = None
        self._compiled: dict[Grammar, Matcher] = {}  # the one used last is at the end
        self.words_SW = np.zeros((0, word_count(vocab_size)), dtype=np.uint32)
        """A bit for each token, by row of logits; it counts where the row's slot has a grammar."""
        self._rows: dict[int, _Row] = {}
        self._making = False
        self._beginning = False  # whether the thread may be at work on a new row
        self._counts_S: Sequence[int] = ()  # tokens allowed
        self._failed = False  # whether any grammar ever did
        self._aside = Aside[list[int]]("grammar")

    def enter(self, slot: int, grammar: Grammar | None, tokens: Sequence[int]) -> None:
        if grammar is None:
            self._rows.pop(slot, None)
            return
        row = self._rows[slot] = _Row(grammar, pending=list(tokens))
        self._beginning = True
        self._aside.do(lambda: self._begin(row))

    def prepare(self, spots: Sequence[Spot]) -> None:
        """Of each slot the first row of logits that is drawn from; each draft of its chunk has a row more."""
        turns: list[tuple[_Row, Sequence[int]]] = []
        count = masks = 0
        for spot in spots if self._rows else ():
            if (row := self._rows.get(spot.slot)) is not None:
                row.place, drafts = spot.row, spot.chunk.drafts
                turns.append((row, drafts))
                masks += 1 + len(drafts)
                count = spot.row + 1 + len(drafts)
        if len(self.words_SW) < count:
            self.words_SW = np.zeros((count, self.words_SW.shape[1]), dtype=np.uint32)
        self._making = masks > FEW or (masks > 0 and self._beginning)
        if self._making:
            self._aside.ask(lambda: self._masks(turns, count))
        elif masks:
            self._counts_S = self._masks(turns, count)

    def ready(self) -> None:
        """Wait until `words_SW` is filled for the step."""
        if self._making:
            self._counts_S = self._aside.answer()
            self._beginning = False

    def among(self, slots: Sequence[int]) -> list[tuple[int, int]]:
        """(index, slot) of those that have a grammar."""
        return [(index, slot) for index, slot in enumerate(slots) if slot in self._rows] if self._rows else []

    def mask(self, slot: int, place: int) -> Allowed | None:
        """What is added to each logit of that row; None: nothing."""
        if slot not in self._rows:
            return None
        return np.where(allowed(self.words_SW[place], self._vocab_size), _ALLOWED, _FORBIDDEN)

    def error(self, slot: int) -> str:
        """What is wrong with its grammar, in words for its client; to be asked when the masks are ready."""
        return self._rows[slot].error if self._failed and slot in self._rows else ""

    def settle(self, slot: int, tokens: Sequence[int]) -> Sequence[int]:
        """All but the last of `tokens` were drafts."""
        row = self._rows.get(slot)
        if row is None or row.matcher is None:
            return ()
        right, last = len(tokens) - 1, tokens[-1]
        try:
            if row.followed > right:
                row.matcher.back(row.followed - right)
            row.pending.append(last)
            if not self._foresee or (self._counts_S[row.place + right] > NARROW and row.matcher.plain(last)):
                return ()
            _follow(row, row.matcher)
            return row.matcher.ahead()
        except Exception as error:  # Exhausted, or what a library raises besides
            self._spoil(row, f"followed: {error}")
            return ()

    def _spoil(self, row: _Row, reason: str) -> None:
        row.matcher, row.error = None, f"the grammar cannot be {reason}"
        self._failed = True

    # ---- on the thread, or by its owner when that has nothing to do

    def _begin(self, row: _Row) -> None:
        try:
            row.matcher = self._compile(row.grammar).copy()
        except Exception as error:  # the face has checked it, so this is rare; whatever it is, it concerns this row
            self._spoil(row, f"enforced: {error}")

    def _masks(self, turns: list[tuple[_Row, Sequence[int]]], count: int) -> list[int]:
        words_SW = self.words_SW[:count]
        words_SW.fill(0xFFFFFFFF)  # where there is no grammar, or a draft cannot be right
        for row, drafts in turns:
            self._fill(row, drafts, words_SW[row.place :])
        return np.bitwise_count(words_SW).sum(axis=1).tolist()

    def _fill(self, row: _Row, drafts: Sequence[int], words_DW: Words) -> None:
        """Whatever goes wrong ends this row's request, and no other."""
        if (matcher := row.matcher) is None:
            return
        try:
            row.followed = 0
            _follow(row, matcher)
            matcher.keep()
            matcher.fill(words_DW[0])
            for index, draft in enumerate(drafts):
                if not words_DW[index, draft // 32] >> np.uint32(draft % 32) & 1:
                    return
                matcher.accept(draft)
                row.followed += 1
                matcher.fill(words_DW[index + 1])
        except Exception as error:  # Exhausted, or what a library raises besides
            self._spoil(row, f"followed: {error}")

    def _compile(self, grammar: Grammar) -> Matcher:
        if self._compiler is None:
            self._compiler = self._make()
        matcher = self._compiled.pop(grammar, None)
        if matcher is None:
            matcher = self._compiler.compile(grammar)
            while len(self._compiled) >= KEPT:
                del self._compiled[next(iter(self._compiled))]
        self._compiled[grammar] = matcher
        return matcher


def _follow(row: _Row, matcher: Matcher) -> None:
    for token in row.pending:
        matcher.accept(token)
    row.pending.clear()
