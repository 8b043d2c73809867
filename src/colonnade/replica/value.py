"""Where a bracketed value ends: a JSON object or array, or a list of calls in Python's notation. Pure."""

from __future__ import annotations

_OPENS = "([{"
_CLOSES = ")]}"
_QUOTES = "\"'"


class ValueEnd:
    """Fed piece by piece. A name may stand before the value; a bracket in it (`book[ARGS]{"day": 1}`) opens nothing,
    but for a brace."""

    def __init__(self) -> None:
        self._depth = 0
        self._quote = ""
        self._escaped = False
        self._named = False

    def feed(self, text: str) -> int:
        """The index in `text` after the value's last bracket; -1 while it goes on."""
        for index, character in enumerate(text):
            if self._depth == 0:
                self._before(character)
            elif self._quote:
                self._inside(character)
            elif self._between(character):
                return index + 1
        return -1

    def _before(self, character: str) -> None:
        if character == "{" or (character == "[" and not self._named):
            self._depth = 1
        self._named = self._named or not character.isspace()

    def _inside(self, character: str) -> None:
        """Of a string."""
        if self._escaped:
            self._escaped = False
        elif character == "\\":
            self._escaped = True
        elif character == self._quote:
            self._quote = ""

    def _between(self, character: str) -> bool:
        if character in _QUOTES:
            self._quote = character
        self._depth += (character in _OPENS) - (character in _CLOSES)
        return self._depth == 0
