"""Which message prefixes the prefix cache holds: what the engine tells of tokens, told of links. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable

from colonnade.replica.landmarks import Mark
from colonnade.wire.messages import CacheChange, MarkChange, Marked, Stored, Unmarked

EXPECTED = 1 << 16
"""Token prefixes that are looked out for and not held."""


class Marks:
    def __init__(self) -> None:
        self._by_tokens: dict[bytes, dict[bytes, int]] = {}
        """Links and lengths by the digest of the tokens."""
        self._of: dict[bytes, bytes] = {}
        """The digest of the tokens that each link stands for."""
        self.held: dict[bytes, Marked] = {}

    def expect(self, marks: Iterable[Mark], stored: Container[bytes]) -> list[MarkChange]:
        """Look out for these; `stored` are the digests that the cache holds now."""
        changes: list[MarkChange] = []
        for mark in marks:
            if self._of.get(mark.link) != mark.tokens:
                changes += self._unlink(mark.link)
                self._of[mark.link] = mark.tokens
                self._by_tokens.setdefault(mark.tokens, {})[mark.link] = mark.length
            if mark.tokens in stored and mark.link not in self.held:
                changes.append(self._hold(mark.link, mark.length))
        self._trim(stored)
        return changes

    def note(self, change: CacheChange) -> list[MarkChange]:
        linked = self._by_tokens.get(change.digest, {})
        if isinstance(change, Stored):
            return [self._hold(link, length) for link, length in linked.items() if link not in self.held]
        changes: list[MarkChange] = []
        for link in list(linked):
            changes += self._unlink(link)
        return changes

    def _hold(self, link: bytes, length: int) -> Marked:
        self.held[link] = Marked(link, length)
        return self.held[link]

    def _unlink(self, link: bytes) -> list[MarkChange]:
        tokens = self._of.pop(link, None)
        if tokens is not None:
            linked = self._by_tokens[tokens]
            del linked[link]
            if not linked:
                del self._by_tokens[tokens]
        return [Unmarked(link)] if self.held.pop(link, None) else []

    def _trim(self, stored: Container[bytes]) -> None:
        """Forget the oldest of those that never came."""
        while len(self._of) - len(self.held) > EXPECTED:
            for link in next(list(links) for tokens, links in self._by_tokens.items() if tokens not in stored):
                self._unlink(link)
