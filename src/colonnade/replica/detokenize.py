"""Token ids to text, one token at a time: text never changes once given, and the cost is linear in the tokens.

A window of two runs of tokens is decoded: those whose text was given last (so that spaces and joins come out as in the
whole) and those still pending. Half a character decodes to U+FFFD at the end, and waits. The window is the one that
transformers and vLLM use; the bound on what is pending is ours, so that garbage bytes cannot make it quadratic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Decode = Callable[[Sequence[int]], str]

REPLACEMENT = "\ufffd"
CONTEXT = 6
"""Tokens of the prompt's end that the first token of the answer is decoded after."""

_PENDING = 8
_CHARACTER = 3
"""An unfinished UTF-8 character is at most three bytes, so at most this many tokens of at least a byte each."""


class Detokenizer:
    """`decode` must be a pure function that leaves special tokens out."""

    def __init__(self, decode: Decode, context: Sequence[int] = ()) -> None:
        self._decode = decode
        self._before = list(context)
        self._pending: list[int] = []

    def push(self, token: int) -> str:
        """The text that is certain now; "" while a character is not whole."""
        self._pending.append(token)
        base, text = self._base(), self._decode(self._before + self._pending)
        if len(text) > len(base) and not text.endswith(REPLACEMENT):
            return self._give(len(self._pending), text[len(base) :])
        if len(self._pending) >= _PENDING:
            return self._give_some(base)
        return ""

    def flush(self) -> str:
        """What is still held, at the end of the answer: half a character shows as U+FFFD."""
        base, text = self._base(), self._decode(self._before + self._pending)
        return self._give(len(self._pending), text[len(base) :])

    def _base(self) -> str:
        return self._decode(self._before)

    def _give(self, count: int, text: str) -> str:
        self._before, self._pending = self._pending[:count], self._pending[count:]
        return text

    def _give_some(self, base: str) -> str:
        """All but the tokens that may belong to a character which is still to be finished."""
        count = len(self._pending) - _CHARACTER
        text = self._decode(self._before + self._pending[:count])
        return self._give(count, text[len(base) :])
