"""The grammars of the running requests, by slot.

All matchers live on one thread of their own, which takes its jobs in order. The masks of a step are made there while
the forward pass runs; whoever draws waits for them only if they are late.

    enter(slot, grammar, tokens)      a request begins, or begins again: its matcher follows the tokens drawn so far
    masked(slot), mask(slot)          what may be drawn next, as bits in `words_SW` or as numbers to add
    advance(drawn)                    these were drawn; the next masks are begun
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from colonnade.engine.grammar import Compiler, Matcher, allowed, word_count
from colonnade.engine.sampler import Allowed
from colonnade.engine.step import Drawn
from colonnade.wire.messages import Grammar

KEPT = 128
"""Compiled grammars kept for requests to come."""

_ALLOWED, _FORBIDDEN = np.float32(0.0), np.float32(-np.inf)
"""What is added to a token's logit."""

MakeCompiler = Callable[[], Compiler]


class GrammarFailed(Exception):
    """Of one request; in words for its client."""


@dataclass(slots=True)
class _Row:
    grammar: Grammar
    ready: Future[None]
    matcher: Matcher | None = None  # None until the grammar is compiled, and after it failed
    error: str = ""


class Constraints:
    """`make` is called once, on the thread, when the first grammar comes."""

    def __init__(self, make: MakeCompiler, slots: int, vocab_size: int) -> None:
        self._make = make
        self._vocab_size = vocab_size
        self._compiler: Compiler | None = None
        self._compiled: dict[Grammar, Matcher] = {}  # the one used last is at the end
        self.words_SW = np.zeros((slots, word_count(vocab_size)), dtype=np.uint32)
        """A slot's bits; to be read when `masked` has said that there are any, and before the next `advance`."""
        self._rows: dict[int, _Row] = {}
        self._thread = ThreadPoolExecutor(1, "grammar")

    def enter(self, slot: int, grammar: Grammar | None, tokens: Sequence[int]) -> None:
        if grammar is None:
            self._rows.pop(slot, None)
            return
        row = _Row(grammar, Future())
        self._rows[slot] = row
        row.ready = self._thread.submit(self._begin, slot, row, tuple(tokens))

    def among(self, slots: Sequence[int]) -> list[tuple[int, int]]:
        """(index, slot) of those that have a grammar."""
        return [(index, slot) for index, slot in enumerate(slots) if slot in self._rows] if self._rows else []

    def masked(self, slot: int) -> bool:
        """Whether a grammar holds the slot; its words are ready then. Raises GrammarFailed."""
        row = self._rows.get(slot)
        if row is None:
            return False
        row.ready.result()
        if row.error:
            raise GrammarFailed(row.error)
        return True

    def mask(self, slot: int) -> Allowed | None:
        """What is added to each logit. Raises GrammarFailed."""
        if not self.masked(slot):
            return None
        return np.where(allowed(self.words_SW[slot], self._vocab_size), _ALLOWED, _FORBIDDEN)

    def advance(self, drawn: Sequence[Drawn]) -> None:
        """Those without a grammar are passed over."""
        if not self._rows:
            return
        turns = [(each.slot, self._rows[each.slot], each.token) for each in drawn if each.slot in self._rows]
        if not turns:
            return
        ready = self._thread.submit(self._turn, turns)
        for _, row, _ in turns:
            row.ready = ready

    # ---- on the thread

    def _begin(self, slot: int, row: _Row, tokens: tuple[int, ...]) -> None:
        try:
            row.matcher = self._compile(row.grammar).copy()
        except Exception as error:  # the face has checked it, so this is rare; whatever it is, it concerns this row
            row.error = f"the grammar cannot be enforced: {error}"
            return
        self._follow(slot, row, tokens)

    def _turn(self, turns: list[tuple[int, _Row, int]]) -> None:
        for slot, row, token in turns:
            self._follow(slot, row, (token,))

    def _follow(self, slot: int, row: _Row, tokens: tuple[int, ...]) -> None:
        """Whatever goes wrong ends this row's request, and no other."""
        if row.matcher is None:
            return
        try:
            for token in tokens:
                row.matcher.accept(token)
            row.matcher.fill(self.words_SW[slot])
        except Exception as error:  # Exhausted, or what a library raises besides
            row.matcher, row.error = None, f"the grammar cannot be followed: {error}"

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
