"""What a grammar library must do for us: compile, say which tokens may come next, follow the ones that came. Pure.

    compiler.compile(grammar) -> Matcher        Unenforceable: it cannot be held to exactly, or is no grammar
    matcher.fill(words_W)                       a bit for each token that may come next
    matcher.accept(token)

A library is one implementation of `Compiler`. What it cannot enforce exactly it refuses: nothing is ever dropped.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from colonnade.wire.messages import Grammar

Words = NDArray[np.uint32]
"""A bit for each token: bit `t % 32` of word `t // 32`."""


class Unenforceable(Exception):
    """`keyword` and `path` (as a JSON pointer) name the place in a schema, where it is known."""

    def __init__(self, message: str, keyword: str = "", path: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.keyword = keyword
        self.path = path


class Exhausted(Exception):
    """The grammar takes more work or memory here than a matcher may spend."""


class Matcher(Protocol):
    """One answer on its way. After it has raised it is not used again."""

    def copy(self) -> Matcher: ...

    def fill(self, words_W: Words) -> None:
        """Set the bits of the tokens that may come next; an end token may where the answer is whole.

        Raises Exhausted."""
        ...

    def accept(self, token: int) -> None:
        """Raises Exhausted, and ValueError for a token that `fill` does not allow."""
        ...


class Compiler(Protocol):
    def compile(self, grammar: Grammar) -> Matcher:
        """At the beginning of an answer. Raises Unenforceable."""
        ...


def word_count(vocab_size: int) -> int:
    return (vocab_size + 31) // 32


def allowed(words: Words, vocab_size: int) -> NDArray[np.bool_]:
    """The bits of one row of words, or of several: an entry a token."""
    return np.unpackbits(words.view(np.uint8), axis=-1, count=vocab_size, bitorder="little").view(np.bool_)
