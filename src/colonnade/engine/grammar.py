"""What a grammar library must do for us: compile, say which tokens may come next, follow the ones that came. Pure.

    compiler.compile(grammar) -> Matcher        Unenforceable: it cannot be held to exactly, or is no grammar
    matcher.fill(words_W)                       a bit for each token that may come next
    matcher.accept(token), matcher.back(count)
    matcher.ahead()                             tokens that come next, or are likely to

A library is one implementation of `Compiler`. What it cannot enforce exactly it refuses: nothing is ever dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
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

        Where text is forced, its first token in the tokenizer's own way of writing it is the only one.
        Raises Exhausted."""
        ...

    def accept(self, token: int) -> None:
        """Raises Exhausted, and ValueError for a token that `fill` does not allow."""
        ...

    def back(self, count: int) -> None:
        """Take back the last `count` tokens; never past a `keep`."""
        ...

    def keep(self) -> None:
        """What was accepted stays."""
        ...

    def ahead(self) -> Sequence[int]:
        """The tokens that are forced now, each the only one that `fill` will allow; then perhaps some that are likely
        where others are allowed, too. What was accepted stays."""
        ...

    def plain(self, token: int) -> bool:
        """Whether it is a piece of a word: after such a one in free text, nothing is forced."""
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
