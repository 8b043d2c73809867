"""What each replica's prefix cache holds of the requests' prefixes: the index that routing asks. Pure.

Fed by what replicas publish (`Marked`, `Unmarked`, snapshots), so that every gateway knows the same: what is there, not
what was sent there. What was sent and is not there yet counts as coming, until its answer begins: a burst of requests
that share a prompt follows its first one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from colonnade.wire.messages import MarkChange, Marked
from colonnade.wire.prefix import Link

TOKENS_PER_BYTE = 0.25
"""Before anything was learned."""
_FADE = 0.99


class Index:
    """Link digests to the replicas' epochs to tokens."""

    def __init__(self) -> None:
        self._held: dict[bytes, dict[str, int]] = {}
        self._of: dict[str, dict[bytes, int]] = {}
        self._coming: dict[bytes, dict[str, int]] = {}
        self._tokens, self._bytes = TOKENS_PER_BYTE, 1.0

    @property
    def tokens_per_byte(self) -> float:
        """Of requests' messages, as the prefixes that were asked for and are held have told."""
        return self._tokens / self._bytes

    def apply(self, epoch: str, changes: Iterable[MarkChange]) -> None:
        for change in changes:
            if isinstance(change, Marked):
                self._put(epoch, change)
            else:
                self._drop(epoch, change.mark)

    def replace(self, epoch: str, marks: Iterable[Marked]) -> None:
        """All that this replica holds, whatever was known before."""
        self.forget(epoch)
        for mark in marks:
            self._put(epoch, mark)

    def forget(self, epoch: str) -> None:
        """The replica's life is over, and so is its cache."""
        for mark in list(self._of.get(epoch, ())):
            self._drop(epoch, mark)

    def held(self, epoch: str) -> dict[bytes, int]:
        """Tokens by link digest."""
        return dict(self._of.get(epoch, {}))

    def _put(self, epoch: str, mark: Marked) -> None:
        self._held.setdefault(mark.mark, {})[epoch] = mark.length
        self._of.setdefault(epoch, {})[mark.mark] = mark.length

    def _drop(self, epoch: str, mark: bytes) -> None:
        there = self._held.get(mark)
        if there is None or there.pop(epoch, None) is None:
            return
        if not there:
            del self._held[mark]
        del self._of[epoch][mark]
        if not self._of[epoch]:
            del self._of[epoch]

    # --- what is on its way

    def coming(self, epoch: str, links: Sequence[Link], sign: int) -> None:
        """A request with these links was sent there (1), or needs no more to be reckoned with (-1)."""
        for link in links:
            there = self._coming.setdefault(link.digest, {})
            there[epoch] = there.get(epoch, 0) + sign
            if there[epoch] <= 0:
                del there[epoch]
                if not there:
                    del self._coming[link.digest]

    # --- what routing asks

    def cached(self, links: Sequence[Link], epochs: Sequence[str], *, coming: bool = True) -> dict[str, float]:
        """Of a request's tokens, how many each of these replicas holds or (`coming`) will; the longest link counts."""
        found: dict[str, float] = {}
        learned = False
        for link in reversed(links):
            held, sent = self._held.get(link.digest), self._coming.get(link.digest)
            if held:
                if not learned:
                    learned = True
                    self._learn(max(held.values()), link.size)
                for epoch, length in held.items():
                    found.setdefault(epoch, length)
            if sent and coming:
                for epoch in sent:
                    found.setdefault(epoch, link.size * self.tokens_per_byte)
            if len(found) >= len(epochs) and all(epoch in found for epoch in epochs):
                break
        return found

    def _learn(self, tokens: int, size: int) -> None:
        self._tokens = self._tokens * _FADE + tokens
        self._bytes = self._bytes * _FADE + size
