"""Stop strings: text goes in, the text before the first stop comes out, whatever the pieces it comes in.

The first stop is the one that ends first; of several that end together, the longest. What could be the beginning of
one is held back. One automaton for each stop (Knuth, Morris, Pratt 1977): linear in the text.
"""

from __future__ import annotations

from collections.abc import Sequence


class _Automaton:
    """`state` is the length of the longest end of the text so far that begins `word`."""

    def __init__(self, word: str) -> None:
        assert word
        self.word = word
        self.state = 0
        self._fallback = _borders(word)

    def advance(self, character: str) -> bool:
        """True when `word` ends here."""
        while self.state and self.word[self.state] != character:
            self.state = self._fallback[self.state]
        self.state += self.word[self.state] == character
        return self.state == len(self.word)


def _borders(word: str) -> list[int]:
    """For each length, that of the longest proper beginning which also ends it."""
    borders = [0, 0]
    for index in range(1, len(word)):
        length = borders[index]
        while length and word[length] != word[index]:
            length = borders[length]
        borders.append(length + (word[length] == word[index]))
    return borders


class StopMatcher:
    """After `matched` is true nothing more may be fed."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._automata = [_Automaton(stop) for stop in stops]
        self._held = ""
        self.matched = False
        self.word = ""
        """The stop that ended the text."""

    def feed(self, text: str) -> str:
        """The text that cannot be part of a stop; sets `matched` when one is whole."""
        assert not self.matched
        if not self._automata:
            return text
        buffer = self._held + text
        for index, character in enumerate(text):
            whole = [each for each in self._automata if each.advance(character)]
            if whole:
                self.word = max((each.word for each in whole), key=len)
                return self._close(buffer, len(self._held) + index + 1)
        keep = len(buffer) - max(each.state for each in self._automata)
        self._held = buffer[keep:]
        return buffer[:keep]

    def _close(self, buffer: str, end: int) -> str:
        self.matched = True
        self._held = ""
        return buffer[: end - len(self.word)]

    def flush(self) -> str:
        """What was held, when the text ends without a stop."""
        held, self._held = self._held, ""
        return held
